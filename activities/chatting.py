"""The bot's turns: read what is owed, ask the model, store the drafts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from boton.domain.conversations import TurnBrief
from boton.errors import ModelBusy, ModelRefused
from boton.ports import LanguageModel, Prompt, TurnStore

_HEARTBEAT_SECONDS = 2.0
_LONGEST_PAUSE = timedelta(minutes=2)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ComposeTurn:
    """Input of `compose_turn` and `give_up_turn`. code: why it was given up."""

    chat_id: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class ComposeOpenings:
    """Input of `compose_openings` and `give_up_openings`."""

    message_ids: tuple[str, ...]
    code: str = ""


@dataclass(frozen=True, slots=True)
class Drafts:
    """Queued messages of the bot that wait to be sent through a connection; none: nothing is owed."""

    connection_id: str = ""
    message_ids: tuple[str, ...] = ()


class ChatActivities:
    """`to_prompt` builds the prompt of a turn; `clock` answers the present in UTC."""

    def __init__(
        self,
        turns: TurnStore,
        model: LanguageModel,
        to_prompt: Callable[[TurnBrief], Prompt],
        clock: Callable[[], datetime],
    ) -> None:
        self._turns = turns
        self._model = model
        self._to_prompt = to_prompt
        self._clock = clock

    @activity.defn(name="compose_turn")
    async def compose_turn(self, compose: ComposeTurn) -> Drafts:
        """Answers what the bot owes in a chat. Safe to run twice: a closed turn gives its drafts again."""
        brief = await self._turns.open_turn(compose.chat_id, self._clock())
        if brief is not None:
            await self._answer(brief)
        connection_id, message_ids = await self._turns.list_undelivered_drafts(compose.chat_id)
        return Drafts(connection_id=connection_id, message_ids=tuple(message_ids))

    @activity.defn(name="compose_openings")
    async def compose_openings(self, compose: ComposeOpenings) -> None:
        """Writes the openings that have no text yet, side by side; those that the model refuses fail at once."""
        briefs = await self._turns.open_openings(compose.message_ids, self._clock())
        results = await asyncio.gather(*(self._write_opening(brief) for brief in briefs), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    @activity.defn(name="give_up_turn")
    async def give_up_turn(self, compose: ComposeTurn) -> None:
        """The model gave no answer in its time: the customer's messages are not due any more."""
        brief = await self._turns.open_turn(compose.chat_id, self._clock())
        if brief is not None:
            await self._give_up(brief, compose.code)

    @activity.defn(name="give_up_openings")
    async def give_up_openings(self, compose: ComposeOpenings) -> None:
        """The model gave no answer in its time: these openings fail."""
        for brief in await self._turns.open_openings(compose.message_ids, self._clock()):
            await self._give_up(brief, compose.code)

    async def _write_opening(self, brief: TurnBrief) -> None:
        try:
            await self._answer(brief)
        except ModelRefused as refused:
            await self._give_up(brief, type(refused).__name__)

    async def _answer(self, brief: TurnBrief) -> None:
        try:
            answer = await _heartbeating(self._model.answer(self._to_prompt(brief)))
        except ModelBusy as busy:
            raise _to_retry(busy) from busy
        await self._turns.close_turn(brief.turn_id, answer, self._clock())

    async def _give_up(self, brief: TurnBrief, code: str) -> None:
        detail = "the language model gave no answer"
        await self._turns.fail_turn(brief.turn_id, code or "model_error", detail, self._clock())


def _to_retry(busy: ModelBusy) -> ApplicationError:
    """Temporal does the retrying, not before the time that the model's server asked for; a customer waits for it,
    so that a server that asks for hours is asked a little earlier.
    """
    delay = None if busy.retry_after is None else min(timedelta(seconds=busy.retry_after), _LONGEST_PAUSE)
    return ApplicationError(busy.detail, type=ModelBusy.__name__, next_retry_delay=delay)


async def _heartbeating(asking: Coroutine[Any, Any, T]) -> T:
    """Lets Temporal know that the worker lives while the model thinks; ends the asking when it is cancelled."""
    task = asyncio.ensure_future(asking)
    try:
        while not task.done():
            activity.heartbeat()
            await asyncio.wait({task}, timeout=_HEARTBEAT_SECONDS)
    finally:
        task.cancel()
    return await task
