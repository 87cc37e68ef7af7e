"""The Retry-After header (RFC 9110, section 10.2.3): seconds, or a date. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 86_400.0
"""Seconds: a server that asks for more than a day is taken to have asked for a day."""

_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]+)?")


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """How many seconds from `now` the server asks us to wait; None when it does not say, or not understandably."""
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), LONGEST)
