"""How fast a phone number may write, so that it is not banned: lanes, gaps, daily limits, quiet hours. Pure rules.

Two lanes: replies and messages to known contacts go fast; bulk and first contacts go slow (contract, section 4). The
defaults come from what those who lost numbers report; WhatsApp publishes no figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from boton.domain.connections import Gateway
from boton.domain.messages import Lane, MessageKind
from boton.domain.sends import SendCategory


class PacingProfile(StrEnum):
    CAREFUL = "careful"
    NORMAL = "normal"
    OFF = "off"


Gap = tuple[float, float]
"""The shortest and the longest pause between two messages of a lane, in seconds; each is drawn anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """What `pacing` of POST /config comes to.

    daily_limit: messages of the slow lane a day once the number is warm; None: no limit. warm_up_from: on the number's
    first day, rising evenly to the limit over warm_up_days. unanswered_marketing: marketing messages that a customer
    gets at most without answering. typing: replies are preceded by "typing…". check_recipients: a first contact is
    looked up before it is written to.
    """

    profile: PacingProfile
    fast_gap: Gap
    slow_gap: Gap
    daily_limit: int | None
    warm_up_from: int
    warm_up_days: int
    unanswered_marketing: int | None = 2
    typing: bool
    check_recipients: bool

    def gap(self, lane: Lane) -> Gap:
        return self.fast_gap if lane is Lane.FAST else self.slow_gap

    def is_unpaced(self, lane: Lane) -> bool:
        """Nothing is waited for between two messages of this lane."""
        if self.gap(lane) != (0.0, 0.0):
            return False
        return not self.typing if lane is Lane.FAST else self.daily_limit is None and not self.check_recipients


PROFILES = {
    PacingProfile.CAREFUL: Pacing(
        profile=PacingProfile.CAREFUL,
        fast_gap=(3.0, 8.0),
        slow_gap=(20.0, 60.0),
        daily_limit=200,
        warm_up_from=20,
        warm_up_days=28,
        typing=True,
        check_recipients=True,
    ),
    PacingProfile.NORMAL: Pacing(
        profile=PacingProfile.NORMAL,
        fast_gap=(1.0, 3.0),
        slow_gap=(8.0, 25.0),
        daily_limit=500,
        warm_up_from=50,
        warm_up_days=10,
        typing=True,
        check_recipients=True,
    ),
    PacingProfile.OFF: Pacing(
        profile=PacingProfile.OFF,
        fast_gap=(0.0, 0.0),
        slow_gap=(0.0, 0.0),
        daily_limit=None,
        warm_up_from=0,
        warm_up_days=0,
        typing=False,
        check_recipients=False,
    ),
}


def to_pacing(config: Mapping[str, Any] | None, gateway: Gateway) -> Pacing:
    """The profile with what the business set differently (camelCase, validated by the API)."""
    given = dict(config or {})
    default = PacingProfile.OFF if gateway is Gateway.SIMULATOR else PacingProfile.CAREFUL
    pacing = PROFILES[PacingProfile(given.pop("profile", None) or default)]
    return replace(pacing, **{_FIELDS[name]: _read(value) for name, value in given.items() if name in _FIELDS})


_FIELDS = {
    "fastGapSeconds": "fast_gap",
    "slowGapSeconds": "slow_gap",
    "dailyLimit": "daily_limit",
    "warmUpFrom": "warm_up_from",
    "warmUpDays": "warm_up_days",
    "unansweredMarketing": "unanswered_marketing",
    "typing": "typing",
    "checkRecipients": "check_recipients",
}
"""As POST /config names them, and as Pacing does."""


def _read(value: Any) -> Any:
    return (float(value[0]), float(value[1])) if isinstance(value, list | tuple) else value


# ---------------------------------------------------------------- lanes


def lane_of(kind: MessageKind, *, known: bool) -> Lane:
    """The lane of a message (contract, section 4). known: a message went either way before, or the API said so."""
    match kind:
        case MessageKind.OPENING | MessageKind.MARKETING:
            return Lane.SLOW
        case MessageKind.TRANSACTIONAL | MessageKind.REMINDER:
            return Lane.FAST if known else Lane.SLOW
        case _:
            return Lane.FAST


REPLY_RANK = 0
"""What goes first in the fast lane: replies, notices, what a human writes."""


def rank_of(lane: Lane, category: SendCategory, total: int) -> int:
    """Who goes first in a lane: the lowest; equals take turns. Fast: replies (0), single sends, bulk. Slow:
    transactional, single sends, bulk.
    """
    if lane is Lane.FAST:
        return 1 if total == 1 else 2
    if category is SendCategory.TRANSACTIONAL:
        return 0
    return 1 if total == 1 else 2


_TYPED_A_SECOND = 25.0
_SHORTEST_TYPING, _LONGEST_TYPING = 1.0, 6.0


def typing_seconds(length: int) -> float:
    """How long "typing…" is shown before a text of so many characters."""
    return min(max(length / _TYPED_A_SECOND, _SHORTEST_TYPING), _LONGEST_TYPING)


# ---------------------------------------------------------------- waiting


class WaitReason(StrEnum):
    """Why nothing of a send is claimed now."""

    SCHEDULED = "scheduled"
    QUIET_HOURS = "quiet_hours"
    DAILY_LIMIT = "daily_limit"
    SLOW_LANE_CLOSED = "slow_lane_closed"
    IN_FLIGHT = "in_flight"
    OTHER_LANE = "other_lane"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    reason: WaitReason
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """From `start` to `end` in `zone`; over midnight when `end` is earlier."""

    start: time
    end: time
    zone: ZoneInfo


def to_zone(timezone: str | None) -> ZoneInfo:
    """The business's time zone; UTC until it is set."""
    return ZoneInfo(timezone or "UTC")


def to_quiet_hours(config: Mapping[str, str] | None, timezone: str | None) -> QuietHours | None:
    """As POST /config stores them: `{"start": "21:00", "end": "08:00"}`."""
    if config is None:
        return None
    start, end = (time.fromisoformat(config[name]) for name in ("start", "end"))
    return QuietHours(start=start, end=end, zone=to_zone(timezone))


def quiet_until(hours: QuietHours | None, now: datetime) -> datetime | None:
    """When the quiet hours end in which `now` lies; None when it lies in none."""
    span = _quiet_span(hours, now) if hours is not None else None
    return span[1] if span is not None else None


def quiet_since(hours: QuietHours, now: datetime) -> datetime:
    """When the quiet hours began in which `now` lies."""
    span = _quiet_span(hours, now)
    assert span is not None
    return span[0]


def _quiet_span(hours: QuietHours, now: datetime) -> tuple[datetime, datetime] | None:
    """The quiet hours in which `now` lies. Moments are compared, not the clock on the wall, which shows an hour twice
    when it is put back.
    """
    today = now.astimezone(hours.zone).date()
    for day in (today - timedelta(days=1), today):
        end_day = day + timedelta(days=hours.end <= hours.start)
        began, ends = at_wall_time(day, hours.start, hours.zone), at_wall_time(end_day, hours.end, hours.zone)
        if began <= now < ends:
            return began, ends
    return None


def at_wall_time(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """That time of that day, in UTC. One that a clock change skips is as much later; one that comes twice: first."""
    return datetime.combine(day, wall, zone).astimezone(UTC)


def waits_in_quiet_hours(kind: MessageKind, category: SendCategory, *, asked: bool) -> bool:
    """Whether such a message waits for the end of quiet hours (contract, section 4)."""
    return category is SendCategory.MARKETING or kind is MessageKind.FOLLOW_UP or asked


# ---------------------------------------------------------------- the slow lane's day


def day_of(now: datetime, zone: ZoneInfo) -> str:
    """The day in the business's calendar, as `2026-11-22`."""
    return now.astimezone(zone).date().isoformat()


def next_day(now: datetime, zone: ZoneInfo) -> datetime:
    """When the business's next day begins."""
    return at_wall_time(now.astimezone(zone).date() + timedelta(days=1), time(), zone)


def limit_on(pacing: Pacing, linked_at: datetime, now: datetime) -> int | None:
    """How many messages the slow lane takes today: a new number's limit rises day by day."""
    if pacing.daily_limit is None:
        return None
    age = max(0, (now - linked_at).days)
    if age >= pacing.warm_up_days:
        return pacing.daily_limit
    risen = (pacing.daily_limit - pacing.warm_up_from) * age // pacing.warm_up_days
    return min(pacing.daily_limit, max(1, pacing.warm_up_from + risen))


# ---------------------------------------------------------------- the slow lane closed by a refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingTimes:
    """How long a refusal closes the slow lane. 463 doubles up to seven times its first, and so long does a ban for good
    (403, 406) close it; other bans tell their end as a rule. What WhatsApp refuses for another reason counts as 429.
    """

    after_463: timedelta = timedelta(hours=24)
    after_429: timedelta = timedelta(minutes=15)
    after_ban: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """The slow lane is closed until then. code: WhatsApp's; count: how many 463 in a row."""

    code: str
    at: datetime
    until: datetime
    count: int = 1

    @property
    def detail(self) -> str:
        return closure_detail(self.code)


REACHOUT = "463"
_TOO_FAST = "429"
_BANS = {"101", "102", "103", "104", "106", "402", "403", "406"}
_ENDLESS_BANS = {"403", "406"}
_LONGEST = 7
"""Times the first closure."""


def close_lane(last: Closure | None, code: str, until: datetime | None, times: ClosingTimes, now: datetime) -> Closure:
    """What a refusal makes of the slow lane. until: the end of a ban, where WhatsApp told it.

    A refusal of a message that was on its way when the lane was closed changes nothing, unless it weighs more.
    """
    count = _reachouts(last, times, now) + (code == REACHOUT)
    closure = Closure(code=code, at=now, until=until or now + _length(code, count, times), count=count)
    if last is None or last.until <= now:
        return closure
    is_same = until is None and refusal_label(code) == refusal_label(last.code)
    return last if is_same or closure.until <= last.until else closure


def _reachouts(last: Closure | None, times: ClosingTimes, now: datetime) -> int:
    """How many 463 came in a row; after a long time without one they are forgotten."""
    return 0 if last is None or now - last.until > _LONGEST * times.after_463 else last.count


def _length(code: str, count: int, times: ClosingTimes) -> timedelta:
    if code == REACHOUT:
        return times.after_463 * min(1 << (count - 1), _LONGEST)
    if code in _ENDLESS_BANS:
        return times.after_463 * _LONGEST
    return times.after_ban if code in _BANS else times.after_429


def closure_detail(code: str) -> str:
    """What an operator reads."""
    if code == REACHOUT:
        return "WhatsApp does not let this number write to new contacts for now (463)."
    if code == _TOO_FAST:
        return "WhatsApp says that this number writes too fast (429)."
    if code in _BANS:
        return f"WhatsApp has banned this number ({code})."
    return f"WhatsApp refuses this number for now ({code})."


REFUSAL_LABELS = (REACHOUT, _TOO_FAST, "ban", "other")


def refusal_label(code: str) -> str:
    """A refusal as metrics name it: one of REFUSAL_LABELS."""
    if code in _BANS:
        return "ban"
    return code if code in {REACHOUT, _TOO_FAST} else "other"


# ---------------------------------------------------------------- how long it takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is still to be sent, in the slow lane with what goes before it, and what that lane took today. quiet: the
    quiet hours it waits for, if any.
    """

    slow: int
    fast: int
    claimed_today: int
    linked_at: datetime
    zone: ZoneInfo
    quiet: QuietHours | None = None
    closed_until: datetime | None = None


LONG = timedelta(days=1)
"""What takes longer deserves a warning when it is accepted."""

_FARTHEST_DAYS = 3650


def estimate_end(pacing: Pacing, load: Load, start: datetime) -> datetime | None:
    """When the last message will have left at this pace; None where nothing is waited for."""
    waited_for = [lane for lane, left in ((Lane.SLOW, load.slow), (Lane.FAST, load.fast)) if left]
    if all(pacing.is_unpaced(lane) for lane in waited_for):
        return None
    quick = start + timedelta(seconds=load.fast * _mean(pacing.fast_gap))
    return max(quick, _estimate_slow(pacing, load, start)) if load.slow else quick


def _estimate_slow(pacing: Pacing, load: Load, start: datetime) -> datetime:
    left, now, used = load.slow, max(start, load.closed_until or start), load.claimed_today
    gap, today = _mean(pacing.slow_gap), day_of(start, load.zone)
    for _ in range(_FARTHEST_DAYS):
        now = quiet_until(load.quiet, now) or now
        if day_of(now, load.zone) != today:
            today, used = day_of(now, load.zone), 0
        end_of_day = next_day(now, load.zone)
        until = _quiet_start(load.quiet, now, end_of_day)
        limit = limit_on(pacing, load.linked_at, now)
        room = left if limit is None else max(0, limit - used)
        fits = min(left, room, int((until - now).total_seconds() / gap) if gap else room)
        left -= fits
        if left <= 0:
            return now + timedelta(seconds=fits * gap)
        used, now = used + fits, until
    return now


def _quiet_start(quiet: QuietHours | None, now: datetime, end_of_day: datetime) -> datetime:
    """When the next quiet hours begin, or the day ends if that is sooner."""
    if quiet is None:
        return end_of_day
    begins = at_wall_time(now.astimezone(quiet.zone).date(), quiet.start, quiet.zone)
    return min(begins, end_of_day) if begins > now else end_of_day


def _mean(gap: Gap) -> float:
    return sum(gap) / 2
