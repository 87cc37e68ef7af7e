"""RRULEs in wall-clock time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from boton.domain.recurrences import HORIZON, parse_recurrence
from boton.errors import Invalid

NEW_YORK = ZoneInfo("America/New_York")  # 8 March 2026: 02:00 → 03:00; 1 November: 02:00 → 01:00
CORDOBA = ZoneInfo("America/Argentina/Cordoba")
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def times(rule: str, count: int, zone: ZoneInfo = NEW_YORK, start: datetime = NOW, after: datetime = NOW) -> list[str]:
    """The first ones, as that zone's clocks show them."""
    found = islice(parse_recurrence(rule).times(start, zone, after), count)
    return [f"{at.astimezone(zone):%m-%d %H:%M}" for at in found]


def test_nine_in_the_morning_stays_nine_when_the_clocks_change() -> None:
    at = list(islice(parse_recurrence("FREQ=DAILY;BYHOUR=9;BYMINUTE=0").times(NOW, NEW_YORK, NOW), 7))
    assert [f"{one.astimezone(NEW_YORK):%H:%M}" for one in at] == ["09:00"] * 7
    assert [one.hour for one in at] == [14, 14, 14, 14, 14, 13, 13]


def test_skipped_time_is_as_much_later_and_a_doubled_one_counts_once() -> None:
    rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30"
    assert times(rule, 3, after=datetime(2026, 3, 6, 12, tzinfo=UTC)) == ["03-07 02:30", "03-08 03:30", "03-09 02:30"]
    doubled = parse_recurrence("FREQ=DAILY;BYHOUR=1;BYMINUTE=30")
    after = datetime(2026, 10, 31, 12, tzinfo=UTC)
    first, second = islice(doubled.times(NOW, NEW_YORK, after), 2)
    assert (first, second) == (datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 2, 6, 30, tzinfo=UTC))


def test_hourly_goes_on_over_a_change_without_repeating_a_moment() -> None:
    at = list(islice(parse_recurrence("FREQ=HOURLY").times(NOW, NEW_YORK, datetime(2026, 3, 8, 5, tzinfo=UTC)), 4))
    assert [one.hour for one in at] == [6, 7, 8, 9]
    assert at == sorted(set(at))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("RRULE:FREQ=WEEKLY;BYDAY=MO,TH;BYHOUR=9;BYMINUTE=0", ["03-05 09:00", "03-09 09:00", "03-12 09:00"]),
        ("freq=monthly;bymonthday=-1;byhour=9;byminute=0", ["03-31 09:00", "04-30 09:00", "05-31 09:00"]),
        ("FREQ=MONTHLY;BYDAY=+1FR;BYHOUR=9;BYMINUTE=0", ["03-06 09:00", "04-03 09:00", "05-01 09:00"]),
        ("FREQ=DAILY;INTERVAL=10;BYHOUR=9;BYMINUTE=0;", ["03-12 09:00", "03-22 09:00", "04-01 09:00"]),
        ("FREQ=DAILY;BYHOUR=9,18;BYMINUTE=0,30", ["03-02 18:00", "03-02 18:30", "03-03 09:00"]),
        ("FREQ=DAILY;BYHOUR=9;BYMINUTE=0;UNTIL=20260304", ["03-03 09:00", "03-04 09:00"]),
        ("FREQ=DAILY;BYHOUR=9;BYMINUTE=0;UNTIL=20260304T090000", ["03-03 09:00", "03-04 09:00"]),
        ("FREQ=DAILY;BYHOUR=9;BYMINUTE=0;UNTIL=20260304T135959Z", ["03-03 09:00"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYHOUR=9;BYMINUTE=0", ["02-29 09:00"]),
    ],
)
def test_rules_and_their_ends(rule: str, expected: list[str]) -> None:
    assert times(rule, 3) == expected


def test_count_counts_from_the_beginning() -> None:
    start = datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
    assert times("FREQ=DAILY;COUNT=3", 9, start=start) == ["03-03 09:00"]


@pytest.mark.parametrize(
    ("rule", "first"),
    [("FREQ=DAILY;BYHOUR=9", "12:00"), ("FREQ=DAILY", "11:01"), ("FREQ=DAILY;BYHOUR=9;BYMINUTE=30", "11:01")],
)
def test_begins_at_the_next_whole_minute_or_hour(rule: str, first: str) -> None:
    noted = datetime(2026, 3, 2, 14, 0, 20, tzinfo=UTC)
    begins = parse_recurrence(rule).first_possible(noted, CORDOBA).astimezone(CORDOBA)
    assert (f"{begins:%H:%M}", begins.second, begins.microsecond) == (first, 0, 0)


def test_that_hour_is_the_next_whole_one_also_when_it_is_whole_now() -> None:
    whole = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
    assert parse_recurrence("FREQ=DAILY;BYHOUR=11").first_possible(whole, CORDOBA) == whole


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=HOURLY;INTERVAL=168;BYDAY=TU",
        "FREQ=DAILY;INTERVAL=7;BYDAY=SU",
        "FREQ=DAILY;BYSETPOS=366",
        "FREQ=HOURLY;INTERVAL=2;BYHOUR=9",
    ],
)
def test_rule_that_never_comes_is_known_soon(rule: str) -> None:
    began = time.process_time()
    assert times(rule, 1) == []
    assert time.process_time() - began < 1  # dateutil alone takes ten times as long


def test_hours_that_an_interval_reaches_depend_on_where_it_begins() -> None:
    rule = parse_recurrence("FREQ=HOURLY;INTERVAL=2;BYHOUR=9,11")
    odd, even = (datetime(2026, 11, 21, hour, tzinfo=CORDOBA) for hour in (9, 10))
    assert [at.astimezone(CORDOBA).hour for at in islice(rule.times(odd, CORDOBA, odd), 3)] == [11, 9, 11]
    assert list(rule.times(even, CORDOBA, even)) == []


def test_nothing_beyond_the_horizon() -> None:
    assert times("FREQ=YEARLY;INTERVAL=6", 2) == []
    *_, last = parse_recurrence("FREQ=DAILY").times(NOW, CORDOBA, NOW)
    assert last <= NOW + HORIZON


def test_calendar_is_ours_wherever_the_rule_is_worked_out() -> None:
    days = parse_recurrence("FREQ=DAILY;BYHOUR=0;BYMINUTE=0").times(NOW, ZoneInfo("UTC"), NOW)
    mondays = parse_recurrence("FREQ=WEEKLY;BYDAY=MO;BYHOUR=0;BYMINUTE=0").times(NOW, ZoneInfo("UTC"), NOW)
    leap_days = [one for one in days if (one.month, one.day) == (2, 29)]
    assert [one.year for one in leap_days] == [2028]
    assert {one.weekday() for one in mondays} == {0}


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("", "RRULE"),
        ("every day", "RRULE"),
        ("FREQ=DAILY;FREQ=DAILY", "RRULE"),
        ("DTSTART:20260101T000000\nRRULE:FREQ=DAILY", "RRULE"),
        ("BYDAY=MO", "FREQ"),
        ("FREQ=MINUTELY", "FREQ"),
        ("FREQ=SECONDLY", "FREQ"),
        ("FREQ=DAILY;BYSECOND=1,2", "BYSECOND"),
        ("FREQ=DAILY;BYMINUTE=0,10,20,30,40", "BYMINUTE"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=DAILY;COUNT=-1", "COUNT"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "UNTIL"),
        ("FREQ=DAILY;UNTIL=20271341", "UNTIL"),
        ("FREQ=DAILY;UNTIL=99991231", "UNTIL"),
        ("FREQ=DAILY;BYHOUR=25", "value"),
        ("FREQ=WEEKLY;BYDAY=XX", "value"),
        ("FREQ=DAILY;BYHOUR=-1", "BYHOUR"),
        ("FREQ=DAILY;BYHOUR=9,,10", "BYHOUR"),
        ("FREQ=HOURLY;BYMINUTE=60", "BYMINUTE"),
        ("FREQ=YEARLY;BYMONTH=0;BYDAY=5FR", "BYMONTH"),
        ("FREQ=YEARLY;BYMONTH=13", "BYMONTH"),
        ("FREQ=MONTHLY;BYMONTHDAY=-32", "BYMONTHDAY"),
        ("FREQ=YEARLY;BYYEARDAY=367", "BYYEARDAY"),
        ("FREQ=YEARLY;BYWEEKNO=54", "BYWEEKNO"),
        ("FREQ=MONTHLY;BYDAY=53TU", "BYDAY"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY"),
        ("FREQ=YEARLY;BYMONTH=2;BYDAY=6MO", "BYDAY"),
        ("FREQ=YEARLY;BYDAY=54MO", "BYDAY"),
        ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY"),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO", "BYDAY"),
        ("FREQ=WEEKLY;WKST=1", "WKST"),
        ("FREQ=MONTHLY;BYSETPOS=0", "value"),
        ("FREQ=HOURLY;BYSETPOS=210", "BYSETPOS"),
    ],
)
def test_what_is_no_rule_of_ours_is_told(rule: str, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_recurrence(rule)
    ((path, detail),) = caught.value.errors
    assert path == "every"
    assert told in detail
