"""Recurrences: an RRULE (RFC 5545) worked out by dateutil in the wall-clock time of a zone.

09:00 stays 09:00 when the clocks change. A wall time that a change skips is as much later; one that comes twice counts
once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from boton.domain.pacing import at_wall_time
from boton.errors import Invalid

HORIZON = timedelta(days=5 * 366)
"""What lies farther ahead is not looked for."""

_FREQUENCIES = {"YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"}
_NAMES = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYDAY"}
_NAMES |= {"BYHOUR", "BYMINUTE", "BYSETPOS"}
_PART = re.compile(r"(?P<name>[A-Z]+)=(?P<value>[A-Z0-9,+-]+)")
_UNTIL = re.compile(r"(?P<day>[12]\d{7})(?:T(?P<time>\d{6})(?P<utc>Z?))?")
_COUNTED = re.compile(r"[1-9]\d{0,3}")
_WEEKDAY = re.compile(r"(?P<place>[+-]?\d{1,2})?(?:MO|TU|WE|TH|FR|SA|SU)")
_MOST_MINUTES = 4
_SIGNED = {"BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53, "BYSETPOS": 366}
"""Counted from 1 on, or from -1 back to so many."""

_UNSIGNED = {"BYMONTH": (1, 12), "BYHOUR": (0, 23), "BYMINUTE": (0, 59)}
_ANY_DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - a wall-clock time


@dataclass(frozen=True, slots=True)
class Recurrence:
    """An RRULE that was checked. text: as it is stored, without `RRULE:`."""

    text: str
    parts: Mapping[str, str]

    def first_possible(self, now: datetime, zone: ZoneInfo) -> datetime:
        """Where it begins when nobody says: at the next whole minute, or hour where it names hours without minutes.

        In UTC. What the rule does not name (the minute, the day of the month) is taken from there.
        """
        whole = timedelta(hours=1) if "BYHOUR" in self.parts and "BYMINUTE" not in self.parts else timedelta(minutes=1)
        wall = now.astimezone(zone).replace(tzinfo=None)
        return _to_utc(wall + (_ANY_DAY - wall) % whole, zone)

    def times(self, starts_at: datetime, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        """Its times later than `after`, in order, in UTC; none beyond the horizon."""
        start = starts_at.astimezone(zone).replace(tzinfo=None, microsecond=0)
        last_wall = (max(after, starts_at) + HORIZON).astimezone(zone).replace(tzinfo=None)
        until = self._until(zone)
        latest = after
        for wall in _walls(self._without_until(), start, last_wall):
            at = _to_utc(wall, zone)
            if until is not None and at > until:
                return
            if at > latest:
                yield at
                latest = at

    def _without_until(self) -> str:
        return ";".join(f"{name}={value}" for name, value in self.parts.items() if name != "UNTIL")

    def _until(self, zone: ZoneInfo) -> datetime | None:
        """In UTC; a day without a time counts to its end."""
        if "UNTIL" not in self.parts:
            return None
        match = _UNTIL.fullmatch(self.parts["UNTIL"])
        assert match is not None
        day = datetime.strptime(match["day"], "%Y%m%d").date()  # noqa: DTZ007
        wall = datetime.strptime(match["time"], "%H%M%S").time() if match["time"] else time.max  # noqa: DTZ007
        return at_wall_time(day, wall, ZoneInfo("UTC") if match["utc"] else zone)


def parse_recurrence(text: str) -> Recurrence:
    """Raises Invalid, naming `every`, for what is no RRULE, or one that is more frequent than a reminder may be."""
    rule = text.strip().upper().removeprefix("RRULE:").rstrip(";")
    found = [_PART.fullmatch(part) for part in rule.split(";")]
    parts = {match["name"]: match["value"] for match in found if match is not None}
    if len(parts) != len(found):
        raise _invalid("must be one RRULE like FREQ=WEEKLY;BYDAY=MO,TH;BYHOUR=9;BYMINUTE=0, each part once")
    if unknown := sorted(parts.keys() - _NAMES):
        raise _invalid(f"{unknown[0]} is not supported; leave it out")
    if parts.get("FREQ") not in _FREQUENCIES:
        raise _invalid("FREQ must be YEARLY, MONTHLY, WEEKLY, DAILY or HOURLY")
    _check_values(parts)
    return Recurrence(rule, parts)


def _check_values(parts: Mapping[str, str]) -> None:
    for name in ("INTERVAL", "COUNT"):
        if name in parts and not _COUNTED.fullmatch(parts[name]):
            raise _invalid(f"{name} must be a whole number from 1 to 9999")
    if "COUNT" in parts and "UNTIL" in parts:
        raise _invalid("has COUNT and UNTIL; give one of them")
    if len(parts.get("BYMINUTE", "").split(",")) > _MOST_MINUTES:
        raise _invalid(f"BYMINUTE may name {_MOST_MINUTES} minutes at most")
    if parts["FREQ"] == "HOURLY" and "BYSETPOS" in parts:
        raise _invalid("BYSETPOS does not go with FREQ=HOURLY: name the minutes themselves")
    for name, value in parts.items():
        if not all(_is_possible(name, one, parts) for one in value.split(",")):
            raise _invalid(f"{name} has a value that it cannot have, or not with the other parts")
    if "UNTIL" in parts and not _is_moment(parts["UNTIL"]):
        raise _invalid("UNTIL must be written like 20261231 or 20261231T235959Z")


def _is_possible(name: str, value: str, parts: Mapping[str, str]) -> bool:
    """Whether one of a part's values may be there. dateutil stumbles over some that may not, days or years later."""
    if name in _SIGNED:
        return re.fullmatch(r"[+-]?\d{1,3}", value) is not None and 1 <= abs(int(value)) <= _SIGNED[name]
    if name in _UNSIGNED:
        lowest, highest = _UNSIGNED[name]
        return re.fullmatch(r"\d{1,2}", value) is not None and lowest <= int(value) <= highest
    if name not in ("BYDAY", "WKST"):
        return True
    match = _WEEKDAY.fullmatch(value)
    if match is None or match["place"] is None:
        return match is not None
    return name == "BYDAY" and 1 <= abs(int(match["place"])) <= _most_weekdays(parts)


def _most_weekdays(parts: Mapping[str, str]) -> int:
    """How many Mondays BYDAY may count: those of a month or of a year, or none."""
    if parts["FREQ"] == "MONTHLY" or (parts["FREQ"] == "YEARLY" and "BYMONTH" in parts and "BYWEEKNO" not in parts):
        return 5
    return 53 if parts["FREQ"] == "YEARLY" and "BYWEEKNO" not in parts else 0


def _is_moment(text: str) -> bool:
    match = _UNTIL.fullmatch(text)
    try:
        return match is not None and bool(datetime.strptime(match["day"] + (match["time"] or "000000"), "%Y%m%d%H%M%S"))  # noqa: DTZ007
    except ValueError:
        return False


def _invalid(detail: str) -> Invalid:
    return Invalid(f"every {detail}.", (("every", detail),))


def _walls(rule: str, start: datetime, last: datetime) -> Iterator[datetime]:
    """The rule's wall-clock times from `start` to `last`.

    dateutil looks for a rule's next time up to the year 9999: for one that never comes (30 February) that took it
    9 s. So the rule is worked out in the last years of its calendar that are like ours, and told as ours.
    """
    later = _like_years(last.year)
    try:
        walls = rrulestr(rule, dtstart=_add_years(start, later))
    except ValueError:  # its hours are none that it comes to from there in steps of its interval
        return
    for wall in walls:
        ours = _add_years(wall, -later)
        if ours > last:
            return
        yield ours


def _like_years(year: int) -> int:
    """How much later the calendar is the same, as late as fits: it repeats every 28 years from 1901 to 2099, and 8,000
    years later from 9901 to 9999.
    """
    return 8000 - 28 * -((1999 - year) // 28)


def _add_years(wall: datetime, years: int) -> datetime:
    return wall.replace(year=wall.year + years)


def _to_utc(wall: datetime, zone: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(UTC)
