"""A reminder: what fires, when, and what became of it (contract, section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from boton.domain.sends import NewRecipient, SendKind

SHOWN_FIRINGS = 50
"""Of a recurrence, beside the next; what was missed in a long outage and is older is not told one by one."""


class ReminderStatus(StrEnum):
    SCHEDULED = "scheduled"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class FiringStatus(StrEnum):
    SCHEDULED = "scheduled"
    FIRED = "fired"
    EXPIRED = "expired"  # it was too late, for the firing or for its message
    CANCELLED = "cancelled"


class LeftOutReason(StrEnum):
    PAST = "past"
    SAME_TIME = "same_time"  # as another firing, in quiet hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When it is to fire, one way of three: once at `starts_at`; by the RRULE `every` in `timezone`, not before
    `starts_at`; or so many `minutes` before `event_at`.
    """

    starts_at: datetime | None = None
    every: str | None = None
    timezone: str | None = None
    event_at: datetime | None = None
    minutes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A firing to come. expires_at: from then on it is too late."""

    at: datetime
    expires_at: datetime


def to_planned(at: datetime, timing: Timing, expire_after: timedelta) -> Planned:
    """A firing with its end: at the event, where it comes before one."""
    return Planned(at=at, expires_at=timing.event_at or at + expire_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An offset before the event that will not fire, and when it would have."""

    at: datetime
    minutes: int
    reason: LeftOutReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The firings to come in order, of a recurrence only the next one. Never empty."""

    firings: tuple[Planned, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """message_id, send_id: what it fired."""

    at: datetime
    status: FiringStatus
    message_id: str | None = None
    send_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReminder:
    """recipient.text: the message, or the instruction, with variables filled in."""

    business_id: str
    recipient: NewRecipient
    kind: SendKind
    timing: Timing
    plan: Plan
    accepted_at: datetime
    cancel_on_reply: bool = False
    expire_after_minutes: int = 360
    respect_quiet_hours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    """Exactly one of message and instruction is set. next_at: of the next firing; None when it has ended. hold: why it
    does not fire for now. firings: in order; of many the newest.
    """

    id: str
    business_id: str
    chat_id: str
    to: str
    jid: str
    message: str | None
    instruction: str | None
    status: ReminderStatus
    timing: Timing
    reference: str | None
    cancel_on_reply: bool
    expire_after_minutes: int
    respect_quiet_hours: bool
    next_at: datetime | None
    hold: str | None
    created_at: datetime
    ended_at: datetime | None
    firings: tuple[Firing, ...] = ()
