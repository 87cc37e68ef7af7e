"""Whose turn it is on one phone number, and when: the gaps between messages, and the order of those who wait.

Each lane has its own turns, so that a running bulk delays no reply. The daily limit, quiet hours and a closed lane are
the store's to check, at the claim.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random

from activities.courier import Stop
from boton.domain.messages import Lane
from boton.domain.pacing import Gap, Pacing
from boton.ports import NumberPace

_BELIEVED_SECONDS = 1.0
"""How long a pacing once read is taken for the present one."""

_LOOK_SECONDS = 1.0
_REMEMBERED = 1000
_CROWD = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn:
    """Who wants to send: the lowest rank goes first, of equals whoever was served longest ago. lead: seconds before
    the message may leave at which the turn is wanted already, for "typing…". Two of the same key are two turns.
    """

    lane: Lane
    rank: int
    key: str
    lead: float = 0.0


class Pacer:
    """`fetch_pace` reads the number's pace; `clock` counts seconds, `now` tells the time in UTC."""

    def __init__(
        self,
        fetch_pace: Callable[[], Awaitable[NumberPace]],
        now: Callable[[], datetime],
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._fetch_pace = fetch_pace
        self._now = now
        self._clock = clock
        dice = random or Random()
        self._lanes = {lane: _Lane(dice) for lane in Lane}
        self._pacing: Pacing | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def pacing(self, *, fresh: bool = False) -> Pacing:
        """The number's pacing: read now when it is to be fresh, else as it was at most a second ago, read once for all
        who ask meanwhile.
        """
        async with self._reading:
            if fresh or self._pacing is None or self._clock() - self._read_at >= _BELIEVED_SECONDS:
                self._pacing = await self._read()
            return self._pacing

    async def take(self, turn: Turn, stop: Stop, patience: float) -> bool:
        """Waits for the turn, which must be released; False when it does not come before the stop, or within so many
        seconds.
        """
        until = self._clock() + patience
        lane = self._lanes[turn.lane]
        lane.join(turn)
        try:
            while not stop.is_set() and (left := until - self._clock()) > 0:
                gap = (await self.pacing()).gap(turn.lane)
                delay = lane.delay(turn, gap, self._clock())
                if delay is not None and delay <= 0:
                    lane.start(turn)
                    return True
                await lane.wait(min(left, _LOOK_SECONDS if delay is None else min(delay, _LOOK_SECONDS)))
            return False
        finally:
            lane.leave(turn)

    def release(self, lane: Lane, *, used: bool) -> None:
        """Ends a turn. used: a message left, or was tried to: the next one has to keep its distance."""
        self._lanes[lane].end(self._clock() if used else None)

    def is_crowded(self, lane: Lane) -> bool:
        """Whether so many wait in a lane that nobody should stay longer than for one message."""
        return self._lanes[lane].waiting > _CROWD

    async def _read(self) -> Pacing:
        """The first time, the slow lane learns when an earlier link last claimed in it."""
        pace = await self._fetch_pace()
        if self._pacing is None and pace.slow_at is not None:
            ago = max(0.0, (self._now() - pace.slow_at).total_seconds())
            self._lanes[Lane.SLOW].note(self._clock() - ago)
        self._read_at = self._clock()
        return pace.pacing


class _Lane:
    """The turns of one lane: one at a time."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._waiting: list[Turn] = []
        self._served: OrderedDict[str, None] = OrderedDict()
        self._busy = False
        self._last: float | None = None
        self._chance = dice.random()
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def join(self, turn: Turn) -> None:
        self._waiting.append(turn)

    def leave(self, turn: Turn) -> None:
        self._waiting.remove(turn)
        self._wake_all()

    def delay(self, turn: Turn, gap: Gap, now: float) -> float | None:
        """Seconds until this turn may begin; None while it is somebody else's."""
        if self._busy or self._next() is not turn:
            return None
        if self._last is None:
            return 0.0
        shortest, longest = gap
        return self._last + shortest + self._chance * (longest - shortest) - turn.lead - now

    def start(self, turn: Turn) -> None:
        self._busy = True
        self._served[turn.key] = None
        self._served.move_to_end(turn.key)
        if len(self._served) > _REMEMBERED:
            self._served.popitem(last=False)

    def end(self, at: float | None) -> None:
        self._busy = False
        if at is not None:
            self.note(at)
        self._wake_all()

    def note(self, at: float) -> None:
        """A message left at that time; the next gap is drawn."""
        self._last, self._chance = at, self._dice.random()

    async def wait(self, seconds: float) -> None:
        """Until something changed here, at most so long."""
        try:
            await asyncio.wait_for(self._changed.wait(), max(seconds, 0.001))
        except TimeoutError:
            return

    def _wake_all(self) -> None:
        """An event for each change: with one that is cleared again, who is about to wait for it could miss it."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _next(self) -> Turn:
        order = {key: place for place, key in enumerate(self._served)}
        return min(self._waiting, key=lambda turn: (turn.rank, order.get(turn.key, -1)))
