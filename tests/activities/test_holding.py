"""Holding a number: who ends the link, and who leaves it to the next attempt."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.testing import ActivityEnvironment

from activities import holding
from activities.holding import HoldConnection, HoldEnded, HoldingActivities, OwnershipLost

HOLD = HoldConnection("con_1")


class Keeper:
    """The LinkKeeper port; `then` is what the third check answers."""

    def __init__(self, then: HoldEnded | Exception | None) -> None:
        self._then = then
        self.calls: list[str] = []
        self.checked_twice = asyncio.Event()

    async def adopt_or_start(self, connection_id: str) -> None:
        assert connection_id == "con_1"
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
    monkeypatch.setattr(holding, "_CHECK_SECONDS", 0.001)


async def test_heartbeats_with_every_check_and_releases_at_the_end() -> None:
    ended = HoldEnded(status="logged_out", reason="Link the phone again.")
    keeper, beats = Keeper(ended), []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_details: beats.append(1)
    assert await environment.run(HoldingActivities(keeper).hold_connection, HOLD) == ended
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
    attempt = asyncio.create_task(environment.run(HoldingActivities(keeper).hold_connection, HOLD))
    await asyncio.wait_for(keeper.checked_twice.wait(), 10)
    environment.cancel(details)
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert keeper.calls[-1] == last
    assert {"release", "leave"} & set(keeper.calls) == {last}


async def test_lost_number_fails_the_attempt_so_that_temporal_decides() -> None:
    keeper = Keeper(OwnershipLost("con_1"))
    with pytest.raises(OwnershipLost):
        await ActivityEnvironment().run(HoldingActivities(keeper).hold_connection, HOLD)
