"""What happened, in order."""

from __future__ import annotations

from typing import Protocol

from boton.domain.events import EventPage


class EventStore(Protocol):
    async def list_events(self, business_id: str, after: int, limit: int) -> EventPage:
        """Events with seq > after, in order. Raises EventsGone when `after` is older than what is kept."""

    async def fetch_last_seq(self, business_id: str) -> int:
        """The seq of the business's newest event; 0 when there was none."""
