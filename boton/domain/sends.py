"""A send: one accepted POST /send, to one or many (contract, section 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from boton.domain.messages import UNFINISHED, Lane, MessageError, MessageStatus


class SendKind(StrEnum):
    MESSAGE = "message"
    INSTRUCTION = "instruction"


class SendCategory(StrEnum):
    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"


class SendStatus(StrEnum):
    QUEUED = "queued"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


UNFINISHED_SENDS = (SendStatus.QUEUED, SendStatus.SCHEDULED, SendStatus.RUNNING, SendStatus.PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecipient:
    """One valid recipient: `to` as it was written, `jid` as it was understood, `text` with variables filled in.

    For an instruction `text` is the instruction for this recipient. known: the client says that they are a contact.
    """

    to: str
    jid: str
    text: str
    known: bool = False
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A recipient that was refused at the door."""

    to: str
    error: MessageError


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSend:
    """ttl_seconds: how long the connection may be away before it expires. reminder_id: the reminder that fires."""

    business_id: str
    kind: SendKind
    category: SendCategory
    recipients: tuple[NewRecipient, ...]
    rejected: tuple[Rejected, ...]
    accepted_at: datetime
    send_at: datetime | None = None
    expires_at: datetime | None = None
    respect_quiet_hours: bool = False
    ttl_seconds: int | None = None
    reminder_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A recipient as `GET /sends/{id}/recipients` tells it; for an instruction its opening message's status."""

    to: str
    jid: str
    message_id: str
    status: MessageStatus
    reference: str | None = None
    conversation_id: str | None = None
    error: MessageError | None = None
    sent_at: datetime | None = None
    replied_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """lanes: those its messages are in. waiting: what it waits for (a WaitReason) until `waiting_until`. next_step_at:
    when it is looked at again, None once nothing is owed. hold: why it is paused, where no client asked for it.
    """

    id: str
    business_id: str
    connection_id: str
    kind: SendKind
    category: SendCategory
    status: SendStatus
    total: int
    rejected: tuple[Rejected, ...]
    created_at: datetime
    send_at: datetime | None = None
    expires_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    counts: Mapping[MessageStatus, int] | None = None
    lanes: tuple[Lane, ...] = (Lane.SLOW,)
    respect_quiet_hours: bool = False
    waiting: str | None = None
    waiting_until: datetime | None = None
    next_step_at: datetime | None = None
    hold: str | None = None
    reminder_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a send is. done: messages that are final; rate: messages that left a minute, so far; estimated_end: the
    real end where it is known, None where nothing tells.
    """

    total: int
    done: int
    rate: float | None = None
    estimated_end: datetime | None = None


_LEFT = (MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ, MessageStatus.UNCONFIRMED)


def to_progress(send: Send, paced_end: datetime | None, now: datetime) -> Progress:
    """The progress of a send with its counts. paced_end: when the last will have left at the number's pace."""
    waiting, left = (_count(send, statuses) for statuses in (UNFINISHED, _LEFT))
    done = send.total - waiting
    elapsed = None if send.started_at is None else (send.finished_at or now) - send.started_at
    if elapsed is None or done <= 0 or elapsed <= timedelta(0):
        return Progress(total=send.total, done=done, estimated_end=paced_end or send.finished_at)
    rate = round(left * 60 / elapsed.total_seconds(), 2)
    goes_on = send.status is SendStatus.RUNNING and waiting > 0
    end = now + elapsed * (waiting / done) if goes_on else send.finished_at
    return Progress(total=send.total, done=done, rate=rate, estimated_end=paced_end or end)


def _count(send: Send, statuses: Iterable[MessageStatus]) -> int:
    return sum((send.counts or {}).get(status, 0) for status in statuses)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedSend:
    """What POST /send answers: the send, its recipients in the order given, repeats left out.

    estimated_end: when the last will have left at the number's pace; None where nothing is waited for.
    """

    send: Send
    recipients: tuple[Recipient, ...]
    estimated_end: datetime | None = None


_PLACEHOLDER = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")


def fill_in(text: str, variables: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """`text` with every `{{name}}` replaced, and the names that have no value. One pass: values are not expanded."""
    missing = tuple(dict.fromkeys(name for name in _PLACEHOLDER.findall(text) if name not in variables))
    return _PLACEHOLDER.sub(lambda match: variables.get(match[1], match[0]), text), missing
