"""Long polls: one look at the store for each business that is waited for, however many wait."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from boton.ports import EventStore

log = logging.getLogger(__name__)

_EVERY = 0.25
"""Seconds between two looks: one read by primary key."""


@dataclass(slots=True)
class _Watch:
    """One business that is waited for."""

    last_seq: int = -1
    waiting: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    looking: asyncio.Task[None] | None = None


class EventBell:
    """Wakes those who wait for a business's next event."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._watches: dict[str, _Watch] = {}

    @property
    def waiting(self) -> dict[str, int]:
        """How many wait for each business's events."""
        return {business_id: watch.waiting for business_id, watch in self._watches.items()}

    async def wait_beyond(self, business_id: str, after: int, seconds: float) -> bool:
        """Whether there is an event after that seq, as soon as there is; False when none came in so many seconds."""
        watch = self._watches.setdefault(business_id, _Watch())
        watch.waiting += 1
        if watch.looking is None:
            watch.looking = asyncio.create_task(self._look(business_id, watch))
        try:
            async with asyncio.timeout(seconds):
                while watch.last_seq <= after:
                    await watch.changed.wait()
        except TimeoutError:
            return False
        finally:
            self._leave(business_id, watch)
        return True

    def _leave(self, business_id: str, watch: _Watch) -> None:
        watch.waiting -= 1
        if watch.waiting == 0 and watch.looking is not None:
            watch.looking.cancel()
            del self._watches[business_id]

    async def _look(self, business_id: str, watch: _Watch) -> None:
        while True:
            try:
                last_seq = await self._events.fetch_last_seq(business_id)
            except Exception as error:  # noqa: BLE001 - the store is away; those who wait ask again
                log.warning("events cannot be watched", extra={"reason": type(error).__name__})
                last_seq = watch.last_seq
            if last_seq != watch.last_seq:
                watch.last_seq = last_seq
                watch.changed.set()
                watch.changed = asyncio.Event()
            await asyncio.sleep(_EVERY)
