"""The send workflow: each state a batch can come back with, and what an operator reads meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from temporalio.exceptions import ApplicationError

from activities.chatting import ComposeOpenings
from activities.sending import BATCH_TIME, BatchStep, SendBatch
from boton import names
from tests.temporal_server import CONTINUE_AFTER
from tests.waiting import until
from tests.workflows.conftest import Stage
from workflows import policies

SECONDS = 30


async def start(stage: Stage, *, fast: bool = False) -> str:
    send_id = stage.id("snd")
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, fast=fast)
    return send_id


async def attempts(stage: Stage, send_id: str) -> int:
    result: int = await asyncio.wait_for(stage.handle(names.send_workflow(send_id)).result(), SECONDS)
    return result


async def test_asks_for_batches_until_done_and_counts_attempts(stage: Stage) -> None:
    stage.script.will("send_batch", BatchStep(state="more", settled=500), BatchStep(state="more", settled=500))
    stage.script.will("send_batch", BatchStep(state="done", settled=7))
    send_id = await start(stage)
    assert await attempts(stage, send_id) == 1007
    assert stage.script.calls["send_batch"] == [SendBatch(send_id)] * 3
    assert await stage.status(names.send_workflow(send_id)) == "finished"


async def test_fast_sends_use_the_fast_queue(stage: Stage) -> None:
    for fast, queue in ((True, names.fast_queue), (False, names.slow_queue)):
        send_id = await start(stage, fast=fast)
        await attempts(stage, send_id)
        history = await stage.handle(names.send_workflow(send_id)).fetch_history()
        assert queue(stage.connection_id) in history.to_json()


async def test_starting_twice_is_starting_once(stage: Stage) -> None:
    going_on = asyncio.Event()

    async def slow() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="done", settled=1)

    stage.script.will("send_batch", slow)
    send_id = await start(stage)
    await until(lambda: stage.script.calls["send_batch"])
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, fast=False, wake=True)
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, fast=False)
    going_on.set()
    assert await attempts(stage, send_id) == 1
    assert len(stage.script.calls["send_batch"]) == 1


async def test_waits_until_the_time_the_store_named(stage: Stage) -> None:
    due = datetime.now(UTC) + timedelta(seconds=2)
    stage.script.will("send_batch", BatchStep(state="wait", until=due), BatchStep(state="done", settled=1))
    send_id = await start(stage)
    assert await attempts(stage, send_id) == 1
    assert datetime.now(UTC) >= due


async def test_time_that_is_past_here_does_not_become_a_tight_loop(stage: Stage) -> None:
    past = BatchStep(state="wait", until=datetime.now(UTC) - timedelta(seconds=5))
    stage.script.will("send_batch", *[past] * 200, BatchStep(state="done"))
    send_id = await start(stage)
    await until(lambda: len(stage.script.calls["send_batch"]) >= 3)
    history = await stage.handle(names.send_workflow(send_id)).fetch_history()
    assert "EVENT_TYPE_TIMER_FIRED" in history.to_json()
    assert len(stage.script.calls["send_batch"]) < 10


async def test_look_ends_a_wait(stage: Stage) -> None:
    far = BatchStep(state="wait", until=datetime.now(UTC) + timedelta(days=3))
    stage.script.will("send_batch", far, BatchStep(state="done", settled=1))
    send_id = await start(stage)
    await stage.details(names.send_workflow(send_id), lambda told: "waiting" in told and "UTC" in told)
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, fast=False, wake=True)
    assert await attempts(stage, send_id) == 1


async def test_paused_goes_on_with_a_look_and_not_before(stage: Stage) -> None:
    stage.script.will("send_batch", BatchStep(state="paused", settled=3), BatchStep(state="done", settled=4))
    send_id = await start(stage)
    told = await stage.details(names.send_workflow(send_id), lambda told: "paused" in told)
    assert "attempts ended: 3" in told
    assert len(stage.script.calls["send_batch"]) == 1
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, fast=False, wake=True)
    assert await attempts(stage, send_id) == 7


async def test_look_during_a_batch_that_finds_it_paused_is_not_lost(stage: Stage) -> None:
    going_on = asyncio.Event()

    async def paused() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="paused", settled=1)

    stage.script.will("send_batch", paused, BatchStep(state="done", settled=1))
    send_id = await start(stage)
    await until(lambda: stage.script.calls["send_batch"])
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, fast=False, wake=True)
    going_on.set()
    assert await attempts(stage, send_id) == 2


async def test_openings_are_written_before_the_next_batch(stage: Stage) -> None:
    ids = ("msg_1", "msg_2")
    stage.script.will("send_batch", BatchStep(state="compose", message_ids=ids), BatchStep(state="done", settled=2))
    send_id = await start(stage)
    assert await attempts(stage, send_id) == 2
    assert stage.script.calls["compose_openings"] == [ComposeOpenings(ids)]
    assert stage.script.calls["give_up_openings"] == []


async def test_refused_openings_are_given_up_with_the_reason(stage: Stage) -> None:
    stage.script.will("send_batch", BatchStep(state="compose", message_ids=("msg_1",)), BatchStep(state="done"))
    stage.script.will("compose_openings", ApplicationError("401", type="ModelRefused"))
    send_id = await start(stage)
    await attempts(stage, send_id)
    assert len(stage.script.calls["compose_openings"]) == 1
    assert stage.script.calls["give_up_openings"] == [ComposeOpenings(("msg_1",), code="ModelRefused")]


async def test_busy_model_is_asked_again(stage: Stage) -> None:
    busy = ApplicationError("429", type="ModelBusy", next_retry_delay=timedelta(milliseconds=50))
    stage.script.will("send_batch", BatchStep(state="compose", message_ids=("msg_1",)), BatchStep(state="done"))
    stage.script.will("compose_openings", busy, busy, None)
    send_id = await start(stage)
    await attempts(stage, send_id)
    assert len(stage.script.calls["compose_openings"]) == 3
    assert stage.script.calls["give_up_openings"] == []


async def test_link_that_is_not_the_owner_any_more_is_asked_again_after_a_moment(stage: Stage) -> None:
    stage.script.will("send_batch", BatchStep(state="not_owner", settled=1), BatchStep(state="done", settled=1))
    send_id = await start(stage)
    assert await attempts(stage, send_id) == 2
    history = await stage.handle(names.send_workflow(send_id)).fetch_history()
    assert "EVENT_TYPE_TIMER_FIRED" in history.to_json()


async def test_failing_batch_is_tried_again(stage: Stage) -> None:
    stage.script.will("send_batch", RuntimeError("store"), BatchStep(state="done", settled=1))
    assert await attempts(stage, await start(stage)) == 1


async def test_long_send_continues_as_new_and_keeps_its_count(stage: Stage) -> None:
    batches = CONTINUE_AFTER // 5
    stage.script.will("send_batch", *[BatchStep(state="more", settled=500)] * batches)
    send_id = await start(stage)
    handle = stage.handle(names.send_workflow(send_id))
    first = (await handle.describe()).run_id
    assert await attempts(stage, send_id) == batches * 500
    assert (await handle.describe()).run_id != first


def test_batches_fit_into_their_time_out() -> None:
    assert BATCH_TIME * 2 <= policies.BATCH_TIMEOUT
