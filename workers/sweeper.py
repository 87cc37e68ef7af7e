"""The sweeper: starts or wakes the workflow of everything unfinished whose next step is overdue.

It is what makes the store the truth: work accepted while Temporal was away, whose run was terminated, or whose
Temporal file was deleted goes on. One worker at a time sweeps, by a lease in the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from boton.ports import Overdue, WorkflowStarter, WorkStore
from workers.running import sleep_until, unless_stopped

log = logging.getLogger(__name__)

_LEASE = "sweeper"
_EVERY = timedelta(seconds=5)
_LEASE_TIME = timedelta(seconds=20)
_GRACE = timedelta(seconds=30)
"""Overdue by less than this: whoever accepted it is most likely starting it right now."""

_AGAIN_AFTER = timedelta(minutes=2)
_FAILED_AGAIN_AFTER = timedelta(seconds=30)
"""What cannot be started must not stand before the rest for ever."""

_AT_ONCE = 200
_STARTS_IN_FLIGHT = 10
_PURGE_EVERY = timedelta(hours=1)


class NamespaceReader(Protocol):
    async def __call__(self) -> str:
        """Temporal's namespace id; raises while Temporal is away."""


class Sweeper:
    """`clock` answers the present in UTC; `holder` names this process in the lease."""

    def __init__(
        self,
        work: WorkStore,
        starter: WorkflowStarter,
        fetch_namespace_id: NamespaceReader,
        *,
        holder: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._work = work
        self._starter = starter
        self._fetch_namespace_id = fetch_namespace_id
        self._holder = holder
        self._clock = clock
        self._purged_at: datetime | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until the stop. Nothing that fails ends it: the next round tries again."""
        while not stop.is_set():
            try:
                more = await unless_stopped(stop, self.sweep())
            except Exception as error:  # noqa: BLE001 - the next round tries again
                more = False
                log.warning("sweep failed", extra={"reason": type(error).__name__})
            await sleep_until(stop, 0 if more else _EVERY.total_seconds())

    async def sweep(self) -> bool:
        """One round; whether there is more to do at once."""
        now = self._clock()
        if not await self._work.take_lease(_LEASE, self._holder, now, now + _LEASE_TIME):
            return False
        if await self._work.note_namespace(await self._fetch_namespace_id(), now):
            log.warning("temporal is a new one: everything unfinished is started again from the store")
        await self._work.settle_left_behind(now)
        overdue = await self._work.list_overdue(now, _GRACE, _AT_ONCE)
        left = await self._work.expire_late(overdue, now)
        started = await self._start_all(left)
        await self._work.postpone(started, now, self._clock() + _AGAIN_AFTER)
        if started:  # else Temporal is away, and nothing is looked at before it is back
            failed = [one for one in left if one not in started]
            await self._work.postpone(failed, now, self._clock() + _FAILED_AGAIN_AFTER, started=False)
        await self._purge(now)
        return len(overdue) >= _AT_ONCE and len(started) == len(left)

    async def _start_all(self, overdue: Sequence[Overdue]) -> list[Overdue]:
        slots = asyncio.Semaphore(_STARTS_IN_FLIGHT)

        async def start(one: Overdue) -> Overdue | None:
            async with slots:
                try:
                    await self._start(one)
                except Exception as error:  # noqa: BLE001 - it stays overdue
                    extra = {"kind": one.kind, "id": one.id, "reason": type(error).__name__}
                    log.warning("overdue work could not be started", extra=extra)
                    return None
                return one

        results = await asyncio.gather(*(start(one) for one in overdue))
        return [one for one in results if one is not None]

    async def _start(self, one: Overdue) -> None:
        match one.kind:
            case "send" if one.is_over:
                await self._starter.end_send(one.id)
            case "send":
                await self._starter.start_send(
                    one.id, one.business_id, one.connection_id, lanes=one.lanes, category=one.category, wake=True
                )
            case "chat":
                await self._starter.look_at_chat(one.id, one.business_id)
            case "reminder":
                await self._starter.start_reminder(one.id, one.business_id, due_at=None, wake=True)
            case "connection":
                await self._starter.look_at_connection(one.id, one.business_id)

    async def _purge(self, now: datetime) -> None:
        if self._purged_at is None or now - self._purged_at > _PURGE_EVERY:
            await self._work.purge(now)
            self._purged_at = now
