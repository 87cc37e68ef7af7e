"""Whose turn it is, and when: with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from activities import pacer as pacers
from activities.courier import Stop
from activities.pacer import Pacer, Turn
from boton.domain.messages import Lane
from boton.domain.pacing import PROFILES, REPLY_RANK, Pacing, PacingProfile
from boton.ports import NumberPace
from tests.activities.fakes import AT, Clock

LONG = 10_000.0
PACED = replace(PROFILES[PacingProfile.CAREFUL], fast_gap=(3.0, 3.0), slow_gap=(20.0, 20.0))


class Ticks:
    """Seconds that stand still until a test moves them, and how often they were read."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.read = 0

    def __call__(self) -> float:
        self.read += 1
        return self.now

    async def seen(self, times: int = 10) -> None:
        """Until whoever waits has looked so often: what was to happen at this time has happened."""
        goal = self.read + times
        await _soon(lambda: self.read >= goal)


async def _soon(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.0005)


class Number:
    """One number's pace as the store tells it, and those who want to send."""

    def __init__(self, pacing: Pacing = PACED, *, slow_ago: float | None = None, random: Random | None = None) -> None:
        self.pace = NumberPace(pacing=pacing, slow_at=AT - timedelta(seconds=slow_ago) if slow_ago else None)
        self.reads = 0
        self.errors: deque[Exception] = deque()
        self.ticks = Ticks()
        self.stop = Stop()
        self.pacer = Pacer(self._fetch, Clock(), clock=self.ticks, random=random)
        self.served: list[tuple[str, float]] = []

    async def _fetch(self) -> NumberPace:
        self.reads += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.popleft()
        return self.pace

    def wants(self, key: str, lane: Lane = Lane.SLOW, rank: int = 0, lead: float = 0.0) -> asyncio.Task[bool]:
        """Waits in the lane, without end, and notes when the turn came."""

        async def take() -> bool:
            turn = Turn(lane=lane, rank=rank, key=key, lead=lead)
            taken = await self.pacer.take(turn, self.stop, LONG)
            if taken:
                self.served.append((key, self.ticks.now - 1000.0))
            return taken

        return asyncio.create_task(take())

    async def serve(self, turn: asyncio.Task[bool], lane: Lane = Lane.SLOW, *, used: bool = True) -> None:
        """The turn comes and ends at once."""
        assert await asyncio.wait_for(turn, 10)
        self.pacer.release(lane, used=used)

    async def pass_time(self, turn: asyncio.Task[bool]) -> None:
        """Second by second, until the turn comes."""
        while not turn.done():
            looked = self.ticks.read
            self.ticks.now += 1
            await _soon(lambda: turn.done() or self.ticks.read >= looked + 3)  # noqa: B023


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacers, "_LOOK_SECONDS", 0.001)


async def test_gap_is_kept_from_the_end_of_one_message_to_the_next() -> None:
    number = Number()
    first = number.wants("a")
    assert await asyncio.wait_for(first, 10)
    second = number.wants("b")
    number.ticks.now += 50  # the first is on the wire for so long
    await number.ticks.seen()
    assert not second.done()
    number.pacer.release(Lane.SLOW, used=True)
    number.ticks.now += 19.9
    await number.ticks.seen()
    assert not second.done()
    number.ticks.now += 0.2
    await number.serve(second)
    assert number.served == [("a", 0.0), ("b", pytest.approx(70.1))]


async def test_every_gap_is_drawn_anew_between_its_bounds() -> None:
    pacing = replace(PACED, slow_gap=(20.0, 60.0))
    number = Number(pacing, random=Random(7))
    await number.serve(number.wants("a"))
    gaps = []
    for _ in range(12):
        began = number.ticks.now
        turn = number.wants("a")
        await number.ticks.seen()
        await number.pass_time(turn)
        await number.serve(turn)
        gaps.append(number.ticks.now - began)
    assert all(20 <= gap <= 61 for gap in gaps)
    assert max(gaps) - min(gaps) > 15
    assert len(set(gaps)) > 6


async def test_lowest_rank_goes_first_whoever_came_first() -> None:
    number = Number()
    await number.serve(number.wants("earlier"))
    waiting = [number.wants("bulk", rank=2), number.wants("single", rank=1), number.wants("transactional", rank=0)]
    await number.ticks.seen()
    for turn in reversed(waiting):
        number.ticks.now += 20
        await number.serve(turn)
    assert [key for key, _ in number.served] == ["earlier", "transactional", "single", "bulk"]


async def test_equals_take_turns_whatever_their_size() -> None:
    number = Number()
    for expected in ("a", "b", "a", "b", "c", "a", "b", "c"):
        keys = ("a", "b") if number.ticks.now < 1000 + 4 * 20 else ("a", "b", "c")
        waiting = {key: number.wants(key) for key in keys}
        await number.ticks.seen()
        number.ticks.now += 20
        await _soon(lambda: any(turn.done() for turn in waiting.values()))  # noqa: B023
        assert waiting[expected].done(), number.served
        for turn in waiting.values():
            turn.cancel()
        await asyncio.wait(waiting.values())
        number.pacer.release(Lane.SLOW, used=True)


async def test_running_bulk_delays_the_fast_lane_by_nothing() -> None:
    number = Number()
    bulk = number.wants("bulk", rank=2)
    assert await asyncio.wait_for(bulk, 10)  # its message is on the wire
    await number.serve(number.wants("reply", Lane.FAST, REPLY_RANK), Lane.FAST)
    assert number.served == [("bulk", 0.0), ("reply", 0.0)]


async def test_reply_waits_for_one_message_of_a_fast_bulk_and_its_gap() -> None:
    number = Number()
    bulk = number.wants("bulk", Lane.FAST, rank=2)
    assert await asyncio.wait_for(bulk, 10)
    more, reply = number.wants("bulk", Lane.FAST, rank=2), number.wants("reply", Lane.FAST, REPLY_RANK)
    await number.ticks.seen()
    number.pacer.release(Lane.FAST, used=True)
    number.ticks.now += 3
    await number.serve(reply, Lane.FAST)
    assert not more.done()
    number.ticks.now += 3
    await number.serve(more, Lane.FAST)


async def test_turn_with_a_lead_comes_that_much_earlier() -> None:
    """So that the typing is shown during the gap, and the message leaves at its end."""
    number = Number()
    await number.serve(number.wants("a", Lane.FAST), Lane.FAST)
    typed = number.wants("b", Lane.FAST, lead=2.0)
    number.ticks.now += 0.9
    await number.ticks.seen()
    assert not typed.done()
    number.ticks.now += 0.2
    await number.serve(typed, Lane.FAST)


async def test_turn_that_was_not_used_costs_no_gap() -> None:
    number = Number()
    await number.serve(number.wants("paused"), used=False)
    await number.serve(number.wants("b"))
    assert number.served == [("paused", 0.0), ("b", 0.0)]


async def test_changed_pacing_holds_for_those_who_wait() -> None:
    number = Number()
    await number.serve(number.wants("a"))
    waiting = number.wants("b")
    number.ticks.now += 2
    await number.ticks.seen()
    assert not waiting.done()
    number.pace = NumberPace(pacing=PROFILES[PacingProfile.OFF])
    number.ticks.now += 1
    await number.serve(waiting)
    assert number.served[-1] == ("b", 3.0)


async def test_stop_ends_the_waiting_and_the_lane_goes_on() -> None:
    number = Number()
    await number.serve(number.wants("a"))
    stopped = number.wants("b")
    await number.ticks.seen()
    number.stop.set()
    assert await asyncio.wait_for(stopped, 10) is False
    number.stop = Stop()
    number.ticks.now += 20
    await number.serve(number.wants("c"))


async def test_patience_ends_the_waiting() -> None:
    number = Number()
    await number.serve(number.wants("a"))
    turn = Turn(lane=Lane.SLOW, rank=0, key="b")
    impatient = asyncio.create_task(number.pacer.take(turn, number.stop, 5.0))
    await number.ticks.seen()
    number.ticks.now += 5.1
    assert await asyncio.wait_for(impatient, 10) is False


async def test_restarted_link_keeps_the_gap_from_the_last_claim() -> None:
    number = Number(slow_ago=15.0)
    waiting = number.wants("a")
    await number.ticks.seen()
    number.ticks.now += 4.9
    await number.ticks.seen()
    assert not waiting.done()
    number.ticks.now += 0.2
    await number.serve(waiting)


async def test_last_claim_in_the_future_of_a_clock_that_was_set_back_is_now() -> None:
    number = Number(slow_ago=-3600.0)
    waiting = number.wants("a")
    await number.ticks.seen()
    number.ticks.now += 20.1
    await number.serve(waiting)


async def test_twins_in_one_chat_do_not_take_each_others_place() -> None:
    """A reply and what a human writes want the same turn; one gives up."""
    number = Number()
    await number.serve(number.wants("x", Lane.FAST), Lane.FAST)
    first = number.wants("chat", Lane.FAST)
    await number.ticks.seen()
    other_stop, number.stop = Stop(), Stop()
    twin = asyncio.create_task(number.pacer.take(Turn(lane=Lane.FAST, rank=0, key="chat"), other_stop, LONG))
    await number.ticks.seen()
    other_stop.set()
    assert await asyncio.wait_for(twin, 10) is False
    number.ticks.now += 3
    await number.serve(first, Lane.FAST)


async def test_many_who_wait_read_the_pace_once_a_second() -> None:
    number = Number()
    await number.serve(number.wants("a"))
    crowd = [number.wants(f"send-{place}") for place in range(50)]
    await number.ticks.seen(500)
    assert number.reads == 1
    for _ in range(5):
        number.ticks.now += 1
        await number.ticks.seen(500)
    assert number.reads <= 6
    number.stop.set()
    assert await asyncio.wait_for(asyncio.gather(*crowd), 10) == [False] * 50


async def test_pace_that_cannot_be_read_leaves_nobody_in_the_lane() -> None:
    number = Number()
    number.errors.append(OSError("disk"))
    with pytest.raises(OSError, match="disk"):
        await number.wants("a")
    await number.serve(number.wants("b"))


async def test_release_wakes_everyone_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to wait for the next look."""
    monkeypatch.setattr(pacers, "_LOOK_SECONDS", 3600.0)
    number = Number(replace(PACED, fast_gap=(0.0, 0.0)))
    assert await asyncio.wait_for(number.wants("a", Lane.FAST), 10)
    waiting = [number.wants(f"chat-{place}", Lane.FAST) for place in range(30)]
    await number.ticks.seen(1)
    for _ in waiting:
        served = len(number.served)
        number.pacer.release(Lane.FAST, used=True)
        await _soon(lambda: len(number.served) > served)  # noqa: B023
    assert all(turn.done() for turn in waiting)
