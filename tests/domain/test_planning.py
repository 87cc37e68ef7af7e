"""When a reminder fires."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from boton.domain.pacing import QuietHours
from boton.domain.planning import follow, plan
from boton.domain.reminders import SHOWN_FIRINGS, LeftOut, LeftOutReason, Plan, Timing
from boton.errors import Invalid

ZONE = ZoneInfo("America/Argentina/Cordoba")  # UTC-3, no daylight saving
QUIET = QuietHours(start=time(21), end=time(8), zone=ZONE)
SIX_HOURS = timedelta(hours=6)
DAILY = "FREQ=DAILY;BYHOUR=9;BYMINUTE=0"


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """In March 2026, on Córdoba's clocks."""
    return datetime(2026, 3, day, hour, minute, tzinfo=ZONE).astimezone(UTC)


NOW = at(2, 12)


def event(day: int, hour: int, *minutes: int) -> Timing:
    return Timing(event_at=at(day, hour), minutes=minutes)


def recurring(rule: str = DAILY) -> Timing:
    return Timing(starts_at=NOW, every=rule, timezone=ZONE.key)


def times(planned: Plan) -> list[datetime]:
    return [firing.at for firing in planned.firings]


def test_once_fires_at_its_time_and_expires_after_it() -> None:
    (firing,) = plan(Timing(starts_at=at(3, 9)), None, SIX_HOURS, NOW).firings
    assert (firing.at, firing.expires_at) == (at(3, 9), at(3, 15))


def test_before_an_event_each_offset_fires_and_ends_at_the_event() -> None:
    planned = plan(event(4, 15, 60, 1440, 60), None, SIX_HOURS, NOW)
    assert [(one.at, one.expires_at) for one in planned.firings] == [(at(3, 15), at(4, 15)), (at(4, 14), at(4, 15))]
    assert planned.left_out == ()


def test_offsets_that_are_past_are_left_out_and_told() -> None:
    planned = plan(event(2, 13, 1440, 30), None, SIX_HOURS, NOW)
    assert times(planned) == [at(2, 12, 30)]
    assert planned.left_out == (LeftOut(at=at(1, 13), minutes=1440, reason=LeftOutReason.PAST),)


def test_recurrence_plans_its_next_time_only() -> None:
    assert times(plan(recurring(), None, SIX_HOURS, NOW)) == [at(3, 9)]


@pytest.mark.parametrize(
    ("timing", "path"),
    [
        (event(2, 12, 60), "before"),
        (recurring("FREQ=DAILY;UNTIL=20260101"), "every"),
        (recurring("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"), "every"),
        (Timing(starts_at=at(2, 5)), "at"),
    ],
)
def test_nothing_left_in_the_future_is_an_error(timing: Timing, path: str) -> None:
    with pytest.raises(Invalid, match="Nothing is left") as caught:
        plan(timing, None, SIX_HOURS, NOW)
    assert caught.value.errors[0][0] == path


# ---------------------------------------------------------------- quiet hours


def test_quiet_hours_move_a_firing_to_their_end() -> None:
    assert times(plan(Timing(starts_at=at(3, 2)), QUIET, SIX_HOURS, NOW)) == [at(3, 8)]
    assert times(plan(Timing(starts_at=at(3, 21)), QUIET, SIX_HOURS, NOW)) == [at(4, 8)]
    assert times(plan(Timing(starts_at=at(3, 20)), QUIET, SIX_HOURS, NOW)) == [at(3, 20)]
    assert times(plan(event(3, 9, 120), QUIET, SIX_HOURS, NOW)) == [at(3, 8)]


@pytest.mark.parametrize("hour", [7, 8])
def test_quiet_hours_move_a_firing_before_their_start_when_the_event_would_be_over(hour: int) -> None:
    (firing,) = plan(event(4, hour, 60), QUIET, timedelta(hours=24), NOW).firings
    assert at(3, 20) < firing.at < at(3, 21)
    assert firing.expires_at == at(4, hour)


def test_what_would_have_to_go_out_before_is_left_out_when_that_is_past() -> None:
    with pytest.raises(Invalid):
        plan(event(3, 7, 60), QUIET, SIX_HOURS, at(2, 22))


def test_two_offsets_in_the_same_quiet_hours_fire_once() -> None:
    planned = plan(event(3, 12, 600, 480, 60), QUIET, SIX_HOURS, NOW)
    assert times(planned) == [at(3, 8), at(3, 11)]
    assert [(one.minutes, one.reason) for one in planned.left_out] == [(480, LeftOutReason.SAME_TIME)]


def test_hourly_recurrence_comes_once_for_all_quiet_hours() -> None:
    timing = recurring("FREQ=HOURLY;BYMINUTE=0")
    last, found = at(2, 19), []
    for _ in range(4):
        _, following = follow(timing, QUIET, last, last)
        assert following is not None
        found.append(last := following)
    assert found == [at(2, 20), at(3, 8), at(3, 9), at(3, 10)]


def test_what_quiet_hours_bring_together_is_missed_once() -> None:
    missed, following = follow(recurring("FREQ=HOURLY;BYMINUTE=0"), QUIET, at(2, 19), at(3, 9))
    assert (missed, following) == ((at(2, 20), at(3, 8), at(3, 9)), at(3, 10))


def test_offset_that_is_due_this_very_moment_is_past() -> None:
    planned = plan(event(3, 12, 60, 120), None, SIX_HOURS, at(3, 10))
    assert (times(planned), [one.minutes for one in planned.left_out]) == ([at(3, 11)], [120])


# ---------------------------------------------------------------- after a firing


def test_the_next_follows_the_last() -> None:
    assert follow(recurring(), None, at(3, 9), at(3, 9, 1)) == ((), at(4, 9))


def test_what_was_missed_is_told_apart_from_what_comes() -> None:
    assert follow(recurring(), None, at(3, 9), at(5, 9)) == ((at(4, 9), at(5, 9)), at(6, 9))


def test_after_a_long_outage_only_the_newest_are_told() -> None:
    missed, following = follow(recurring("FREQ=HOURLY;BYMINUTE=0"), None, NOW, NOW + timedelta(days=30, minutes=1))
    assert (len(missed), missed[-1]) == (SHOWN_FIRINGS, NOW + timedelta(days=30))
    assert following == NOW + timedelta(days=30, hours=1)


def test_ended_recurrence_has_no_next() -> None:
    assert follow(recurring(f"{DAILY};COUNT=2"), None, at(4, 9), at(4, 9)) == ((), None)


def test_nothing_follows_what_fires_once() -> None:
    assert follow(Timing(starts_at=at(3, 9)), None, at(3, 9), at(3, 10)) == ((), None)
