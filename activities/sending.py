"""Sending through one phone number: runs in its link process, on the number's fast and slow queues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from temporalio import activity

from activities.batch import Batch, Limit
from activities.courier import Courier, Stop
from activities.pacer import Pacer
from activities.payloads import payload
from activities.replies import Replies
from boton.domain.messages import Lane
from boton.domain.sends import Progress

T = TypeVar("T")

_HEARTBEAT_SECONDS = 1.0


@payload
@dataclass(frozen=True, slots=True)
class SendBatch:
    """Input of `send_batch`: the send's messages in one lane."""

    send_id: str
    lane: str


@payload
@dataclass(frozen=True, slots=True)
class BatchStep:
    """What a batch came to. state: `more`, `wait` (until `until`, for `reason`), `compose` (write `message_ids` first),
    `paused`, `done`, `lane_done` (the other lane has something left), `not_owner`. settled: how many attempts ended.
    progress: how far the whole send is by then.
    """

    state: str
    settled: int = 0
    until: datetime | None = None
    reason: str = ""
    message_ids: tuple[str, ...] = ()
    progress: Progress | None = field(default=None, compare=False)


@payload
@dataclass(frozen=True, slots=True)
class SendMessages:
    """Input of `send_messages`: claimed and sent one by one, in this order."""

    message_ids: tuple[str, ...]


class SendingActivities:
    """Claim, send, record. `clock` answers the present in UTC."""

    def __init__(self, courier: Courier, pacer: Pacer, clock: Callable[[], datetime]) -> None:
        self._courier = courier
        self._pacer = pacer
        self._clock = clock
        self._running: dict[str, asyncio.Task[BatchStep]] = {}
        self._stops: dict[str, Stop] = {}
        self._closed = False

    @activity.defn(name="send_batch")
    async def send_batch(self, batch: SendBatch) -> BatchStep:
        """Sends until nothing is due, at most BATCH_MESSAGES or BATCH_TIME. Safe to run twice, also at once."""
        return await self._run_alone(f"{batch.send_id} {batch.lane}", lambda stop: self._send_batch(batch, stop))

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

    async def _send_batch(self, batch: SendBatch, stop: Stop) -> BatchStep:
        limit = Limit(stop, self._clock)
        step = await Batch(self._courier, self._pacer, batch.send_id, Lane(batch.lane), limit).run()
        return BatchStep(
            state=step.why,
            settled=limit.settled,
            until=step.until,
            reason=step.reason,
            message_ids=step.message_ids,
            progress=await self._courier.fetch_progress(batch.send_id),
        )

    async def _send_messages(self, message_ids: tuple[str, ...], stop: Stop) -> BatchStep:
        limit = Limit(stop, self._clock)
        replies = Replies(self._courier, self._pacer, limit)
        for message_id in message_ids:
            if not await replies.send(message_id):
                return BatchStep(state="more", settled=limit.settled)
        return BatchStep(state="done", settled=limit.settled)


async def _wait_heartbeating(task: asyncio.Task[BatchStep]) -> None:
    """Waits for the task's end, whatever it is, without ever cancelling it."""
    while not (await asyncio.wait({task}, timeout=_HEARTBEAT_SECONDS))[0]:
        activity.heartbeat()
