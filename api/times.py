"""Times as requests write them: with an offset, or local in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from boton.errors import Invalid

STILL_NOW = timedelta(minutes=5)
"""What is past by less than this means now: clocks differ."""

FARTHEST = timedelta(days=5 * 366)


def read_time(path: str, at: datetime, timezone: str | None, now: datetime) -> datetime:
    """The time in UTC; one without an offset is local in `timezone`. Raises Invalid, naming `path`."""
    if at.tzinfo is None:
        if timezone is None:
            raise Invalid(
                f"{path} has no offset.", ((path, "add an offset like -03:00, or set the business's timezone"),)
            )
        at = at.replace(tzinfo=ZoneInfo(timezone))
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        at = datetime.max.replace(tzinfo=UTC)
    if at - now > FARTHEST:
        raise Invalid(f"{path} is too far away.", ((path, f"at most {FARTHEST.days} days from now"),))
    return at


def read_due_time(path: str, at: datetime, timezone: str | None, now: datetime) -> datetime:
    """When something is due: not in the past, unless by so little that it means now. Raises Invalid."""
    due = read_time(path, at, timezone, now)
    if now - due >= STILL_NOW:
        raise Invalid(f"{path} is in the past.", ((path, "must not be in the past"),))
    return max(due, now)
