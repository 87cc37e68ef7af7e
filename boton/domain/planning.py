"""When a reminder fires: what is planned when it is made or moved, and what follows a firing. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from boton.domain.pacing import QuietHours, quiet_since, quiet_until
from boton.domain.recurrences import parse_recurrence
from boton.domain.reminders import SHOWN_FIRINGS, LeftOut, LeftOutReason, Plan, Timing, to_planned
from boton.errors import Invalid

_BEFORE_QUIET = timedelta(minutes=15)
"""What must go out before quiet hours is due so much sooner, so that it has left when they begin."""


def plan(timing: Timing, quiet: QuietHours | None, expire_after: timedelta, now: datetime) -> Plan:
    """What is to fire from now on. quiet: the quiet hours that it respects, if any.

    Raises Invalid when nothing is left in the future.
    """
    left_out: tuple[LeftOut, ...] = ()
    if timing.event_at is not None:
        times, left_out = _before(timing.event_at, timing.minutes, quiet, now)
    elif timing.every is not None:
        times = [at for at in [next(_recur(timing, quiet, now), None)] if at is not None]
    else:
        assert timing.starts_at is not None
        at = _out_of_quiet(quiet, timing.starts_at)
        times = [at] if at + expire_after > now else []
    if not times:
        raise _nothing_left(timing)
    return Plan(firings=tuple(to_planned(at, timing, expire_after) for at in times), left_out=left_out)


def follow(
    timing: Timing, quiet: QuietHours | None, last: datetime, now: datetime
) -> tuple[tuple[datetime, ...], datetime | None]:
    """Of a recurrence whose firing planned for `last` is due: the later ones that are due too, the newest of them, and
    the next one to come; of any other reminder nothing.
    """
    if timing.every is None:
        return (), None
    missed: deque[datetime] = deque(maxlen=SHOWN_FIRINGS)
    for at in _recur(timing, quiet, last):
        if at > now:
            return tuple(missed), at
        missed.append(at)
    return tuple(missed), None


def _before(
    event_at: datetime, minutes: tuple[int, ...], quiet: QuietHours | None, now: datetime
) -> tuple[list[datetime], tuple[LeftOut, ...]]:
    times: set[datetime] = set()
    left_out = []
    for offset in sorted(set(minutes), reverse=True):
        at = _out_of_quiet(quiet, event_at - timedelta(minutes=offset), event_at)
        if at > now and at not in times:
            times.add(at)
        else:
            reason = LeftOutReason.SAME_TIME if at > now else LeftOutReason.PAST
            left_out.append(LeftOut(at=at, minutes=offset, reason=reason))
    return sorted(times), tuple(left_out)


def _recur(timing: Timing, quiet: QuietHours | None, after: datetime) -> Iterator[datetime]:
    """In order and each time once: what falls into the same quiet hours comes together at their end."""
    assert timing.every is not None
    assert timing.starts_at is not None
    latest = after
    recurrence = parse_recurrence(timing.every)
    for nominal in recurrence.times(timing.starts_at, ZoneInfo(timing.timezone or "UTC"), after):
        at = _out_of_quiet(quiet, nominal)
        if at > latest:
            yield at
            latest = at


def _out_of_quiet(quiet: QuietHours | None, at: datetime, event_at: datetime | None = None) -> datetime:
    """The end of the quiet hours in which it lies, or a time before them when the event would be over by then."""
    end = quiet_until(quiet, at)
    if quiet is None or end is None:
        return at
    if event_at is None or end < event_at:
        return end
    return quiet_since(quiet, at) - _BEFORE_QUIET


def _nothing_left(timing: Timing) -> Invalid:
    if timing.event_at is not None:
        return Invalid("Nothing is left in the future.", (("before", "every one of these times is past"),))
    if timing.every is not None:
        return Invalid("Nothing is left in the future.", (("every", "has no time in the next five years"),))
    return Invalid("Nothing is left in the future.", (("at", "must not be in the past"),))
