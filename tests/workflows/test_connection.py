"""The connection workflow: does what the store says, tells why it cannot, and looks again when told to."""

from __future__ import annotations

import asyncio

import pytest

from activities.connecting import ConnectionStep, PairConnection, UnlinkConnection
from activities.holding import HoldConnection, HoldEnded, OwnershipLost
from boton import names
from tests.waiting import SECONDS, eventually, until
from tests.workflows.conftest import Stage

REASON = "Link the phone again: POST /api/v1/connection."
HOLD, PAIR, DONE = (
    ConnectionStep("hold"),
    ConnectionStep("pair", "linking"),
    ConnectionStep("done", "stopped", "Ended."),
)
LOGGED_OUT = ConnectionStep("wait", "logged_out", REASON)


async def start(stage: Stage) -> str:
    connection_id = stage.id("con")
    await stage.starter.look_at_connection(connection_id, "biz_1")
    return connection_id


def next_steps(stage: Stage, *steps: ConnectionStep) -> None:
    stage.script.will("advance_connection", *steps)


async def ended(stage: Stage, connection_id: str) -> None:
    await asyncio.wait_for(stage.handle(names.connection_workflow(connection_id)).result(), SECONDS)


async def for_ever() -> HoldEnded:
    await asyncio.Event().wait()
    raise AssertionError


async def test_phone_is_linked_then_held(stage: Stage) -> None:
    next_steps(stage, PAIR, HOLD, DONE)
    connection_id = await start(stage)
    await ended(stage, connection_id)
    assert stage.script.calls["pair_connection"] == [PairConnection(connection_id)]
    assert stage.script.calls["hold_connection"] == [HoldConnection(connection_id)]
    assert await stage.status(names.connection_workflow(connection_id)) == "stopped"


async def test_number_that_cannot_be_held_waits_for_a_look_and_says_why(stage: Stage) -> None:
    stage.script.will("hold_connection", HoldEnded(status="logged_out", reason=REASON))
    next_steps(stage, HOLD, LOGGED_OUT, PAIR, DONE)
    connection_id = await start(stage)
    workflow_id = names.connection_workflow(connection_id)
    await stage.details(workflow_id, lambda told: "logged_out" in told and REASON in told)
    assert await stage.status(workflow_id) == "logged_out"
    assert len(stage.script.calls["hold_connection"]) == 1
    await stage.starter.look_at_connection(connection_id, "biz_1")
    await ended(stage, connection_id)
    assert len(stage.script.calls["pair_connection"]) == 1


async def test_logged_out_number_is_not_held_by_a_run_that_starts_anew(stage: Stage) -> None:
    next_steps(stage, LOGGED_OUT, DONE)
    connection_id = await start(stage)
    await stage.details(names.connection_workflow(connection_id), lambda told: REASON in told)
    assert stage.script.calls["hold_connection"] == []
    await stage.starter.look_at_connection(connection_id, "biz_1")
    await ended(stage, connection_id)


async def test_looking_at_a_held_number_leaves_its_link_alone(stage: Stage) -> None:
    going_on = asyncio.Event()

    async def hold() -> HoldEnded:
        await going_on.wait()
        return HoldEnded(status="stopped")

    stage.script.will("hold_connection", hold)
    next_steps(stage, HOLD, HOLD, DONE)
    connection_id = await start(stage)
    await until(lambda: stage.script.calls["hold_connection"])
    assert await stage.status(names.connection_workflow(connection_id)) == "held"
    await stage.starter.look_at_connection(connection_id, "biz_1")
    await until(lambda: len(stage.script.calls["advance_connection"]) >= 2)
    going_on.set()
    await ended(stage, connection_id)
    assert len(stage.script.calls["hold_connection"]) == 1


@pytest.mark.parametrize(("step", "activity"), [(HOLD, "hold_connection"), (PAIR, "pair_connection")])
async def test_number_that_is_given_up_is_let_go_at_once(stage: Stage, step: ConnectionStep, activity: str) -> None:
    stage.script.will(activity, for_ever)
    next_steps(stage, step)
    connection_id = await start(stage)
    await until(lambda: stage.script.calls[activity])
    await stage.starter.look_at_connection(connection_id, "biz_1")
    await ended(stage, connection_id)
    assert len(stage.script.calls[activity]) == 1


async def test_phone_that_could_not_be_told_of_the_log_out_is_told_later(stage: Stage) -> None:
    stage.script.will("unlink_connection", False)
    unlink = ConnectionStep("unlink", "stopped", "Logged out here.")
    next_steps(stage, unlink, unlink, DONE)
    connection_id = await start(stage)
    workflow_id = names.connection_workflow(connection_id)
    await stage.details(workflow_id, lambda told: "Logged out here." in told)
    await eventually(lambda: stage.timers(workflow_id), bool)
    assert len(stage.script.calls["advance_connection"]) == 1, "it rests"
    await stage.starter.look_at_connection(connection_id, "biz_1")
    await ended(stage, connection_id)
    assert stage.script.calls["unlink_connection"] == [UnlinkConnection(connection_id)] * 2


async def test_host_that_fails_or_lost_the_number_is_followed_by_another(stage: Stage) -> None:
    stage.script.will("hold_connection", OwnershipLost("con_1"), OSError("no more processes"))
    next_steps(stage, HOLD, DONE)
    connection_id = await start(stage)
    await ended(stage, connection_id)
    assert len(stage.script.calls["hold_connection"]) == 3


async def test_number_that_no_host_can_hold_rests_before_it_is_tried_again(stage: Stage) -> None:
    stage.script.will("hold_connection", HoldEnded(status="disconnected", reason="The simulator is off here."))
    next_steps(stage, HOLD, HOLD, HOLD, DONE)
    connection_id = await start(stage)
    await stage.details(names.connection_workflow(connection_id), lambda told: "simulator is off" in told)
    assert len(stage.script.calls["hold_connection"]) == 1
    await stage.starter.look_at_connection(connection_id, "biz_1")
    await ended(stage, connection_id)
    assert len(stage.script.calls["hold_connection"]) == 2
