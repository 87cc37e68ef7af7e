"""POST and PATCH /reminders, and a reminder as it is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue, SkipValidation

from api.schemas.base import Body, Document, Listing, Timestamp, to_paging
from api.schemas.config import Timezone
from api.schemas.sends import MAX_INSTRUCTION, MAX_MESSAGE, RecipientIn, Variables
from boton.domain.reminders import Firing, FiringStatus, LeftOut, LeftOutReason, Reminder, ReminderStatus
from boton.ports import Page

MINUTES_OF_A_WEEK = 10_080
MINUTES_OF_A_YEAR = 527_040
_OFFSETS = 20

_EXAMPLES: list[JsonValue] = [
    {"to": "5491112345678", "message": "Tu turno es hoy a las 15hs", "at": "2026-12-01T09:00:00-03:00"},
    {
        "to": {"to": "5491112345678", "variables": {"name": "Juan"}, "reference": "turno-17"},
        "message": "Hola {{name}}, te esperamos",
        "before": {"event": "2026-12-01T15:00:00-03:00", "minutes": [1440, 60]},
        "cancelOnReply": True,
    },
    {
        "to": "5491112345678",
        "instruction": "Pregunta como sigue",
        "every": "FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0",
        "timezone": "America/Argentina/Buenos_Aires",
    },
]

Message = Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE)]
Instruction = Annotated[str, Field(min_length=1, max_length=MAX_INSTRUCTION)]
Rule = Annotated[str, Field(min_length=1, max_length=500)]
Reference = Annotated[str, Field(min_length=1, max_length=200)]
ExpireAfter = Annotated[int, Field(ge=1, le=MINUTES_OF_A_WEEK)]

_AT = "with offset, or local in `timezone`; with `every` its first possible time"
_EVERY = "an RRULE (RFC 5545) in the wall-clock time of `timezone`, yearly to hourly"
_TIMEZONE = "of `every` and of local times; default: the business's"
_MESSAGE, _INSTRUCTION = "the text to send", "what the bot is to write about; turns the bot on in that chat"
_CANCEL_ON_REPLY = "cancelled as soon as the customer writes anything"
_EXPIRE = "what could not fire, or leave, so long after its time expires; `before` an event, at the event"
_QUIET = "what falls into quiet hours moves to their end, or before them when the event would be over"


class Before(Body):
    """One firing for each of `minutes` before the event."""

    event: datetime = Field(description="with offset, or local in `timezone`")
    minutes: Annotated[
        list[Annotated[int, Field(ge=1, le=MINUTES_OF_A_YEAR)]], Field(min_length=1, max_length=_OFFSETS)
    ]


class ReminderRequest(Body):
    """Exactly one of `message` and `instruction`, and one way of time: `at`, `every` (with `at`, too) or `before`."""

    model_config = ConfigDict(json_schema_extra={"examples": _EXAMPLES})

    to: Annotated[str | int | RecipientIn, SkipValidation] = Field(description="one recipient")  # see api/recipients.py
    message: Message | None = Field(None, description=_MESSAGE)
    instruction: Instruction | None = Field(None, description=_INSTRUCTION)
    variables: Variables | None = Field(None, description="values for `{{name}}`, filled in now")
    at: datetime | None = Field(None, description=_AT)
    every: Rule | None = Field(None, description=_EVERY)
    timezone: Timezone | None = Field(None, description=_TIMEZONE)
    before: Before | None = None
    reference: Reference | None = Field(None, description="your own id; the recipient's own wins")
    cancel_on_reply: bool = Field(False, description=_CANCEL_ON_REPLY)
    expire_after_minutes: ExpireAfter = Field(360, description=_EXPIRE)
    respect_quiet_hours: bool = Field(False, description=_QUIET)


class ReminderChange(Body):
    """All optional: what is left out or null stays as it is; `reference` null removes it. A change of time moves what
    has not fired yet.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"at": "2026-12-02T09:00:00-03:00"}})

    message: Message | None = Field(None, description=f"{_MESSAGE}, instead of an instruction too")
    instruction: Instruction | None = Field(None, description=f"{_INSTRUCTION}; instead of a message too")
    at: datetime | None = Field(None, description=_AT)
    every: Rule | None = Field(None, description=_EVERY)
    timezone: Timezone | None = Field(None, description=_TIMEZONE)
    before: Before | None = None
    reference: Reference | None = None
    cancel_on_reply: bool | None = Field(None, description=_CANCEL_ON_REPLY)
    expire_after_minutes: ExpireAfter | None = Field(None, description=_EXPIRE)
    respect_quiet_hours: bool | None = Field(None, description=_QUIET)


class FiringOut(Document):
    """`messageId` as soon as it has fired; `expired`: it was too late for the firing, or for its message."""

    at: Timestamp
    status: FiringStatus
    message_id: str | None

    @classmethod
    def of(cls, firing: Firing) -> FiringOut:
        return cls(at=firing.at, status=firing.status, message_id=firing.message_id)


class LeftOutOut(Document):
    """A time before the event that will not fire. `same_time`: quiet hours move it to that of another one."""

    at: Timestamp
    minutes: int
    reason: LeftOutReason

    @classmethod
    def of(cls, left_out: LeftOut) -> LeftOutOut:
        return cls(at=left_out.at, minutes=left_out.minutes, reason=left_out.reason)


class ReminderOut(Document):
    """`at`: its time, or a recurrence's first possible one. `hold`: why it does not fire for now."""

    id: str
    status: ReminderStatus
    to: str
    jid: str
    message: str | None
    instruction: str | None
    at: Timestamp | None
    every: str | None
    timezone: str | None
    event: Timestamp | None
    minutes: list[int] | None
    reference: str | None
    cancel_on_reply: bool
    expire_after_minutes: int
    respect_quiet_hours: bool
    next_at: Timestamp | None
    hold: str | None
    created_at: Timestamp
    ended_at: Timestamp | None
    firings: list[FiringOut] = Field(description="in order; of a recurrence the newest and the next")

    @classmethod
    def of(cls, reminder: Reminder) -> ReminderOut:
        timing = reminder.timing
        return cls(
            id=reminder.id,
            status=reminder.status,
            to=reminder.to,
            jid=reminder.jid,
            message=reminder.message,
            instruction=reminder.instruction,
            at=timing.starts_at,
            every=timing.every,
            timezone=timing.timezone,
            event=timing.event_at,
            minutes=list(timing.minutes) or None,
            reference=reminder.reference,
            cancel_on_reply=reminder.cancel_on_reply,
            expire_after_minutes=reminder.expire_after_minutes,
            respect_quiet_hours=reminder.respect_quiet_hours,
            next_at=reminder.next_at,
            hold=reminder.hold,
            created_at=reminder.created_at,
            ended_at=reminder.ended_at,
            firings=[FiringOut.of(firing) for firing in reminder.firings],
        )


class ReminderPlanned(ReminderOut):
    """A reminder as it was made or moved."""

    left_out: list[LeftOutOut] = Field(description="times before the event that will not fire")

    @classmethod
    def planned(cls, reminder: Reminder, left_out: Iterable[LeftOut]) -> ReminderPlanned:
        return cls(**dict(ReminderOut.of(reminder)), left_out=[LeftOutOut.of(one) for one in left_out])


class ReminderList(Listing):
    """Reminders, newest first."""

    reminders: list[ReminderOut]

    @classmethod
    def of(cls, reminders: Sequence[Reminder], total: int, page: Page) -> ReminderList:
        return cls(reminders=[ReminderOut.of(reminder) for reminder in reminders], **to_paging(page, total))
