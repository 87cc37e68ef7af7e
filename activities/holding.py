"""Holding a phone number: a long heartbeating activity, so that Temporal chooses the number's one owner."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from boton.errors import BotonError

_CHECK_SECONDS = 1.0
_LEFT_SECONDS = 20.0
"""So long a number is left to the host that held it last, in case that host only lost Temporal for a while: its link
still runs, and it asks for work again within the longest pause of its SDK (10 s).
"""

_AGAIN = timedelta(seconds=1)
_WHILE_FULL = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class HoldConnection:
    """Input of `hold_connection`."""

    connection_id: str


@dataclass(frozen=True, slots=True)
class HoldEnded:
    """Why nobody holds the number now: the connection's last status and what a person should do."""

    status: str
    reason: str = ""


class OwnershipLost(BotonError):
    """Another link owns the number. Whoever held it must not take it back by itself: if the attempt is still the
    valid one, Temporal retries it; if the other owner has the valid one, it does not.
    """

    code = "ownership_lost"

    def __init__(self, connection_id: str) -> None:
        super().__init__(f"Another link owns connection {connection_id}.")


class LinkKeeper(Protocol):
    """The link processes of this host, one for each phone number it holds."""

    async def adopt_or_start(self, connection_id: str) -> None:
        """The running link of this number is kept, else one is started."""

    async def check(self, connection_id: str) -> HoldEnded | None:
        """Starts a link again that died (with back-off); answers when the number can be held no longer.

        Raises OwnershipLost.
        """

    async def release(self, connection_id: str) -> None:
        """Ends the link."""

    def leave(self, connection_id: str) -> None:
        """The attempt is over but the number may still be ours: ends the link unless it is adopted soon."""


class HoldingActivities:
    """host: names this host, also after it was started again. The heartbeats of an attempt tell it to the next one.
    capacity: how many numbers it holds at most. clock: counts seconds.
    """

    def __init__(
        self, keeper: LinkKeeper, host: str, capacity: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keeper = keeper
        self._host = host
        self._capacity = capacity
        self._clock = clock
        self._left: dict[str, tuple[object, float]] = {}
        self._attempts: Counter[str] = Counter()

    @activity.defn(name="hold_connection")
    async def hold_connection(self, hold: HoldConnection) -> HoldEnded:
        """Keeps the number's link running until the number is lost for good."""
        self._leave_to_last_holder(hold.connection_id)
        with self._one_more(hold.connection_id):
            return await self._hold(hold)

    async def _hold(self, hold: HoldConnection) -> HoldEnded:
        try:
            await self._keeper.adopt_or_start(hold.connection_id)
            while (ended := await self._keeper.check(hold.connection_id)) is None:
                activity.heartbeat(self._host, activity.info().attempt)
                await asyncio.sleep(_CHECK_SECONDS)
        except asyncio.CancelledError:
            await self._let_go(hold.connection_id)
            raise
        except OwnershipLost:
            activity.heartbeat()  # nobody's any more
            raise
        except Exception:
            self._keeper.leave(hold.connection_id)  # the next attempt may be another host's
            raise
        await self._keeper.release(hold.connection_id)
        return ended

    @contextmanager
    def _one_more(self, connection_id: str) -> Iterator[None]:
        """Raises where this host is full."""
        if connection_id not in self._attempts and len(self._attempts) >= self._capacity:
            raise _not_here("This host holds as many numbers as it may.", "HostFull", _WHILE_FULL)
        self._attempts[connection_id] += 1  # a new one may begin before the last one has ended
        try:
            yield
        finally:
            self._attempts[connection_id] -= 1
            self._attempts += Counter()  # keeps those above zero

    def _leave_to_last_holder(self, connection_id: str) -> None:
        """Raises where another host held the number, and may come back for it."""
        told = activity.info().heartbeat_details
        if not told or told[0] == self._host:
            self._left.pop(connection_id, None)
            return
        now = self._clock()
        holding, since = self._left.get(connection_id, (None, now))
        if holding != told:
            holding, since = told, now
        self._left[connection_id] = holding, since
        if now - since < _LEFT_SECONDS:
            raise _not_here("Left to the host that held it last.", "LeftToLastHolder", _AGAIN)

    async def _let_go(self, connection_id: str) -> None:
        """A cancelled workflow ends the link. A time-out (Temporal was away) leaves it to the next attempt here, and
        if another host gets it, that one's higher epoch ends the link.
        """
        details = activity.cancellation_details()
        if details is not None and details.cancel_requested:
            await asyncio.shield(self._keeper.release(connection_id))
            return
        if details is not None and details.worker_shutdown:
            activity.heartbeat()  # this host ends: nobody is waited for
        self._keeper.leave(connection_id)


def _not_here(why: str, type: str, again: timedelta) -> ApplicationError:
    """Temporal tries it again after that time, on whichever host asks then."""
    return ApplicationError(why, type=type, next_retry_delay=again, category=ApplicationErrorCategory.BENIGN)
