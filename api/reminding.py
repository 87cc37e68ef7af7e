"""From the bodies of POST and PATCH /reminders to what is stored: whom, what and when. Pure: the time is passed in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from api.contents import read_content, write_text
from api.recipients import Wanted, find_jid, read_recipients
from api.schemas.reminders import Before, ReminderChange, ReminderRequest
from api.times import FARTHEST, read_due_time, read_time
from boton.domain.businesses import Business
from boton.domain.pacing import QuietHours, to_quiet_hours
from boton.domain.planning import plan
from boton.domain.recurrences import Recurrence, parse_recurrence
from boton.domain.reminders import NewReminder, Reminder, ReminderStatus, Timing
from boton.domain.sends import NewRecipient, SendKind
from boton.errors import Invalid, InvalidRecipient
from boton.ports import ReminderPatch

_KEPT = ("cancel_on_reply", "expire_after_minutes", "respect_quiet_hours")


def to_new_reminder(body: ReminderRequest, business: Business, now: datetime) -> NewReminder:
    """What is to be stored. Raises Invalid, also when nothing is left in the future."""
    kind, recipient = _read_recipient(body)
    timing = _read_timing(body, body.timezone or business.config.timezone, now)
    expire_after = timedelta(minutes=body.expire_after_minutes)
    return NewReminder(
        business_id=business.id,
        recipient=recipient,
        kind=kind,
        timing=timing,
        plan=plan(timing, _quiet_hours(business, respected=body.respect_quiet_hours), expire_after, now),
        accepted_at=now,
        cancel_on_reply=body.cancel_on_reply,
        expire_after_minutes=body.expire_after_minutes,
        respect_quiet_hours=body.respect_quiet_hours,
    )


def to_patch(body: ReminderChange, reminder: Reminder, business: Business, now: datetime) -> ReminderPatch:
    """What is to be changed of a reminder. Raises Invalid, also when nothing would be left in the future; that one
    has ended is told by the store.
    """
    if reminder.status is not ReminderStatus.SCHEDULED:
        return ReminderPatch(values={})
    values = _read_values(body)
    timing = _read_moved(body, reminder.timing, business.config.timezone, now)
    respected = values.get("respect_quiet_hours", reminder.respect_quiet_hours)
    if timing is None and respected == reminder.respect_quiet_hours:
        return ReminderPatch(values=values)
    expire_after = timedelta(minutes=values.get("expire_after_minutes", reminder.expire_after_minutes))
    planned = plan(timing or reminder.timing, _quiet_hours(business, respected=respected), expire_after, now)
    return ReminderPatch(values=values, timing=timing, plan=planned)


# ---------------------------------------------------------------- whom and what


def _read_recipient(body: ReminderRequest) -> tuple[SendKind, NewRecipient]:
    to: object = body.to  # nobody has checked it yet
    if isinstance(to, list):
        raise Invalid("A reminder has one recipient.", (("to", "one recipient, not a list"),))
    (wanted,) = read_recipients(to)
    content = read_content(body.message, body.instruction, body.variables, [wanted])
    try:
        recipient = NewRecipient(
            to=str(wanted.to),
            jid=str(find_jid(wanted.to)),
            text=write_text(content, wanted),
            known=wanted.known,
            reference=wanted.reference or body.reference,
        )
    except InvalidRecipient as error:
        raise _refuse(wanted, error) from None
    return content.kind, recipient


def _refuse(wanted: Wanted, error: InvalidRecipient) -> Invalid:
    refused = Invalid(f"{wanted.path}: {error.detail}", ((wanted.path, error.detail),))
    refused.code = error.code
    return refused


def _read_values(body: ReminderChange) -> dict[str, Any]:
    values = {name: value for name in _KEPT if (value := getattr(body, name)) is not None}
    if "reference" in body.model_fields_set:
        values["reference"] = body.reference
    if body.message is not None or body.instruction is not None:
        read_content(body.message, body.instruction)
        values |= {"message": body.message, "instruction": body.instruction}
    return values


# ---------------------------------------------------------------- when


def _read_timing(body: ReminderRequest, timezone: str | None, now: datetime) -> Timing:
    _check_one_way(body)
    if body.before is not None:
        return _before(body.before, body.timezone, timezone, now)
    if body.every is not None:
        return _recurring(parse_recurrence(body.every), body.at, None, timezone, now)
    assert body.at is not None
    return Timing(starts_at=read_due_time("at", body.at, timezone, now), timezone=body.timezone)


def _read_moved(body: ReminderChange, current: Timing, default: str | None, now: datetime) -> Timing | None:
    """When it is to fire instead; None: that stays as it is, also where it is only said again: worked out anew, a
    recurrence would lose a firing that is due, or that quiet hours have put off.
    """
    if body.at is None and body.every is None and body.before is None and body.timezone is None:
        return None
    timezone = body.timezone or current.timezone or default
    if body.before is not None or body.every is not None or body.at is not None:
        _check_one_way(body)
    if body.before is not None:
        return _before(body.before, body.timezone, timezone, now)
    rule = body.every or current.every
    if rule is None and body.at is None:
        raise Invalid("A time zone alone moves nothing here.", (("timezone", "give at or before with it"),))
    if rule is None:
        assert body.at is not None
        return Timing(starts_at=read_due_time("at", body.at, timezone, now), timezone=body.timezone)
    moved = _recurring(parse_recurrence(rule), body.at, _kept_start(body, current, now), timezone, now)
    return None if moved == current else moved


def _check_one_way(body: ReminderRequest | ReminderChange) -> None:
    once = body.at is not None and body.every is None
    if [once, body.every is not None, body.before is not None].count(True) != 1:
        raise Invalid(
            "Give exactly one of at, every and before.",
            (("at", "exactly one of at, every and before; at may go with every"),),
        )


def _before(before: Before, own_timezone: str | None, timezone: str | None, now: datetime) -> Timing:
    event_at = read_time("before.event", before.event, timezone, now)
    return Timing(event_at=event_at, minutes=tuple(dict.fromkeys(before.minutes)), timezone=own_timezone)


def _recurring(
    rule: Recurrence, at: datetime | None, kept: datetime | None, timezone: str | None, now: datetime
) -> Timing:
    if timezone is None:
        raise Invalid(
            "It is not known in which time zone this recurs.",
            (("timezone", "is required, as the business has none"),),
        )
    starts_at = kept or rule.first_possible(now, ZoneInfo(timezone))
    if at is not None:
        starts_at = read_time("at", at, timezone, now)
    if now - starts_at > FARTHEST:
        raise Invalid("at is too long ago.", (("at", f"at most {FARTHEST.days} days ago"),))
    return Timing(starts_at=starts_at, every=rule.text, timezone=timezone)


def _kept_start(body: ReminderChange, current: Timing, now: datetime) -> datetime | None:
    """The first possible time that a moved recurrence keeps: the same rule its own, on the same clock in another zone;
    another rule one that is still to come.
    """
    if current.every is None or current.starts_at is None:
        return None
    if body.every is not None and parse_recurrence(body.every).text != current.every:
        return current.starts_at if current.starts_at > now else None
    old, new = ZoneInfo(current.timezone or "UTC"), ZoneInfo(body.timezone or current.timezone or "UTC")
    return current.starts_at.astimezone(old).replace(tzinfo=new).astimezone(UTC)


def _quiet_hours(business: Business, *, respected: bool) -> QuietHours | None:
    return to_quiet_hours(business.config.quiet_hours, business.config.timezone) if respected else None
