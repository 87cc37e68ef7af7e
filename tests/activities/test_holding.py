"""Holding a number: who ends the link, and who leaves it to the next attempt."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import holding as holding_module
from activities.holding import HoldConnection, HoldEnded, HoldingActivities, OwnershipLost

HOLD = HoldConnection("con_1")


class Keeper:
    """The LinkKeeper port; `then` is what the third check answers."""

    def __init__(self, then: HoldEnded | Exception | None) -> None:
        self._then = then
        self.calls: list[str] = []
        self.numbers: list[str] = []
        self.checked_twice = asyncio.Event()

    async def adopt_or_start(self, connection_id: str) -> None:
        self.numbers.append(connection_id)
        self.calls.append("start")

    async def check(self, connection_id: str) -> HoldEnded | None:
        self.calls.append("check")
        if self.calls.count("check") < 3:
            return None
        self.checked_twice.set()
        if isinstance(self._then, Exception):
            raise self._then
        return self._then

    async def release(self, connection_id: str) -> None:
        self.calls.append("release")

    def leave(self, connection_id: str) -> None:
        self.calls.append("leave")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_module, "_CHECK_SECONDS", 0.001)


async def test_heartbeats_with_every_check_and_releases_at_the_end() -> None:
    ended = HoldEnded(status="logged_out", reason="Link the phone again.")
    keeper, beats = Keeper(ended), []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_details: beats.append(1)
    assert await environment.run(HoldingActivities(keeper, "one", 10).hold_connection, HOLD) == ended
    assert keeper.calls == ["start", "check", "check", "check", "release"]
    assert len(beats) == 2


@pytest.mark.parametrize(
    ("details", "last"),
    [
        (ActivityCancellationDetails(cancel_requested=True), "release"),
        (ActivityCancellationDetails(timed_out=True), "leave"),
        (ActivityCancellationDetails(not_found=True), "leave"),
        (ActivityCancellationDetails(worker_shutdown=True), "leave"),
    ],
)
async def test_only_a_cancelled_workflow_ends_the_link_at_once(details: ActivityCancellationDetails, last: str) -> None:
    keeper = Keeper(None)
    environment = ActivityEnvironment()
    attempt = asyncio.create_task(environment.run(HoldingActivities(keeper, "one", 10).hold_connection, HOLD))
    await asyncio.wait_for(keeper.checked_twice.wait(), 10)
    environment.cancel(details)
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert keeper.calls[-1] == last
    assert {"release", "leave"} & set(keeper.calls) == {last}


async def test_host_holds_no_more_than_it_may() -> None:
    """More are left to another host, or wait; those it holds already it may take up again."""
    keeper = Keeper(None)
    holding = HoldingActivities(keeper, "one", capacity=1)
    first = asyncio.create_task(ActivityEnvironment().run(holding.hold_connection, HOLD))
    await keeper.checked_twice.wait()
    again = ActivityEnvironment()
    second = asyncio.create_task(again.run(holding.hold_connection, HOLD))
    with pytest.raises(ApplicationError) as full:
        await ActivityEnvironment().run(holding.hold_connection, HoldConnection("con_2"))
    assert (full.value.type, full.value.next_retry_delay) == ("HostFull", timedelta(seconds=10))
    assert keeper.numbers == ["con_1", "con_1"]
    for task in (first, second):
        task.cancel()
    await asyncio.wait({first, second})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(
            ActivityEnvironment().run(holding.hold_connection, HoldConnection("con_2")), timeout=0.05
        )
    assert keeper.numbers[-1] == "con_2"


async def test_attempt_that_fails_leaves_the_number() -> None:
    """Its next attempt may be another host's: a number that nobody holds here would keep others back for ever."""
    keeper = Keeper(ConnectionError())
    with pytest.raises(ConnectionError):
        await ActivityEnvironment().run(HoldingActivities(keeper, "one", 10).hold_connection, HOLD)
    assert keeper.calls[-1] == "leave"


async def test_attempt_that_is_over_before_the_link_has_started_leaves_the_number() -> None:
    class Starting(Keeper):
        async def adopt_or_start(self, connection_id: str) -> None:
            await super().adopt_or_start(connection_id)
            await asyncio.Event().wait()

    keeper, environment = Starting(None), ActivityEnvironment()
    attempt = asyncio.create_task(environment.run(HoldingActivities(keeper, "one", 10).hold_connection, HOLD))
    while not keeper.calls:
        await asyncio.sleep(0)
    environment.cancel(ActivityCancellationDetails(timed_out=True))
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert keeper.calls == ["start", "leave"]


async def test_lost_number_fails_the_attempt_so_that_temporal_decides() -> None:
    keeper = Keeper(OwnershipLost("con_1"))
    with pytest.raises(OwnershipLost):
        await ActivityEnvironment().run(HoldingActivities(keeper, "one", 10).hold_connection, HOLD)


def attempt_after(*details: object) -> ActivityEnvironment:
    """An attempt whose predecessor's last heartbeat told this."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, heartbeat_details=details)
    return environment


ENDED = HoldEnded(status="stopped")


@pytest.mark.parametrize("details", [(), ("one", 3)])
async def test_number_that_nobody_else_held_is_held_at_once(details: tuple[object, ...]) -> None:
    holding = HoldingActivities(Keeper(ENDED), "one", 10)
    assert await attempt_after(*details).run(holding.hold_connection, HOLD) == ENDED


async def test_number_is_left_to_the_host_that_held_it_last_but_not_for_ever() -> None:
    """It may only have lost Temporal for a while, as everybody did; or it is dead."""
    moments = iter((0.0, 1.0, 19.0, 21.0))
    keeper = Keeper(ENDED)
    holding = HoldingActivities(keeper, "one", 10, lambda: next(moments))
    for _ in range(3):
        with pytest.raises(ApplicationError) as left:
            await attempt_after("two", 1).run(holding.hold_connection, HOLD)
        assert left.value.next_retry_delay == timedelta(seconds=1)
    assert keeper.calls == []
    assert await attempt_after("two", 1).run(holding.hold_connection, HOLD) == ENDED


async def test_host_that_came_back_for_its_number_is_waited_for_again_the_next_time() -> None:
    moments = iter((0.0, 10.0, 3600.0))
    holding = HoldingActivities(Keeper(ENDED), "one", 10, lambda: next(moments))
    for attempt in (1, 1, 7):
        with pytest.raises(ApplicationError):
            await attempt_after("two", attempt).run(holding.hold_connection, HOLD)


@pytest.mark.parametrize("how", ["the host ends", "the number is lost"])
async def test_host_that_is_done_with_a_number_has_nobody_wait_for_it(how: str) -> None:
    keeper, beats = Keeper(OwnershipLost("con_1") if how == "the number is lost" else None), []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.append(details)
    attempt = asyncio.create_task(environment.run(HoldingActivities(keeper, "one", 10).hold_connection, HOLD))
    if how == "the host ends":
        await asyncio.wait_for(keeper.checked_twice.wait(), 10)
        environment.cancel(ActivityCancellationDetails(worker_shutdown=True))
    await asyncio.wait({attempt})
    assert attempt.cancelled() or isinstance(attempt.exception(), OwnershipLost)
    assert beats[0][0] == "one"
    assert beats[-1] == ()
