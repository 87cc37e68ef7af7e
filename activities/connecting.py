"""What a connection's workflow asks of the store and of a host, besides holding the number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from temporalio import activity

from boton.ports import ConnectionSteps

_BEAT_SECONDS = 1.0
_LAST_BEATS = 45


@dataclass(frozen=True, slots=True)
class AdvanceConnection:
    """Input of `advance_connection`."""

    connection_id: str


@dataclass(frozen=True, slots=True)
class ConnectionStep:
    """What is next (`pair`, `hold`, `wait`, `unlink`, `done`), and how the connection stands: status, what to do."""

    next: str
    status: str = ""
    reason: str = ""


class ConnectionActivities:
    """On the workers' queue. `clock` answers the present in UTC."""

    def __init__(self, store: ConnectionSteps, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    @activity.defn(name="advance_connection")
    async def advance_connection(self, given: AdvanceConnection) -> ConnectionStep:
        """What is next, by what the store says now."""
        step, connection = await self._store.advance_connection(given.connection_id, self._clock())
        return ConnectionStep(step.value, connection.status.value, connection.reason or "")


@dataclass(frozen=True, slots=True)
class PairConnection:
    """Input of `pair_connection`."""

    connection_id: str


@dataclass(frozen=True, slots=True)
class UnlinkConnection:
    """Input of `unlink_connection`."""

    connection_id: str


class PairingKeeper(Protocol):
    async def pair(self, connection_id: str) -> None:
        """Runs the pairing process to its end, whatever that is: the store says what came of it. Cancelled, it kills
        the process.
        """

    async def unlink(self, connection_id: str) -> bool:
        """Runs the process that takes a device off its phone; whether nothing is left to be done. Likewise."""


class PairingActivities:
    """On the hosts' queue."""

    def __init__(self, keeper: PairingKeeper) -> None:
        self._keeper = keeper

    @activity.defn(name="unlink_connection")
    async def unlink_connection(self, given: UnlinkConnection) -> bool:
        """Has the device of a number that was logged out taken off its phone; False: it is worth another try."""
        unlinking = asyncio.ensure_future(self._keeper.unlink(given.connection_id))
        try:
            while not unlinking.done():
                activity.heartbeat()
                await asyncio.wait({unlinking}, timeout=_BEAT_SECONDS)
        finally:
            unlinking.cancel()
            await asyncio.wait({unlinking})
        return unlinking.result()

    @activity.defn(name="pair_connection")
    async def pair_connection(self, given: PairConnection) -> None:
        """Has a phone linked. QR and pairing codes go through the store, not through here."""
        pairing = asyncio.ensure_future(self._keeper.pair(given.connection_id))
        try:
            while not pairing.done():
                activity.heartbeat()
                await asyncio.wait({pairing}, timeout=_BEAT_SECONDS)
        except asyncio.CancelledError:
            await _let_end(pairing)
            raise
        finally:
            pairing.cancel()
            await asyncio.wait({pairing})
        pairing.result()


async def _let_end(pairing: asyncio.Future[None]) -> None:
    """A request that was withdrawn ends the linking by itself, and what was scanned is taken off the phone again."""
    details = activity.cancellation_details()
    if details is not None and details.cancel_requested:
        for _ in range(_LAST_BEATS):
            activity.heartbeat()
            if (await asyncio.wait({pairing}, timeout=_BEAT_SECONDS))[0]:
                return
