"""Sending through one phone number: runs in its link process, on the number's fast and slow queues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import activity

from activities.courier import Courier, Stop
from boton.domain.gateway import Attempt
from boton.ports import Idle

T = TypeVar("T")

BATCH_MESSAGES = 500
BATCH_TIME = timedelta(minutes=5)
_HEARTBEAT_SECONDS = 1.0
_AWAY_FIRST_SECONDS = 0.2
_AWAY_MAX_SECONDS = 5.0
_MORE = Idle(why="more")


@dataclass(frozen=True, slots=True)
class SendBatch:
    """Input of `send_batch`."""

    send_id: str


@dataclass(frozen=True, slots=True)
class BatchStep:
    """What a batch came to. state: `more`, `wait` (until `until`), `compose` (write `message_ids` first), `paused`,
    `done`, `not_owner`. settled: how many attempts ended in this batch.
    """

    state: str
    settled: int = 0
    until: datetime | None = None
    message_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SendMessages:
    """Input of `send_messages`: claimed and sent one by one, in this order."""

    message_ids: tuple[str, ...]


class SendingActivities:
    """Claim, send, record, message by message. `clock` answers the present in UTC."""

    def __init__(self, courier: Courier, clock: Callable[[], datetime]) -> None:
        self._courier = courier
        self._clock = clock
        self._running: dict[str, asyncio.Task[BatchStep]] = {}
        self._stops: dict[str, Stop] = {}
        self._closed = False

    @activity.defn(name="send_batch")
    async def send_batch(self, batch: SendBatch) -> BatchStep:
        """Sends until nothing is due, at most BATCH_MESSAGES or BATCH_TIME. Safe to run twice, also at once."""
        return await self._run_alone(batch.send_id, lambda stop: self._send_batch(batch.send_id, stop))

    @activity.defn(name="send_messages")
    async def send_messages(self, messages: SendMessages) -> BatchStep:
        """Sends single messages; those that are no longer queued, or that a guard forbids, are left out.

        `more`: it was cut short and some may still be queued.
        """
        key = messages.message_ids[0] if messages.message_ids else ""
        return await self._run_alone(key, lambda stop: self._send_messages(messages.message_ids, stop))

    def close(self) -> None:
        """Ends every batch, also a new one, at its next message."""
        self._closed = True
        for stop in self._stops.values():
            stop.set()

    async def drain(self) -> None:
        """Waits until what is on the wire is recorded."""
        self.close()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run_alone(self, key: str, run: Callable[[Stop], Awaitable[BatchStep]]) -> BatchStep:
        """Runs in a task of its own, which a cancelled or timed-out attempt does not interrupt between claim and
        record: it is only told to stop. A later attempt first waits for the one in flight.
        """
        while (earlier := self._running.get(key)) is not None:
            self._stops[key].set()
            await _wait_heartbeating(earlier)
        stop = self._stops[key] = Stop()
        if self._closed:
            stop.set()
        task = self._running[key] = asyncio.ensure_future(self._run_and_forget(key, run(stop)))
        try:
            await _wait_heartbeating(task)
        except asyncio.CancelledError:
            stop.set()
            raise
        return task.result()

    async def _run_and_forget(self, key: str, running: Awaitable[BatchStep]) -> BatchStep:
        """Forgotten before the task counts as done (a done-callback comes a tick later): who finds it may wait."""
        try:
            return await running
        finally:
            del self._running[key], self._stops[key]

    async def _send_batch(self, send_id: str, stop: Stop) -> BatchStep:
        is_over = self._limit(stop)
        settled, pause = 0, _AWAY_FIRST_SECONDS
        step = _MORE if stop.is_set() else await self._courier.advance(send_id)
        while isinstance(step, Attempt):
            result = await self._courier.deliver(step)
            settled += 1
            if is_over(settled):
                await self._courier.record(result)
                step = _MORE
            elif result.is_due_again:
                await self._courier.record(result)
                await stop.sleep(pause)
                pause = min(pause * 2, _AWAY_MAX_SECONDS)
                step = _MORE if is_over(settled) else await self._courier.advance(send_id)
            else:
                pause = _AWAY_FIRST_SECONDS
                step = await self._courier.record_and_advance(send_id, result)
        return BatchStep(state=step.why, settled=settled, until=step.until, message_ids=step.message_ids)

    async def _send_messages(self, message_ids: tuple[str, ...], stop: Stop) -> BatchStep:
        is_over = self._limit(stop)
        settled, pause = 0, _AWAY_FIRST_SECONDS
        for message_id in message_ids:
            while not is_over(settled) and (attempt := await self._courier.claim(message_id)) is not None:
                result = await self._courier.deliver(attempt)
                await self._courier.record(result)
                settled += 1
                if not result.is_due_again:
                    break
                await stop.sleep(pause)
                pause = min(pause * 2, _AWAY_MAX_SECONDS)
        return BatchStep(state="more" if is_over(settled) else "done", settled=settled)

    def _limit(self, stop: Stop) -> Callable[[int], bool]:
        """Whether a batch that began now is over after so many attempts."""
        until = self._clock() + BATCH_TIME
        return lambda settled: stop.is_set() or settled >= BATCH_MESSAGES or self._clock() >= until


async def _wait_heartbeating(task: asyncio.Task[BatchStep]) -> None:
    """Waits for the task's end, whatever it is, without ever cancelling it."""
    while not task.done():
        activity.heartbeat()
        await asyncio.wait({task}, timeout=_HEARTBEAT_SECONDS)
