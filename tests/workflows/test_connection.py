"""The connection workflow: holds, says why it cannot, and holds again when told to look."""

from __future__ import annotations

import asyncio

from activities.holding import HoldConnection, HoldEnded, OwnershipLost
from boton import names
from tests.waiting import until
from tests.workflows.conftest import Stage


async def start(stage: Stage) -> str:
    connection_id = stage.id("con")
    await stage.starter.start_connection(connection_id, "biz_1")
    return connection_id


async def test_number_that_cannot_be_held_waits_for_a_look_and_says_why(stage: Stage) -> None:
    reason = "Link the phone again: POST /api/v1/connection."
    stage.script.will("hold_connection", HoldEnded(status="logged_out", reason=reason))
    connection_id = await start(stage)
    workflow_id = names.connection_workflow(connection_id)
    await stage.details(workflow_id, lambda told: "logged_out" in told and reason in told)
    assert await stage.status(workflow_id) == "logged_out"
    assert len(stage.script.calls["hold_connection"]) == 1
    await stage.handle(workflow_id).signal(names.LOOK)
    await asyncio.wait_for(stage.handle(workflow_id).result(), 30)
    assert stage.script.calls["hold_connection"] == [HoldConnection(connection_id)] * 2


async def test_stopped_number_ends_the_run(stage: Stage) -> None:
    stage.script.will("hold_connection", HoldEnded(status="stopped", reason="The connection was ended."))
    workflow_id = names.connection_workflow(await start(stage))
    await asyncio.wait_for(stage.handle(workflow_id).result(), 30)
    assert await stage.status(workflow_id) == "stopped"


async def test_starting_a_held_number_again_changes_nothing(stage: Stage) -> None:
    going_on = asyncio.Event()

    async def hold() -> HoldEnded:
        await going_on.wait()
        return HoldEnded(status="stopped")

    stage.script.will("hold_connection", hold)
    connection_id = await start(stage)
    await until(lambda: stage.script.calls["hold_connection"])
    assert await stage.status(names.connection_workflow(connection_id)) == "held"
    await stage.starter.start_connection(connection_id, "biz_1")
    going_on.set()
    await asyncio.wait_for(stage.handle(names.connection_workflow(connection_id)).result(), 30)
    assert len(stage.script.calls["hold_connection"]) == 1


async def test_host_that_fails_or_lost_the_number_is_followed_by_another(stage: Stage) -> None:
    stage.script.will("hold_connection", OwnershipLost("con_1"), OSError("no more processes"))
    connection_id = await start(stage)
    await asyncio.wait_for(stage.handle(names.connection_workflow(connection_id)).result(), 30)
    assert len(stage.script.calls["hold_connection"]) == 3
