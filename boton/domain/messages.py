"""One message: its state machine, its kind, and what may forbid it at its claim (contract, sections 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from boton.errors import IllegalTransition


class Direction(StrEnum):
    INCOMING = "incoming"
    OUTGOING = "outgoing"


class Sender(StrEnum):
    CUSTOMER = "customer"
    BOT = "bot"
    HUMAN = "human"
    API = "api"


class MessageType(StrEnum):
    """What the message is; anything but TEXT bears a short description as its text."""

    TEXT = "text"
    AUDIO = "audio"
    IMAGE = "image"
    VIDEO = "video"
    DOCUMENT = "document"
    STICKER = "sticker"
    CONTACT = "contact"
    LOCATION = "location"
    REACTION = "reaction"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, _value: object) -> MessageType:
        return cls.UNKNOWN


class MessageKind(StrEnum):
    """Why a message exists; decides its guards and its lane."""

    INCOMING = "incoming"
    PHONE = "phone"  # typed on the business's own phone, not sent by us
    REPLY = "reply"
    FOLLOW_UP = "follow_up"
    OPENING = "opening"
    NOTICE = "notice"  # hand-off notice, opt-out confirmation
    TRANSACTIONAL = "transactional"
    REMINDER = "reminder"
    MARKETING = "marketing"
    HUMAN = "human"  # written by a human in the dashboard


class Lane(StrEnum):
    FAST = "fast"
    SLOW = "slow"


class MessageStatus(StrEnum):
    RECEIVED = "received"  # incoming, and typed on the phone
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TRANSITIONS: dict[MessageStatus, frozenset[MessageStatus]] = {
    MessageStatus.QUEUED: frozenset(
        {MessageStatus.SENDING, MessageStatus.CANCELLED, MessageStatus.EXPIRED, MessageStatus.FAILED}
    ),
    MessageStatus.SENDING: frozenset(
        {MessageStatus.SENT, MessageStatus.FAILED, MessageStatus.QUEUED, MessageStatus.UNCONFIRMED}
    ),
    MessageStatus.UNCONFIRMED: frozenset(
        {MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ, MessageStatus.FAILED}
    ),
    MessageStatus.SENT: frozenset({MessageStatus.DELIVERED, MessageStatus.READ, MessageStatus.FAILED}),
    MessageStatus.DELIVERED: frozenset({MessageStatus.READ}),
    MessageStatus.FAILED: frozenset({MessageStatus.DELIVERED, MessageStatus.READ}),
    MessageStatus.READ: frozenset(),
    MessageStatus.CANCELLED: frozenset(),
    MessageStatus.EXPIRED: frozenset(),
    MessageStatus.RECEIVED: frozenset(),
}
"""Every legal step of an outgoing message; each other one is an error."""

UNFINISHED = (MessageStatus.QUEUED, MessageStatus.SENDING)
"""A send is finished when none of its messages is in one of these."""

REPORTED = frozenset(
    {
        MessageStatus.DELIVERED,
        MessageStatus.READ,
        MessageStatus.FAILED,
        MessageStatus.EXPIRED,
        MessageStatus.UNCONFIRMED,
    }
)
"""Reaching one of these writes a `message.status` event."""


def may_become(current: MessageStatus, wanted: MessageStatus) -> bool:
    return wanted in TRANSITIONS[current]


def check_transition(current: MessageStatus, wanted: MessageStatus) -> None:
    """Raises IllegalTransition unless `current → wanted` is in the table."""
    if not may_become(current, wanted):
        raise IllegalTransition(current, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageError:
    """Why a message did not arrive: a stable code and a sentence that says what to do."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as readers see it. `at` is when it was written, or from the claim on when it was sent."""

    id: str
    chat_id: str
    connection_id: str
    direction: Direction
    kind: MessageKind
    type: MessageType
    sender: Sender
    text: str
    status: MessageStatus
    at: datetime
    send_id: str | None = None
    conversation_id: str | None = None
    error: MessageError | None = None

    @property
    def bot_generated(self) -> bool:
        return self.sender is Sender.BOT


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFacts:
    """What the claim looks at, read under lock in the claiming transaction.

    accepted_at: when the client asked for it, of a reminder's message for the reminder. marketing_unanswered: marketing
    messages since the customer last wrote, of which `unanswered_cap` are allowed. reminder_cancelled: it is a
    reminder's, which is not wanted any more. conversation_cancelled: likewise its conversation. bot_unanswered:
    messages of the bot since the customer last wrote.
    """

    untouchable: bool
    held_by_human: bool
    taken_over_at: datetime | None
    bot_enabled: bool
    opted_out: bool
    marketing: bool
    accepted_at: datetime
    expires_at: datetime | None
    marketing_unanswered: int = 0
    unanswered_cap: int | None = None
    reminder_cancelled: bool = False
    conversation_cancelled: bool = False
    bot_unanswered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbidden:
    """The claim refused: the message ends in `status` with `error`."""

    status: MessageStatus
    error: MessageError


BOT_IN_A_ROW = 10
"""Messages that the bot may write without an answer."""

SPOKEN_BY_THE_BOT = frozenset({MessageKind.REPLY, MessageKind.FOLLOW_UP, MessageKind.OPENING})
"""What counts as such."""


HELD_BY_HUMAN = MessageError(code="held_by_human", detail="a human has taken over the chat")
CONVERSATION_CANCELLED = MessageError(
    code="conversation_cancelled", detail="its conversation was cancelled before it left"
)


def forbids(kind: MessageKind, facts: ClaimFacts, now: datetime) -> Forbidden | None:
    """What forbids a message at its claim: the table of the contract's section 4. None: it may go out."""
    if facts.expires_at is not None and facts.expires_at <= now:
        return _refusal(MessageStatus.EXPIRED, "expired", "it was not sent before its expiresAt")
    if facts.reminder_cancelled:
        return _refusal(MessageStatus.CANCELLED, "reminder_cancelled", "its reminder was cancelled before it left")
    if facts.conversation_cancelled and kind in SPOKEN_BY_THE_BOT:
        return Forbidden(status=MessageStatus.CANCELLED, error=CONVERSATION_CANCELLED)
    match kind:
        case MessageKind.REPLY | MessageKind.FOLLOW_UP:
            return _forbids_bot(facts)
        case MessageKind.OPENING:
            return _forbids_opening(facts)
        case MessageKind.NOTICE if facts.untouchable:
            return _refusal(MessageStatus.CANCELLED, "untouchable", "the chat is untouchable")
        case MessageKind.MARKETING:
            return _forbids_marketing(facts)
    return None


def _forbids_bot(facts: ClaimFacts) -> Forbidden | None:
    if facts.untouchable:
        return _refusal(MessageStatus.CANCELLED, "untouchable", "the chat is untouchable")
    if facts.held_by_human:
        return Forbidden(status=MessageStatus.CANCELLED, error=HELD_BY_HUMAN)
    if not facts.bot_enabled:
        return _refusal(MessageStatus.CANCELLED, "bot_off", "the bot is off in this chat")
    return _forbids_monologue(facts, MessageStatus.CANCELLED)


def _forbids_monologue(facts: ClaimFacts, status: MessageStatus) -> Forbidden | None:
    if facts.bot_unanswered < BOT_IN_A_ROW:
        return None
    detail = f"the customer has not answered the bot's last {facts.bot_unanswered} messages"
    return _refusal(status, "bot_unanswered", detail)


def _forbids_opening(facts: ClaimFacts) -> Forbidden | None:
    if facts.untouchable:
        return _refusal(MessageStatus.FAILED, "untouchable", "the chat is untouchable")
    if facts.held_by_human and facts.taken_over_at is not None and facts.taken_over_at >= facts.accepted_at:
        return _refusal(MessageStatus.CANCELLED, "held_by_human", "a human took over the chat after the request")
    forbidden = _forbids_marketing(facts) if facts.marketing else None
    return forbidden or _forbids_monologue(facts, MessageStatus.FAILED)


def _forbids_marketing(facts: ClaimFacts) -> Forbidden | None:
    if facts.opted_out:
        return _refusal(MessageStatus.FAILED, "opted_out", "the customer has opted out of marketing messages")
    if facts.unanswered_cap is not None and facts.marketing_unanswered >= facts.unanswered_cap:
        detail = f"the customer has not answered the last {facts.marketing_unanswered} marketing messages"
        return _refusal(MessageStatus.FAILED, "unanswered_cap", detail)
    return None


def _refusal(status: MessageStatus, code: str, detail: str) -> Forbidden:
    return Forbidden(status=status, error=MessageError(code=code, detail=detail))
