"""Asking the language model, once for each answer of a turn, whoever asks meanwhile and however often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from temporalio import activity

from boton.domain.conversations import MODEL_ROUNDS, Occasion, TurnBrief
from boton.domain.replies import split_reply
from boton.domain.tokens import DEFAULT_BUDGET, shrink_budget
from boton.errors import ModelBusy, ModelContextTooLong, ModelMalformed, ModelRefused, ModelUseless
from boton.ports import ChatStep, LanguageModel, ModelAnswer, Prompt, TokenStore, TurnStore

T = TypeVar("T")

_HEARTBEAT_SECONDS = 2.0
_BUSY_PAUSES = (2.0, 10.0)
_LONGEST_PAUSE = 20.0
_USELESS = "The language model gave no answer that is of use."
_REPAIRS = 1
_MOST_CALLS = 8
"""Of one answer; a model that asks for more is confused."""


ToPrompt = Callable[[TurnBrief, int, bool], Prompt]
"""Builds what a model is told: of a turn, for so many tokens, with or without tools."""


class Thinking:
    """budget: tokens of a prompt. `clock` answers the present in UTC."""

    def __init__(
        self,
        turns: TurnStore,
        tokens: TokenStore,
        model: LanguageModel,
        to_prompt: ToPrompt,
        clock: Callable[[], datetime],
        *,
        budget: int = DEFAULT_BUDGET,
    ) -> None:
        self._turns = turns
        self._tokens = tokens
        self._model = model
        self._to_prompt = to_prompt
        self._clock = clock
        self._budget = budget
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
        answer = replace(answer, calls=answer.calls[:_MOST_CALLS])
        parts = () if answer.calls else self._split(brief, answer.text)
        return await self._turns.record_answer(brief.turn_id, len(brief.rounds), answer, parts, self._clock())

    def _split(self, brief: TurnBrief, text: str) -> tuple[str, ...]:
        """What it wrote beside its calls was meant for the customer, where it says nothing more in the end."""
        said = text or next((one.text for one in reversed(brief.rounds) if one.text), "")
        if brief.occasion is Occasion.OPENING:
            return (said,)
        return split_reply(said)

    async def _ask(self, brief: TurnBrief) -> ModelAnswer:
        """With less of the history each time that the server says that it is too much."""
        budget: int | None = self._budget
        while budget is not None:
            try:
                return await self._ask_once(brief, budget)
            except ModelContextTooLong:
                budget = shrink_budget(budget)
        raise ModelRefused("The language model's window is too small for the rules and the newest message.")

    async def _ask_once(self, brief: TurnBrief, budget: int) -> ModelAnswer:
        """An answer that was paid for and is of no use is asked for once more, and never again: each costs as much. One
        that cost nothing is Temporal's to retry.
        """
        prompt = self._to_prompt(brief, budget, _may_call(brief))
        try:
            return await self._ask_for(brief, prompt)
        except ModelMalformed as malformed:
            if malformed.tokens_in + malformed.tokens_out == 0:
                raise
        return await self._ask_again(brief, prompt)

    async def _ask_again(self, brief: TurnBrief, prompt: Prompt) -> ModelAnswer:
        """With another key: a server that knows the first one would give the same answer. One that is busy is asked
        again here, a few times: Temporal would begin with the first question. Raises ModelUseless.
        """
        again = replace(prompt, key=f"{prompt.key}-again")
        for pause in (*_BUSY_PAUSES, None):
            try:
                return await self._ask_for(brief, again)
            except ModelMalformed as error:
                raise ModelUseless(_USELESS) from error
            except ModelBusy as busy:
                if pause is None:
                    raise ModelUseless(_USELESS) from busy
                await asyncio.sleep(min(max(busy.retry_after or 0.0, pause), _LONGEST_PAUSE))
        raise AssertionError("unreachable")

    async def _ask_for(self, brief: TurnBrief, prompt: Prompt) -> ModelAnswer:
        """After its tools have done something, silence is an answer. What is of no use is paid for all the same."""
        try:
            answer = await self._model.answer(prompt)
            return answer if _may_call(brief) else _without_calls(answer)
        except ModelMalformed as malformed:
            cost = (malformed.tokens_in, malformed.tokens_out)
            await self._tokens.count_spent(brief.turn_id, *cost, self._clock())
            if any(answer.ok for one in brief.rounds for answer in one.answers):
                return ModelAnswer(text="")
            raise


def _without_calls(answer: ModelAnswer) -> ModelAnswer:
    """Of a model that was offered no tool. Raises ModelMalformed when it says nothing besides."""
    if not answer.text:
        cost = {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out}
        raise ModelMalformed("The language model called a tool that it was not offered.", **cost)
    return replace(answer, calls=())


def _may_call(brief: TurnBrief) -> bool:
    """Not in the last round, nor when the model did not get its calls right in two rounds; openings call no tool."""
    failed = sum(any(not answer.ok for answer in one.answers) for one in brief.rounds)
    return brief.occasion is not Occasion.OPENING and len(brief.rounds) < MODEL_ROUNDS - 1 and failed <= _REPAIRS


async def wait_heartbeating(task: asyncio.Task[T]) -> T:
    """Lets Temporal know that the worker lives; a cancelled attempt leaves the task to its end."""
    while not (await asyncio.wait({task}, timeout=_HEARTBEAT_SECONDS))[0]:
        activity.heartbeat()
    return task.result()
