"""Lanes, ranks, quiet hours, the slow lane's day and its closures, and how long it all takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from boton.domain.connections import Gateway
from boton.domain.messages import Lane, MessageKind
from boton.domain.pacing import (
    PROFILES,
    ClosingTimes,
    Closure,
    Load,
    Pacing,
    PacingProfile,
    QuietHours,
    close_lane,
    closure_detail,
    day_of,
    estimate_end,
    lane_of,
    limit_on,
    next_day,
    quiet_since,
    quiet_until,
    rank_of,
    refusal_label,
    to_pacing,
    to_quiet_hours,
    to_zone,
    typing_seconds,
    waits_in_quiet_hours,
)
from boton.domain.sends import SendCategory

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CAREFUL, OFF = PROFILES[PacingProfile.CAREFUL], PROFILES[PacingProfile.OFF]
TIMES = ClosingTimes()
MADRID = ZoneInfo("Europe/Madrid")
TRANSACTIONAL, MARKETING = SendCategory


# -------------------------------------------------------------------- lanes and ranks

ALWAYS_SLOW = {MessageKind.OPENING, MessageKind.MARKETING}
BY_CONTACT = {MessageKind.TRANSACTIONAL, MessageKind.REMINDER}


@pytest.mark.parametrize("kind", list(MessageKind))
def test_lane_is_as_the_contract_says(kind: MessageKind) -> None:
    known, unknown = lane_of(kind, known=True), lane_of(kind, known=False)
    assert known is (Lane.SLOW if kind in ALWAYS_SLOW else Lane.FAST)
    assert unknown is (Lane.SLOW if kind in ALWAYS_SLOW | BY_CONTACT else Lane.FAST)


def test_slow_lane_takes_transactional_then_single_then_bulk() -> None:
    order = [(TRANSACTIONAL, 5000), (MARKETING, 1), (MARKETING, 2)]
    ranks = [rank_of(Lane.SLOW, category, total) for category, total in order]
    assert ranks == sorted(set(ranks))
    assert rank_of(Lane.SLOW, TRANSACTIONAL, 1) == rank_of(Lane.SLOW, TRANSACTIONAL, 5000)


def test_fast_lane_takes_single_before_bulk_and_replies_before_both() -> None:
    single, bulk = rank_of(Lane.FAST, TRANSACTIONAL, 1), rank_of(Lane.FAST, TRANSACTIONAL, 2)
    assert 0 < single < bulk


def test_typing_lasts_as_long_as_the_text_within_bounds() -> None:
    lengths = [0, 10, 40, 100, 150, 4096]
    seconds = [typing_seconds(length) for length in lengths]
    assert seconds == sorted(seconds)
    assert (seconds[0], typing_seconds(100), seconds[-1]) == (1.0, 4.0, 6.0)


# -------------------------------------------------------------------- configuration


def test_number_is_paced_carefully_unless_it_is_on_the_simulator() -> None:
    assert to_pacing(None, Gateway.WHATSAPP) == CAREFUL
    assert to_pacing(None, Gateway.SIMULATOR) == to_pacing({}, Gateway.SIMULATOR) == OFF
    assert to_pacing({"profile": "normal"}, Gateway.SIMULATOR) == PROFILES[PacingProfile.NORMAL]


def test_business_sets_each_value_for_itself() -> None:
    config = {
        "profile": "normal",
        "fastGapSeconds": [0.5, 2],
        "slowGapSeconds": [5, 9],
        "dailyLimit": None,
        "warmUpFrom": 7,
        "warmUpDays": 3,
        "unansweredMarketing": 1,
        "typing": False,
        "checkRecipients": False,
    }
    assert to_pacing(config, Gateway.WHATSAPP) == Pacing(
        profile=PacingProfile.NORMAL,
        fast_gap=(0.5, 2.0),
        slow_gap=(5.0, 9.0),
        daily_limit=None,
        warm_up_from=7,
        warm_up_days=3,
        unanswered_marketing=1,
        typing=False,
        check_recipients=False,
    )


@pytest.mark.parametrize(
    ("change", "paced"),
    [
        ({}, None),
        ({"slow_gap": (0.0, 1.0)}, Lane.SLOW),
        ({"daily_limit": 9}, Lane.SLOW),
        ({"check_recipients": True}, Lane.SLOW),
        ({"fast_gap": (0.0, 1.0)}, Lane.FAST),
        ({"typing": True}, Lane.FAST),
    ],
)
def test_lane_is_unpaced_only_where_nothing_is_waited_for(change: dict[str, object], paced: Lane | None) -> None:
    pacing = replace(OFF, **change)  # type: ignore[arg-type]
    assert [lane for lane in Lane if not pacing.is_unpaced(lane)] == ([paced] if paced else [])


# -------------------------------------------------------------------- quiet hours


def _quiet(start: str, end: str, zone: str = "Europe/Madrid") -> QuietHours:
    return QuietHours(start=time.fromisoformat(start), end=time.fromisoformat(end), zone=ZoneInfo(zone))


def _local(text: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=MADRID, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (("21:00", "08:00"), "2026-01-10 20:59:59", None),
        (("21:00", "08:00"), "2026-01-10 21:00", "2026-01-11 08:00"),
        (("21:00", "08:00"), "2026-01-11 00:00", "2026-01-11 08:00"),
        (("21:00", "08:00"), "2026-01-11 07:59:59", "2026-01-11 08:00"),
        (("21:00", "08:00"), "2026-01-11 08:00", None),
        (("13:00", "16:00"), "2026-01-10 12:59:59", None),
        (("13:00", "16:00"), "2026-01-10 13:00", "2026-01-10 16:00"),
        (("13:00", "16:00"), "2026-01-10 16:00", None),
        (("00:00", "08:00"), "2026-01-10 00:00", "2026-01-10 08:00"),
        (("21:00", "00:00"), "2026-01-10 23:59", "2026-01-11 00:00"),
        (("21:00", "00:00"), "2026-01-11 00:00", None),
        # the clock is put forward at 02:00 of 29 March: the night is an hour shorter
        (("21:00", "08:00"), "2026-03-28 23:00", "2026-03-29 08:00"),
        (("01:00", "02:30"), "2026-03-29 01:30", "2026-03-29 03:30"),
        # the clock is put back at 03:00 of 25 October: the night is an hour longer
        (("21:00", "08:00"), "2026-10-24 23:00", "2026-10-25 08:00"),
        (("01:00", "02:30"), "2026-10-25 02:15", "2026-10-25 02:30"),
    ],
)
def test_quiet_hours_end_when_the_clock_on_the_wall_says_so(
    hours: tuple[str, str], now: str, until: str | None
) -> None:
    assert quiet_until(_quiet(*hours), _local(now)) == (None if until is None else _local(until))


def test_hour_that_comes_twice_is_not_quiet_again() -> None:
    second = _local("2026-10-25 02:15", fold=1)
    assert second - _local("2026-10-25 02:15") == HOUR
    assert quiet_until(_quiet("01:00", "02:30"), second) is None
    assert quiet_until(_quiet("02:30", "08:00"), second) == _local("2026-10-25 08:00")


@pytest.mark.parametrize("start", ["2026-03-27 12:00", "2026-10-23 12:00", "2026-06-01 12:00"])
@pytest.mark.parametrize("hours", [("21:00", "08:00"), ("02:00", "03:00"), ("02:30", "02:15"), ("00:30", "02:30")])
def test_who_waits_for_the_end_of_quiet_hours_is_out_of_them(start: str, hours: tuple[str, str]) -> None:
    quiet = _quiet(*hours)
    for step in range(4 * 24 * 6):
        now = _local(start) + step * timedelta(minutes=10)
        until = quiet_until(quiet, now)
        if until is not None:
            assert now < until <= now + timedelta(hours=25)
            assert quiet_until(quiet, until) is None
            assert quiet_since(quiet, now) <= now


def test_nothing_is_quiet_without_quiet_hours() -> None:
    assert to_quiet_hours(None, "Europe/Madrid") is None
    assert quiet_until(None, NOW) is None


def test_quiet_hours_are_in_the_businesss_time_zone_or_in_utc() -> None:
    config = {"start": "21:00", "end": "08:00"}
    assert to_quiet_hours(config, "Europe/Madrid") == _quiet("21:00", "08:00")
    assert to_quiet_hours(config, None) == _quiet("21:00", "08:00", "UTC")
    assert to_zone(None) == ZoneInfo("UTC")


@pytest.mark.parametrize("kind", list(MessageKind))
def test_what_waits_in_quiet_hours_is_as_the_contract_says(kind: MessageKind) -> None:
    assert waits_in_quiet_hours(kind, MARKETING, asked=False)
    assert waits_in_quiet_hours(kind, TRANSACTIONAL, asked=True)
    assert waits_in_quiet_hours(kind, TRANSACTIONAL, asked=False) is (kind is MessageKind.FOLLOW_UP)


# -------------------------------------------------------------------- the slow lane's day


def test_day_is_the_businesss() -> None:
    late = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert (day_of(late, to_zone(None)), day_of(late, MADRID)) == ("2026-03-01", "2026-03-02")
    assert next_day(late, MADRID) == datetime(2026, 3, 2, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(("start", "hours"), [("2026-03-29 00:00", 23), ("2026-10-25 00:00", 25)])
def test_day_of_a_clock_change_is_shorter_or_longer(start: str, hours: int) -> None:
    began = _local(start)
    assert next_day(began, MADRID) - began == hours * HOUR
    assert day_of(next_day(began, MADRID) - timedelta(seconds=1), MADRID) == start[:10]


def _limits(pacing: Pacing, days: int = 60) -> list[int | None]:
    return [limit_on(pacing, NOW, NOW + day * DAY) for day in range(days)]


@pytest.mark.parametrize("profile", [PacingProfile.CAREFUL, PacingProfile.NORMAL])
def test_new_numbers_limit_rises_evenly_to_the_full_one(profile: PacingProfile) -> None:
    pacing = PROFILES[profile]
    limits = [limit or 0 for limit in _limits(pacing)]
    assert limits[0] == pacing.warm_up_from
    assert limits[pacing.warm_up_days :] == [pacing.daily_limit] * (60 - pacing.warm_up_days)
    steps = [after - before for before, after in pairwise(limits[: pacing.warm_up_days + 1])]
    assert min(steps) > 0
    assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize(
    ("change", "first", "later"),
    [
        ({"daily_limit": None}, None, None),
        ({"daily_limit": 5}, 5, 5),
        ({"warm_up_days": 0}, 200, 200),
        ({"warm_up_from": 0}, 1, 200),
    ],
)
def test_odd_limits(change: dict[str, int | None], first: int | None, later: int | None) -> None:
    limits = _limits(replace(CAREFUL, **change))  # type: ignore[arg-type]
    assert (limits[0], limits[-1]) == (first, later)


def test_clock_behind_the_linking_gives_the_first_days_limit() -> None:
    assert limit_on(CAREFUL, NOW, NOW - 5 * DAY) == CAREFUL.warm_up_from


# -------------------------------------------------------------------- closures


@pytest.mark.parametrize(
    ("code", "length"),
    [
        ("463", DAY),
        ("429", HOUR / 4),
        ("102", DAY),
        ("402", DAY),
        ("403", 7 * DAY),
        ("406", 7 * DAY),
        ("500", HOUR / 4),
    ],
)
def test_first_refusal_closes_the_lane_for_its_time(code: str, length: timedelta) -> None:
    closure = close_lane(None, code, None, TIMES, NOW)
    assert (closure.code, closure.at, closure.until) == (code, NOW, NOW + length)


def test_463_in_a_row_doubles_up_to_seven_days() -> None:
    closure, now, days = None, NOW, []
    for _ in range(6):
        closure = close_lane(closure, "463", None, TIMES, now)
        days.append((closure.until - now) / DAY)
        now = closure.until + HOUR
    assert days == [1, 2, 4, 7, 7, 7]


def test_429_in_a_row_does_not_double() -> None:
    first = close_lane(None, "429", None, TIMES, NOW)
    second = close_lane(first, "429", None, TIMES, first.until)
    assert second.until - second.at == first.until - first.at


def test_429_between_two_463_does_not_make_them_forgotten() -> None:
    first = close_lane(None, "463", None, TIMES, NOW)
    between = close_lane(first, "429", None, TIMES, first.until + HOUR)
    again = close_lane(between, "463", None, TIMES, between.until + HOUR)
    assert again.until - again.at == 2 * DAY


def test_463_after_a_429_is_the_first_one() -> None:
    first = close_lane(None, "429", None, TIMES, NOW)
    second = close_lane(first, "463", None, TIMES, first.until + HOUR)
    assert second.until - second.at == DAY


def test_463_after_a_long_time_without_is_the_first_one() -> None:
    first = close_lane(None, "463", None, TIMES, NOW)
    soon = close_lane(first, "463", None, TIMES, first.until + 7 * DAY)
    late = close_lane(first, "463", None, TIMES, first.until + 7 * DAY + HOUR)
    assert (soon.until - soon.at, late.until - late.at) == (2 * DAY, DAY)


@pytest.mark.parametrize(("before", "after"), [("463", "463"), ("429", "429"), ("463", "429"), ("102", "101")])
def test_refusal_of_what_was_on_its_way_changes_nothing(before: str, after: str) -> None:
    first = close_lane(None, before, None, TIMES, NOW)
    assert close_lane(first, after, None, TIMES, NOW + timedelta(minutes=1)) == first


@pytest.mark.parametrize("after", ["463", "102"])
def test_refusal_that_weighs_more_closes_for_longer(after: str) -> None:
    first = close_lane(None, "429", None, TIMES, NOW)
    second = close_lane(first, after, None, TIMES, NOW + timedelta(minutes=1))
    assert (second.code, second.until) == (after, NOW + DAY + timedelta(minutes=1))


def test_ban_ends_when_whatsapp_says_but_never_before_what_is_closed() -> None:
    first = close_lane(None, "463", None, TIMES, NOW)
    assert close_lane(first, "102", NOW + HOUR, TIMES, NOW) == first
    longer = close_lane(first, "102", NOW + 3 * DAY, TIMES, NOW)
    assert (longer.code, longer.until) == ("102", NOW + 3 * DAY)


def test_opened_by_hand_and_refused_again_closes_for_longer() -> None:
    opened = replace(close_lane(None, "463", None, TIMES, NOW), until=NOW + HOUR)
    assert close_lane(opened, "463", None, TIMES, NOW + HOUR).until == NOW + HOUR + 2 * DAY


@pytest.mark.parametrize(
    ("code", "label", "word"),
    [
        ("463", "463", "new contacts"),
        ("429", "429", "too fast"),
        ("104", "ban", "banned"),
        ("406", "ban", "banned"),
        ("777", "other", "777"),
    ],
)
def test_closure_says_why_in_plain_words(code: str, label: str, word: str) -> None:
    assert refusal_label(code) == label
    assert word in closure_detail(code)
    assert Closure(code=code, at=NOW, until=NOW).detail == closure_detail(code)


# -------------------------------------------------------------------- how long it takes


def _load(slow: int = 0, fast: int = 0, **others: object) -> Load:
    values: dict[str, object] = {"claimed_today": 0, "linked_at": NOW - 90 * DAY, "zone": MADRID, **others}
    return Load(slow=slow, fast=fast, **values)  # type: ignore[arg-type]


def _end(pacing: Pacing, load: Load, start: datetime = NOW) -> datetime:
    end = estimate_end(pacing, load, start)
    assert end is not None
    return end


def test_nothing_is_estimated_where_nothing_is_waited_for() -> None:
    assert estimate_end(OFF, _load(slow=10_000, fast=5), NOW) is None
    assert estimate_end(CAREFUL, _load(), NOW) is None


def test_few_messages_take_their_gaps() -> None:
    assert _end(CAREFUL, _load(slow=10)) == NOW + timedelta(seconds=400)
    assert _end(CAREFUL, _load(fast=10)) == NOW + timedelta(seconds=55)
    assert _end(CAREFUL, _load(slow=10, fast=1000)) == NOW + timedelta(seconds=5500)


def test_what_does_not_fit_in_a_day_goes_on_in_the_next_ones() -> None:
    end = _end(CAREFUL, _load(slow=200 * 4 + 1, claimed_today=200))
    assert day_of(end, MADRID) == "2026-03-07"


def test_new_number_takes_longer_than_a_warm_one() -> None:
    assert _end(CAREFUL, _load(slow=500, linked_at=NOW)) > _end(CAREFUL, _load(slow=500)) + 5 * DAY


def test_closed_lane_and_quiet_hours_put_the_end_off() -> None:
    closed = _load(slow=10, closed_until=NOW + 3 * HOUR)
    assert _end(CAREFUL, closed) == NOW + 3 * HOUR + timedelta(seconds=400)
    quiet = _load(slow=10, quiet=_quiet("16:00", "20:00"))
    assert _end(CAREFUL, quiet) == _local("2026-03-02 20:00") + timedelta(seconds=400)
    tomorrow = _load(slow=10, closed_until=NOW + DAY, claimed_today=200)
    assert _end(CAREFUL, tomorrow) == NOW + DAY + timedelta(seconds=400)
    over = _load(slow=10, closed_until=NOW - HOUR)
    assert _end(CAREFUL, over) == NOW + timedelta(seconds=400)


@pytest.mark.parametrize("quiet", [None, _quiet("21:00", "08:00"), _quiet("13:00", "17:30"), _quiet("04:00", "02:00")])
@pytest.mark.parametrize("linked_at", [NOW, NOW - 90 * DAY])
def test_more_messages_never_end_sooner_and_never_in_quiet_hours(quiet: QuietHours | None, linked_at: datetime) -> None:
    ends = [_end(CAREFUL, _load(slow=count, quiet=quiet, linked_at=linked_at)) for count in range(1, 600, 37)]
    assert ends == sorted(set(ends))
    for end in ends:
        assert quiet_until(quiet, end - timedelta(seconds=1)) is None


@pytest.mark.parametrize("used", [0, 1, 150, 199, 200, 5000])
def test_day_that_is_used_up_never_makes_it_end_sooner(used: int) -> None:
    assert _end(CAREFUL, _load(slow=300, claimed_today=used)) >= _end(CAREFUL, _load(slow=300))


def test_what_can_never_be_sent_ends_far_away_instead_of_never() -> None:
    slow = replace(CAREFUL, slow_gap=(7200.0, 7200.0), daily_limit=None)
    end = _end(slow, _load(slow=5, quiet=_quiet("01:00", "00:00")))
    assert end > NOW + 365 * DAY
