"""Asking the language model, once for each answer of a turn, whoever asks meanwhile and however often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol, TypeVar

from temporalio import activity

from boton.domain.conversations import MODEL_ROUNDS, Occasion, TurnBrief
from boton.errors import ModelContextTooLong, ModelMalformed
from boton.ports import ChatStep, LanguageModel, ModelAnswer, Prompt, TurnStore

T = TypeVar("T")

_HEARTBEAT_SECONDS = 2.0
_SHRINKS = 4
_REPAIRS = 1


class Prompts(Protocol):
    """Builds what a model is told."""

    def build(self, brief: TurnBrief, *, shrink: int, with_tools: bool) -> Prompt:
        """shrink: how often the model's server said that it was too long: each time with half of the history."""

    def split(self, text: str) -> tuple[str, ...]:
        """A long answer as the messages in which a person would write it."""


class Thinking:
    """`clock` answers the present in UTC."""

    def __init__(
        self, turns: TurnStore, model: LanguageModel, prompts: Prompts, clock: Callable[[], datetime]
    ) -> None:
        self._turns = turns
        self._model = model
        self._prompts = prompts
        self._clock = clock
        self._running: dict[tuple[str, int], asyncio.Task[ChatStep]] = {}

    async def answer(self, brief: TurnBrief) -> ChatStep:
        """Asks for the turn's next answer and stores it; what that came to. An attempt that Temporal has given up does
        not ask again while the one before is under way. Raises ModelError.
        """
        key = (brief.turn_id, len(brief.rounds))
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.ensure_future(self._answer(brief))
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await wait_heartbeating(task)

    async def _answer(self, brief: TurnBrief) -> ChatStep:
        answer = await self._ask(brief)
        parts = () if answer.calls else self._split(brief, answer.text)
        return await self._turns.record_answer(brief.turn_id, len(brief.rounds), answer, parts, self._clock())

    def _split(self, brief: TurnBrief, text: str) -> tuple[str, ...]:
        """What it wrote beside its calls was meant for the customer, where it says nothing more in the end."""
        said = text or next((one.text for one in reversed(brief.rounds) if one.text), "")
        if brief.occasion is Occasion.OPENING:
            return (said,)
        return self._prompts.split(said) if said else ()

    async def _ask(self, brief: TurnBrief) -> ModelAnswer:
        for shrink in range(_SHRINKS):
            try:
                return await self._ask_once(brief, shrink)
            except ModelContextTooLong:
                if shrink == _SHRINKS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _ask_once(self, brief: TurnBrief, shrink: int) -> ModelAnswer:
        """After its tools have done something, silence is an answer."""
        try:
            return await self._model.answer(
                self._prompts.build(brief, shrink=shrink, with_tools=_may_call(brief))
            )
        except ModelMalformed:
            if any(answer.ok for one in brief.rounds for answer in one.answers):
                return ModelAnswer(text="")
            raise


def _may_call(brief: TurnBrief) -> bool:
    """Not in the last round, nor when the model did not get its calls right in two rounds; openings call no tool."""
    failed = sum(any(not answer.ok for answer in one.answers) for one in brief.rounds)
    return (
        brief.occasion is not Occasion.OPENING and len(brief.rounds) < MODEL_ROUNDS - 1 and failed <= _REPAIRS
    )


async def wait_heartbeating(task: asyncio.Task[T]) -> T:
    """Lets Temporal know that the worker lives; a cancelled attempt leaves the task to its end."""
    while not task.done():
        activity.heartbeat()
        await asyncio.wait({task}, timeout=_HEARTBEAT_SECONDS)
    return task.result()
