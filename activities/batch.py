"""One batch of a send in one lane: claims, delivers and records until nothing is due, or it has lasted long enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from activities.courier import Courier, Stop
from activities.pacer import Pacer, Turn
from boton.domain.gateway import Attempt
from boton.domain.messages import Lane
from boton.errors import ConnectionAway
from boton.ports import Idle, Result

BATCH_MESSAGES = 500
BATCH_TIME = timedelta(minutes=5)
_WINDOW = 10
"""Messages in flight at once where nothing is paced: what a pause lets through, and a crash leaves to be settled."""

_AWAY_FIRST_SECONDS = 0.2
_AWAY_MAX_SECONDS = 5.0
_MORE = Idle(why="more")
_CHECK = Idle(why="check")
_ONE_BY_ONE = frozenset({_CHECK.why, "paced"})
"""What ends a flow, and not the batch."""


class Limit:
    """When a batch is over: after its time, its number of messages, or at the stop. `clock` tells the time in UTC."""

    def __init__(self, stop: Stop, clock: Callable[[], datetime]) -> None:
        self.stop = stop
        self._clock = clock
        self._until = clock() + BATCH_TIME
        self.settled = 0

    @property
    def is_over(self) -> bool:
        return self.stop.is_set() or self.settled >= BATCH_MESSAGES or self.seconds_left <= 0

    @property
    def now(self) -> datetime:
        return self._clock()

    @property
    def seconds_left(self) -> float:
        return (self._until - self._clock()).total_seconds()


class Patience:
    """The pauses while the network is away: each twice as long as the one before."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self.restart()

    def restart(self) -> None:
        self._pause = _AWAY_FIRST_SECONDS

    @property
    def is_tried(self) -> bool:
        """Whether nothing has gone well since the last pause."""
        return self._pause > _AWAY_FIRST_SECONDS

    def hold(self, seconds: float) -> None:
        """The next pause is at least so long."""
        self._pause = max(self._pause, seconds)

    async def wait(self) -> None:
        await self._stop.sleep(self._pause)
        self._pause = min(self._pause * 2, _AWAY_MAX_SECONDS)


class Batch:
    def __init__(self, courier: Courier, pacer: Pacer, send_id: str, lane: Lane, limit: Limit) -> None:
        self._courier = courier
        self._pacer = pacer
        self._send_id = send_id
        self._lane = lane
        self._limit = limit
        self._patience = Patience(limit.stop)

    async def run(self) -> Idle:
        """Why it ended."""
        if self._limit.is_over:
            return _MORE
        step = await _Flow(self._courier, self._send_id, self._lane, self._limit, self._patience).run()
        return await self._run_paced() if step.why in _ONE_BY_ONE else step

    # -------------------------------------------------------- one message at a time

    async def _run_paced(self) -> Idle:
        """In a crowd one message is all, so that what else is to be sent finds a place in this process. It begins with
        the pace as it is now.
        """
        await self._pacer.pacing(fresh=True)
        rank = await self._courier.fetch_rank(self._send_id, self._lane)
        turn = Turn(lane=self._lane, rank=rank, key=self._send_id)
        while not self._limit.is_over:
            if not await self._pacer.take(turn, self._limit.stop, self._limit.seconds_left):
                break
            step = await self._take_turn()
            if step.why != _MORE.why or self._pacer.is_crowded(self._lane):
                return step
        return _MORE

    async def _take_turn(self) -> Idle:
        """At most one message; `more` unless the batch is to end."""
        used = False
        try:
            step = await self._courier.advance(self._send_id, self._lane)
            if isinstance(step, Idle) and step.why == _CHECK.why:
                step = await self._look_up(step)
                used = not isinstance(step, Idle) or step.why != "compose"
            if isinstance(step, Idle):
                return _MORE if step.why == _CHECK.why else step
            used = True
            return await self._deliver(step[0])
        finally:
            self._pacer.release(self._lane, used=used)

    async def _look_up(self, check: Idle) -> Sequence[Attempt] | Idle:
        """A first contact is written to only when they are on WhatsApp; asking counts as a message."""
        try:
            registered = await self._courier.look_up(check.message_ids[0], check.jid)
        except ConnectionAway:
            await self._patience.wait()
            return _MORE
        return await self._courier.advance(self._send_id, self._lane) if registered else _MORE

    async def _deliver(self, attempt: Attempt) -> Idle:
        result = await self._courier.deliver(attempt)
        self._limit.settled += 1
        step = await self._courier.advance(self._send_id, self._lane, record=[result], room=0)
        assert isinstance(step, Idle)
        if result.is_due_again:
            await self._patience.wait()
        else:
            self._patience.restart()
        return step


class _Flow:
    """Where nothing is paced: some messages in flight at once, records and claims in the same transactions. Whether
    that is so the store says, with each claim.
    """

    def __init__(
        self,
        courier: Courier,
        send_id: str,
        lane: Lane,
        limit: Limit,
        patience: Patience,
    ) -> None:
        self._courier = courier
        self._send_id = send_id
        self._lane = lane
        self._limit = limit
        self._patience = patience
        self._in_flight: set[asyncio.Task[Result]] = set()
        self._drains = False
        self._error: BaseException | None = None

    async def run(self) -> Idle:
        """Why nothing more is claimed, once nothing is in flight."""
        try:
            return await self._run()
        finally:
            left: list[Result] = []
            while self._in_flight:
                left += await self._collect()
            await self._courier.record_all(left)

    async def _run(self) -> Idle:
        results: Sequence[Result] = ()
        while True:
            step = await self._courier.advance(self._send_id, self._lane, record=results, room=self._room(), flows=True)
            if not isinstance(step, Idle):
                self._in_flight |= {asyncio.ensure_future(self._courier.deliver(attempt)) for attempt in step}
            elif not self._in_flight and await self._ends(step):
                return step
            results = await self._collect() if self._in_flight else ()

    def _room(self) -> int:
        """How many messages may be claimed; after a failure one, to try."""
        if self._drains or self._limit.is_over:
            return 0
        return (1 if self._patience.is_tried else _WINDOW) - len(self._in_flight)

    async def _ends(self, step: Idle) -> bool:
        """Whether the flow ends now that nothing is in flight."""
        if self._error is not None:
            raise self._error
        if self._drains:
            await self._patience.wait()
            self._drains = False
        return step.why != _MORE.why or self._limit.is_over

    def _hold(self, again: Sequence[Result]) -> None:
        """A number that was refused is given the time it needs; the slow lane is closed then anyway."""
        refused = [result.again_at for result in again if result.again_at is not None]
        if refused and self._lane is Lane.FAST:
            self._patience.hold((max(refused) - self._limit.now).total_seconds())

    async def _collect(self) -> list[Result]:
        """The results of what has arrived by now: at least one, or an error instead."""
        done, self._in_flight = await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
        results = []
        for task in done:
            if (error := task.exception()) is not None:
                self._error, self._drains = error, True
            else:
                results.append(task.result())
        self._limit.settled += len(done)
        again = [result for result in results if result.is_due_again]
        if again:
            self._drains = True
            self._hold(again)
        elif results:
            self._patience.restart()
        return results
