"""The present, for entry points to pass in: the domain and the workflows have no clock of their own."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)
