"""The bot's turns, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from boton.domain.chats import Holder
from boton.domain.conversations import ConversationStatus, TurnBrief
from boton.domain.tools import Effect, ToolCall
from boton.ports.model import ModelAnswer


@dataclass(frozen=True, slots=True)
class CallKey:
    """One call of a tool: the model's answer `number` of a turn, and the call's place in it."""

    turn_id: str
    number: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatStep:
    """What the bot does next in a chat. state: `think` (ask the model for `brief`), `run` (the tools of `calls`),
    `send` (the drafts `message_ids`), `rest`, `gone` (it has become part of another chat, whose step it is now). The
    others tell how the chat stands once that is done. until: when something is due again. conversation: the one that
    goes on. ended: how the one ended that just has, by its outcome or status.
    """

    state: str
    brief: TurnBrief | None = None
    calls: tuple[CallKey, ...] = ()
    connection_id: str = ""
    message_ids: tuple[str, ...] = ()
    until: datetime | None = None
    holder: Holder = Holder.NONE
    conversation: ConversationStatus | None = None
    ended: str = ""


class TokenStore(Protocol):
    """What the language model costs beside the answers of which something comes."""

    async def count_spent(self, turn_id: str, tokens_in: int, tokens_out: int, now: datetime) -> None:
        """Counts in the turn, and in the business's day. Raises NotFound."""


class TurnStore(Protocol):
    async def advance_chat(self, chat_id: str, now: datetime) -> ChatStep:
        """Looks what is due, and opens or finds again the turn that is. Ends a conversation whose time is over.

        A turn is known by (chat, last incoming message), or by the follow-up that is due; all that is due up to there
        belongs to it. Whatever is queued already is sent first.
        """

    async def open_openings(self, message_ids: Sequence[str], now: datetime) -> Sequence[TurnBrief]:
        """The turns that write these openings. Those whose text is there already, and those of untouchable chats, are
        left out.
        """

    async def record_answer(
        self, turn_id: str, number: int, answer: ModelAnswer, parts: Sequence[str], now: datetime
    ) -> ChatStep:
        """Stores the model's answer `number` of a turn, once. One that calls no tools closes the turn: the effects of
        its tools follow, `parts` are queued. A turn that is stale by then is dropped, and another one is due (`think`
        without a brief). Of a turn that is closed already, what it came to.
        """

    async def fetch_call(self, key: CallKey) -> tuple[ToolCall, TurnBrief] | None:
        """A call that no tool has answered yet, of a turn that was not dropped."""

    async def answer_call(self, key: CallKey, text: str, effect: Effect | None, now: datetime, *, ok: bool) -> None:
        """What the tool said. A second answer changes nothing."""

    async def fail_turn(self, turn_id: str, code: str, detail: str, now: datetime) -> None:
        """The model gave no answer: the turn is dropped with the reason, its messages are not due any more, the chat is
        left to a human for a while. An opening's message fails; a follow-up is left out.
        """
