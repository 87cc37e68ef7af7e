"""Holding a phone number: a long heartbeating activity, so that Temporal chooses the number's one owner."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from temporalio import activity

from boton.errors import BotonError

_CHECK_SECONDS = 1.0


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
    def __init__(self, keeper: LinkKeeper) -> None:
        self._keeper = keeper

    @activity.defn(name="hold_connection")
    async def hold_connection(self, hold: HoldConnection) -> HoldEnded:
        """Keeps the number's link running until the number is lost for good."""
        await self._keeper.adopt_or_start(hold.connection_id)
        try:
            while (ended := await self._keeper.check(hold.connection_id)) is None:
                activity.heartbeat()
                await asyncio.sleep(_CHECK_SECONDS)
        except asyncio.CancelledError:
            await self._let_go(hold.connection_id)
            raise
        await self._keeper.release(hold.connection_id)
        return ended

    async def _let_go(self, connection_id: str) -> None:
        """A cancelled workflow ends the link. A time-out (Temporal was away) leaves it to the next attempt here, and
        if another host gets it, that one's higher epoch ends the link.
        """
        details = activity.cancellation_details()
        if details is not None and details.cancel_requested:
            await asyncio.shield(self._keeper.release(connection_id))
        else:
            self._keeper.leave(connection_id)
