"""Waking those who wait: gateways for events, the reader for receipts due, everybody when the simulator stops."""

from __future__ import annotations

import asyncio

from boton.errors import ConnectionAway


class Bells:
    """One event loop; a bell that is rung wakes all who wait for it now, and nobody later."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Event] = {}
        self._reader = asyncio.Event()
        self._stop = asyncio.Event()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def ring(self, *businesses: str) -> None:
        for business in businesses:
            if bell := self._waiting.pop(business, None):
                bell.set()

    def ring_all(self) -> None:
        self.ring(*self._waiting)

    def ring_reader(self) -> None:
        self._reader.set()

    def stop(self) -> None:
        self._stop.set()
        self.ring_all()
        self.ring_reader()

    async def wait(self, business: str, seconds: float) -> bool:
        """Whether it rang within that time."""
        bell = self._waiting.setdefault(business, asyncio.Event())
        return await _wait(bell, seconds)

    async def wait_reader(self, seconds: float | None) -> None:
        await _wait(self._reader, seconds)
        self._reader.clear()

    async def sleep(self, seconds: float) -> None:
        """Raises ConnectionAway when the simulator stops meanwhile."""
        if await _wait(self._stop, seconds):
            raise ConnectionAway("The simulator is stopping.")


async def _wait(bell: asyncio.Event, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return False
    return True
