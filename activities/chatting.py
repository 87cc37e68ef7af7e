"""The bot's side of a chat: what is due, asked of the model, done by tools, stored as drafts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.payloads import payload
from activities.thinking import Thinking
from boton.domain.conversations import TurnBrief
from boton.domain.messages import MessageError
from boton.errors import ModelBusy, ModelError, ModelMalformed, ModelMisconfigured, ModelRefused, ModelUseless
from boton.ports import CallKey, ChatStep, Toolbox, TurnStore

_LONGEST_PAUSE = timedelta(minutes=2)
_REASONS: dict[type[ModelError], str] = {
    ModelBusy: "the language model's server was busy or away for too long",
    ModelMalformed: "the language model said nothing of use",
    ModelMisconfigured: "a setting of the language model is wrong: see assistant in GET /status",
    ModelRefused: "the language model's server does not accept the question",
    ModelUseless: "the language model said nothing of use",
}
_FAILURES = {kind.__name__: MessageError(code=kind.code, detail=detail) for kind, detail in _REASONS.items()}
"""By the name of the error's class, which is all of it that Temporal keeps."""

_NO_ANSWER = "the language model gave no answer"


@payload
@dataclass(frozen=True, slots=True)
class AdvanceChat:
    """Input of `advance_chat` and `give_up_turn`. code: why the turn was given up, by the error's class."""

    chat_id: str
    code: str = ""


@payload
@dataclass(frozen=True, slots=True)
class RunTool:
    """Input of `run_tool`: one call of the model's."""

    turn_id: str
    number: int
    position: int


@payload
@dataclass(frozen=True, slots=True)
class NextStep:
    """What is next in a chat. state: `run` the tools of `calls`, `send` the messages, look `again` once the customer is
    quiet, `rest`; `gone`: nothing any more, the chat has become part of another. until: of the next timer, once that
    is done. holder, conversation: how the chat stands then. ended: how a conversation has just ended.
    """

    state: str
    calls: tuple[RunTool, ...] = ()
    connection_id: str = ""
    message_ids: tuple[str, ...] = ()
    until: datetime | None = None
    holder: str = ""
    conversation: str = ""
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Drafts:
    """Answer of `compose_turn`: queued messages of the bot that wait to be sent through a connection."""

    connection_id: str = ""
    message_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComposeOpenings:
    """Input of `compose_openings` and `give_up_openings`."""

    message_ids: tuple[str, ...]
    code: str = ""


class ChatActivities:
    """`clock` answers the present in UTC."""

    def __init__(
        self,
        turns: TurnStore,
        thinking: Thinking,
        tools: Toolbox,
        clock: Callable[[], datetime],
    ) -> None:
        self._turns = turns
        self._thinking = thinking
        self._tools = tools
        self._clock = clock

    @activity.defn(name="advance_chat")
    async def advance_chat(self, advance: AdvanceChat) -> NextStep:
        """Does what is due, up to where tools are to be run or messages to be sent. Safe to run twice."""
        step = await self._turns.advance_chat(advance.chat_id, self._clock())
        return _to_next(step if step.brief is None else await self._think(step.brief))

    @activity.defn(name="run_tool")
    async def run_tool(self, run: RunTool) -> None:
        """Runs one call and stores what it answered. Safe to run twice: one that was answered is left alone."""
        key = CallKey(run.turn_id, run.number, run.position)
        found = await self._turns.fetch_call(key)
        if found is None:
            return
        outcome = await self._tools.run(*found)
        await self._turns.answer_call(key, outcome.text, outcome.effect, self._clock(), ok=outcome.ok)

    @activity.defn(name="compose_turn")
    async def compose_turn(self, advance: AdvanceChat) -> Drafts:
        """What runs from before there were tools ask for: the whole turn at once."""
        while True:
            step = await self.advance_chat(advance)
            for call in step.calls:
                await self.run_tool(call)
            if step.state not in {"run", "again"}:
                return Drafts(connection_id=step.connection_id, message_ids=step.message_ids)

    @activity.defn(name="give_up_turn")
    async def give_up_turn(self, advance: AdvanceChat) -> NextStep:
        """The model gave no answer in its time: the chat is left to a human. What is next then."""
        step = await self._turns.advance_chat(advance.chat_id, self._clock())
        if step.brief is not None:
            await self._give_up(step.brief, advance.code)
            step = await self._turns.advance_chat(advance.chat_id, self._clock())
        return _to_next(step)

    @activity.defn(name="compose_openings")
    async def compose_openings(self, compose: ComposeOpenings) -> None:
        """Writes the openings that have no text yet, side by side; those that the model refuses fail at once."""
        briefs = await self._turns.open_openings(compose.message_ids, self._clock())
        results = await asyncio.gather(*(self._write_opening(brief) for brief in briefs), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    @activity.defn(name="give_up_openings")
    async def give_up_openings(self, compose: ComposeOpenings) -> None:
        """The model gave no answer in its time: these openings fail."""
        for brief in await self._turns.open_openings(compose.message_ids, self._clock()):
            await self._give_up(brief, compose.code)

    async def _write_opening(self, brief: TurnBrief) -> None:
        try:
            await self._think(brief)
        except ModelRefused as refused:
            await self._give_up(brief, type(refused).__name__)

    async def _think(self, brief: TurnBrief) -> ChatStep:
        try:
            return await self._thinking.answer(brief)
        except ModelBusy as busy:
            raise _to_retry(busy) from busy

    async def _give_up(self, brief: TurnBrief, name: str) -> None:
        """name: of the error's class, or a code."""
        why = _FAILURES.get(name, MessageError(code=name or "model_error", detail=_NO_ANSWER))
        await self._turns.fail_turn(brief.turn_id, why.code, why.detail, self._clock())


def _to_next(step: ChatStep) -> NextStep:
    """What was written in vain is thought over again, but not before the customer has finished."""
    return NextStep(
        state="again" if step.state == "think" else step.state,
        calls=tuple(RunTool(key.turn_id, key.number, key.position) for key in step.calls),
        connection_id=step.connection_id,
        message_ids=step.message_ids,
        until=step.until,
        holder=step.holder.value,
        conversation=step.conversation.value if step.conversation is not None else "",
        ended=step.ended,
    )


def _to_retry(busy: ModelBusy) -> ApplicationError:
    """Temporal does the retrying, not before the time that the model's server asked for; a customer waits for it,
    so that a server that asks for hours is asked a little earlier.
    """
    delay = None if busy.retry_after is None else min(timedelta(seconds=busy.retry_after), _LONGEST_PAUSE)
    return ApplicationError(busy.detail, type=ModelBusy.__name__, next_retry_delay=delay)
