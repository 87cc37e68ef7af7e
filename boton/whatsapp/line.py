"""How the connection to WhatsApp stands, by what the library tells and what WhatsApp proves.

Written on the library's thread, read on the event loop. The library pings WhatsApp every 20 to 30 seconds and tells
when no answer comes within 10, but not that one came: its silence proves nothing, for it may be dead itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from boton.whatsapp.refusals import Loss, read_loss


class Line:
    """The state of one client, from one connect to the next."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """clock: answers seconds."""
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self.proved_at = clock()
        self.connections = 0
        self._changed = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """A new connect begins."""
        self.connected = self.synced = self.replaced = False
        self.loss: Loss | None = None
        self.broken: str | None = None

    @property
    def up(self) -> bool:
        return self.connected and self.broken is None

    @property
    def decided(self) -> bool:
        """Whether the connect has come to something."""
        return self.up or self.replaced or self.loss is not None or self.broken is not None

    def hear(self, event: Any) -> None:
        """From any thread."""
        match event.DESCRIPTOR.name:
            case "Connected":
                self.connected, self.connections = True, self.connections + 1
            case "KeepAliveRestored":
                self.connected = True
            case "Disconnected" | "KeepAliveTimeout" | "StreamError":
                self.connected = self.synced = False
            case "OfflineSyncCompleted":
                self.synced = True
            case "StreamReplaced":
                self.connected, self.replaced = False, True
            case _:
                self._hear_loss(event)
        if self.connected:
            self.proved_at = self._clock()
        self._tell()

    def prove(self) -> None:
        """WhatsApp has answered a call. From any thread."""
        self.proved_at = self._clock()
        self._tell()

    @property
    def silence(self) -> float:
        """Seconds since WhatsApp last told or answered something."""
        return self._clock() - self.proved_at

    def break_(self, why: str) -> None:
        """The library is of no use any more until it is stopped and connected again."""
        self.connected, self.broken = False, self.broken or why
        self._tell()

    def wake(self) -> None:
        """Whoever waits looks again. From any thread."""
        self._tell()

    async def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Whether it came true in time."""
        deadline = self._loop.time() + seconds
        while not until():
            self._changed.clear()
            left = deadline - self._loop.time()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return until()
        return True

    def _hear_loss(self, event: Any) -> None:
        loss = read_loss(event, datetime.now(UTC))
        if loss is not None:
            self.connected, self.loss = False, loss
        elif event.DESCRIPTOR.name == "ConnectFailure":
            self.connected = False

    def _tell(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)
