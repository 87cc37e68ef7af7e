"""Whether the number is shown as online: only while a customer's typing is waited for.

WhatsApp tells who is typing to those alone who are online; but while a linked device is online, the phone rings for
nobody, and its owner would miss what the bot does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Presence:
    """Of one number. show: tells WhatsApp, and whether that went out; it must not raise."""

    def __init__(self, show: Callable[[bool], Awaitable[bool]]) -> None:
        self._show = show
        self._offline: asyncio.TimerHandle | None = None
        self._telling: set[asyncio.Future[bool]] = set()
        self._introduced = 0

    async def introduce(self, connection: int) -> None:
        """Once in each connection of the library, which `connection` counts: WhatsApp gets the number's name with it. A
        phone that was just linked may not have told that yet: then it is for a later call.
        """
        if connection != self._introduced and await self._show(self._offline is not None):
            self._introduced = connection

    def be_online(self, seconds: float) -> None:
        """From now on for so long, or for longer where that was said before."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if self._offline is None:
            self._tell(True)
        else:
            until = max(until, self._offline.when())
            self._offline.cancel()
        self._offline = loop.call_at(until, self._be_offline)

    def close(self) -> None:
        if self._offline is not None:
            self._offline.cancel()

    def _be_offline(self) -> None:
        self._offline = None
        self._tell(False)

    def _tell(self, on: bool) -> None:
        telling = asyncio.ensure_future(self._show(on))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
