"""An instruction-led dialogue, and the turns in which the bot speaks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from boton.domain.businesses import BusinessConfig
from boton.domain.messages import MessageType, Sender

if TYPE_CHECKING:
    from boton.domain.tools import Round


class ConversationStatus(StrEnum):
    OPENING = "opening"
    WAITING = "waiting"
    THINKING = "thinking"
    REPLYING = "replying"
    HANDED_OFF = "handed_off"
    DONE = "done"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


OPEN_CONVERSATIONS = (
    ConversationStatus.OPENING,
    ConversationStatus.WAITING,
    ConversationStatus.THINKING,
    ConversationStatus.REPLYING,
)


class ConversationOutcome(StrEnum):
    ACHIEVED = "achieved"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    HANDED_OFF = "handed_off"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    id: str
    jid: str
    instruction: str
    status: ConversationStatus
    outcome: ConversationOutcome | None
    summary: str | None
    turns: int
    reference: str | None
    created_at: datetime
    ended_at: datetime | None


class Occasion(StrEnum):
    """Why the bot speaks."""

    REPLY = "reply"  # the customer wrote
    OPENING = "opening"  # it writes first, as an instruction says
    FOLLOW_UP = "follow_up"  # the customer has not answered


MODEL_ROUNDS = 5
"""Answers of the model that one turn may take; the last one is given no tools."""

RECOMPOSED = 2
"""How often in a row a turn is written anew because the customer wrote meanwhile; then it is sent as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierConversation:
    """How an earlier conversation of the chat ended. summary: the model's words, or None."""

    ended_at: datetime
    status: ConversationStatus
    outcome: ConversationOutcome | None
    summary: str | None


class TurnStatus(StrEnum):
    OPEN = "open"  # the model has not answered yet
    CLOSED = "closed"  # the drafts are queued messages
    DROPPED = "dropped"  # nothing was to be said after all


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One message of the history as the model is told it."""

    sender: Sender
    type: MessageType
    text: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnBrief:
    """Everything the model needs for one turn, read in one transaction. `history` is oldest first.

    opening: the bot writes first, as the conversation's instruction says; else it answers the newest message, or
    follows up (`occasion`). rounds: what the model and its tools said in this turn already. earlier: conversations
    that ended, oldest first. goal_reached: the last one was achieved or declined, and none goes on.
    """

    turn_id: str
    chat_id: str
    connection_id: str
    opening: bool
    customer_name: str | None
    instruction: str | None
    history: tuple[Line, ...]
    config: BusinessConfig
    now: datetime
    occasion: Occasion = Occasion.REPLY
    rounds: tuple[Round, ...] = ()
    earlier: tuple[EarlierConversation, ...] = ()
    goal_reached: bool = False
