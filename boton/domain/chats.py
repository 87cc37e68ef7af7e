"""A chat: who holds it, and whether a message that just came in is the bot's to answer (contract, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from boton.domain.messages import Direction, MessageType


class Holder(StrEnum):
    BOT = "bot"
    HUMAN = "human"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastMessage:
    text: str
    direction: Direction
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """One customer of one business. `jid`: the phone number, while none is known the LID; others are aliases of it."""

    id: str
    business_id: str
    jid: str
    name: str | None
    bot_enabled: bool
    untouchable: bool
    opted_out: bool
    takeover_until: datetime | None
    conversation_id: str | None
    message_count: int
    last_message: LastMessage | None
    created_at: datetime
    known: bool = False
    handed_off_at: datetime | None = None

    def held_by(self, now: datetime) -> Holder:
        if is_held(self.takeover_until, self.handed_off_at, now):
            return Holder.HUMAN
        return Holder.BOT if self.bot_enabled and not self.untouchable else Holder.NONE


def is_held(takeover_until: datetime | None, handed_off_at: datetime | None, now: datetime) -> bool:
    """Whether a human holds a chat: one who has taken over, or for whom the bot left it and who has not written yet."""
    return handed_off_at is not None or (takeover_until is not None and takeover_until > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatChange:
    """What PATCH sets; None leaves as it is."""

    bot_enabled: bool | None = None
    untouchable: bool | None = None
    opted_out: bool | None = None
    known: bool | None = None
    name: str | None = None


class AnswerDecision(StrEnum):
    """Whether an incoming message is the bot's to answer: decided once, when it is stored, and never again."""

    DUE = "due"
    ANSWERED = "answered"
    UNTOUCHABLE = "untouchable"
    HELD = "held"
    BOT_OFF = "bot_off"
    TOO_OLD = "too_old"
    HISTORY = "history"
    RESTORED = "restored"  # it came before a restore: the store does not know whether it was answered
    OPTED_OUT = "opted_out"  # an opt-out, which a notice confirms
    FAILED = "failed"  # the model gave no answer within its time
    NOT_NEEDED = "not_needed"  # a mere "ok" or reaction after the goal was reached, or a deletion
    SUSPENDED = "suspended"  # it was due when the backup was made that was restored: `boton held` decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What the decision looks at. `now` is our clock at insertion, `sent_at` WhatsApp's time of the message.

    held: a human holds the chat. opts_out: the message is an opt-out. takes_back: it only deletes an earlier one.
    answers_from: of the connection, since a restore.
    """

    untouchable: bool
    bot_enabled: bool
    held: bool
    sent_at: datetime
    now: datetime
    by_history_sync: bool
    answer_within: timedelta
    opts_out: bool = False
    takes_back: bool = False
    answers_from: datetime | None = None


def decide_answer(arrival: Arrival) -> AnswerDecision:
    """Whether this message is the bot's to answer, with the reason where it is not."""
    if arrival.by_history_sync:
        return AnswerDecision.HISTORY
    if arrival.opts_out:
        return AnswerDecision.OPTED_OUT
    if arrival.untouchable:
        return AnswerDecision.UNTOUCHABLE
    if arrival.held:
        return AnswerDecision.HELD
    if not arrival.bot_enabled:
        return AnswerDecision.BOT_OFF
    return _too_late(arrival) or (AnswerDecision.NOT_NEEDED if arrival.takes_back else AnswerDecision.DUE)


def may_confirm_opt_out(arrival: Arrival) -> bool:
    """Whether the customer who just opted out is told so; a human who holds the chat does not stand in the way."""
    return arrival.opts_out and not arrival.untouchable and _too_late(arrival) is None


def _too_late(arrival: Arrival) -> AnswerDecision | None:
    """Why such an old message gets no word from us any more."""
    if arrival.answers_from is not None and arrival.sent_at < arrival.answers_from:
        return AnswerDecision.RESTORED
    if arrival.now - arrival.sent_at > arrival.answer_within:
        return AnswerDecision.TOO_OLD
    return None


GREETING_GRACE = timedelta(seconds=3)
"""WhatsApp's own greeting and away messages come this soon after a chat's first incoming message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMessage:
    """A message of ours seen on the phone that this product did not send. last_turn_at: when the newest of the bot's
    turns was opened of which something has left. answers_from: as in Arrival.
    """

    type: MessageType
    text: str
    sent_at: datetime
    first_incoming_at: datetime | None
    last_turn_at: datetime | None
    auto_replies: tuple[str, ...]
    answers_from: datetime | None = None


def is_takeover(own: OwnMessage) -> bool:
    """Whether a message typed on the business's own phone is a human taking over (architecture, "Takeover")."""
    if own.type is MessageType.REACTION:  # nothing was written
        return False
    if own.text.strip() in {reply.strip() for reply in own.auto_replies}:
        return False
    earliest = [moment for moment in (own.last_turn_at, own.answers_from) if moment is not None]
    if any(own.sent_at < moment for moment in earliest):
        return False
    since_first = None if own.first_incoming_at is None else own.sent_at - own.first_incoming_at
    return since_first is None or not timedelta(0) <= since_first <= GREETING_GRACE
