"""The send workflow: each state a batch can come back with, and what an operator reads meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.batch import BATCH_TIME
from activities.chatting import ComposeOpenings, NextStep
from activities.sending import BatchStep, SendBatch
from boton import names
from boton.domain.messages import Lane
from boton.domain.sends import Progress
from tests.temporal_server import CONTINUE_AFTER
from tests.waiting import SECONDS, eventually, until
from tests.workflows.conftest import Stage
from workflows import policies

SLOW = (Lane.SLOW,)


async def start(stage: Stage, *lanes: Lane) -> str:
    send_id = stage.id("snd")
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, lanes=lanes or SLOW)
    return send_id


async def wake(stage: Stage, send_id: str, *lanes: Lane) -> None:
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, lanes=lanes or SLOW, wake=True)


async def attempts(stage: Stage, send_id: str) -> int:
    result: int = await asyncio.wait_for(stage.handle(names.send_workflow(send_id)).result(), SECONDS)
    return result


async def test_asks_for_batches_until_done_and_counts_attempts(stage: Stage) -> None:
    stage.script.will("send_batch", BatchStep(state="more", settled=500), BatchStep(state="more", settled=500))
    stage.script.will("send_batch", BatchStep(state="done", settled=7))
    send_id = await start(stage)
    assert await attempts(stage, send_id) == 1007
    assert stage.script.calls["send_batch"] == [SendBatch(send_id, "slow")] * 3
    assert await stage.status(names.send_workflow(send_id)) == "finished"


@pytest.mark.parametrize("lane", Lane)
async def test_each_lane_has_its_queue(stage: Stage, lane: Lane) -> None:
    queue = {Lane.FAST: names.fast_queue, Lane.SLOW: names.slow_queue}[lane]
    send_id = await start(stage, lane)
    await attempts(stage, send_id)
    assert stage.script.calls["send_batch"] == [SendBatch(send_id, lane.value)]
    assert await queues(stage, send_id) == {queue(stage.connection_id)}


async def queues(stage: Stage, send_id: str) -> set[str]:
    """On which batches were asked for."""
    history = await stage.handle(names.send_workflow(send_id)).fetch_history()
    return {
        event.activity_task_scheduled_event_attributes.task_queue.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    }


async def test_starting_twice_is_starting_once(stage: Stage) -> None:
    going_on = asyncio.Event()

    async def slow() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="done", settled=1)

    stage.script.will("send_batch", slow)
    send_id = await start(stage)
    await until(lambda: stage.script.calls["send_batch"])
    await wake(stage, send_id)
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, lanes=SLOW)
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
    history = (await stage.handle(names.send_workflow(send_id)).fetch_history()).to_json()
    asked, waited = history.count("EVENT_TYPE_ACTIVITY_TASK_SCHEDULED"), history.count("EVENT_TYPE_TIMER_FIRED")
    assert 3 <= asked <= waited + 1


async def test_look_ends_a_wait(stage: Stage) -> None:
    far = BatchStep(state="wait", until=datetime.now(UTC) + timedelta(days=3))
    stage.script.will("send_batch", far, BatchStep(state="done", settled=1))
    send_id = await start(stage)
    await stage.details(names.send_workflow(send_id), lambda told: "waiting" in told and "UTC" in told)
    await wake(stage, send_id)
    assert await attempts(stage, send_id) == 1


async def test_operator_reads_how_far_it_is_and_when_it_will_be_over(stage: Stage) -> None:
    end = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)
    progress = Progress(total=5000, done=1200, rate=240.5, estimated_end=end)
    paused = BatchStep(state="paused", settled=1200, progress=progress)
    stage.script.will("send_batch", paused, BatchStep(state="done"))
    send_id = await start(stage)
    told = await stage.details(names.send_workflow(send_id), lambda told: "paused" in told)
    assert "1200 of 5000 messages are final · 240.5 a minute · expected end 2026-11-23 15:30 UTC" in told
    await wake(stage, send_id)
    await attempts(stage, send_id)


async def test_paused_goes_on_with_a_look_and_not_before(stage: Stage) -> None:
    stage.script.will("send_batch", BatchStep(state="paused", settled=3), BatchStep(state="done", settled=4))
    send_id = await start(stage)
    told = await stage.details(names.send_workflow(send_id), lambda told: "paused" in told)
    assert "attempts ended: 3" in told
    assert len(stage.script.calls["send_batch"]) == 1
    await wake(stage, send_id)
    assert await attempts(stage, send_id) == 7


async def test_look_during_a_batch_that_finds_it_paused_is_not_lost(stage: Stage) -> None:
    going_on = asyncio.Event()

    async def paused() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="paused", settled=1)

    stage.script.will("send_batch", paused, BatchStep(state="done", settled=1))
    send_id = await start(stage)
    await until(lambda: stage.script.calls["send_batch"])
    await wake(stage, send_id)
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


# ---------------------------------------------------------------- two lanes


BOTH = (Lane.FAST, Lane.SLOW)


async def test_lanes_are_carried_out_side_by_side(stage: Stage) -> None:
    """Neither waits for the other's batch."""
    first, second = asyncio.Event(), asyncio.Event()

    async def meet() -> BatchStep:
        (second if first.is_set() else first).set()
        await second.wait()
        return BatchStep(state="done", settled=1)

    stage.script.will("send_batch", meet, meet)
    send_id = await start(stage, *BOTH)
    assert await attempts(stage, send_id) == 2
    assert {call.lane for call in stage.script.calls["send_batch"]} == {"fast", "slow"}
    queue_names = {names.fast_queue(stage.connection_id), names.slow_queue(stage.connection_id)}
    assert await queues(stage, send_id) == queue_names


async def test_lane_that_is_done_waits_for_the_other_and_ends_with_it(stage: Stage) -> None:
    going_on = asyncio.Event()

    async def slow() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="done", settled=5)

    stage.script.in_lane("slow", slow)
    stage.script.in_lane("fast", BatchStep(state="lane_done", settled=2))
    send_id = await start(stage, *BOTH)
    await stage.details(names.send_workflow(send_id), lambda told: "attempts ended: 2" in told)
    going_on.set()
    assert await attempts(stage, send_id) == 7
    assert len(stage.script.calls["send_batch"]) == 2


async def test_lane_that_waits_for_days_ends_when_the_other_finishes_the_send(stage: Stage) -> None:
    """A send that is cancelled, or expires, is over in all lanes."""
    going_on = asyncio.Event()

    async def fast() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="done", settled=1)

    far = datetime.now(UTC) + timedelta(days=3)
    stage.script.in_lane("fast", fast)
    stage.script.in_lane("slow", BatchStep(state="wait", until=far, reason="slow_lane_closed", settled=1))
    send_id = await start(stage, *BOTH)
    await stage.details(names.send_workflow(send_id), lambda told: "attempts ended: 1" in told)
    going_on.set()
    assert await attempts(stage, send_id) == 2


async def test_operator_reads_what_each_lane_does(stage: Stage) -> None:
    going_on = asyncio.Event()

    async def fast() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="lane_done", settled=1)

    far = datetime.now(UTC) + timedelta(days=1)
    stage.script.in_lane("fast", fast)
    stage.script.in_lane("slow", BatchStep(state="wait", until=far, reason="daily_limit"), BatchStep(state="done"))
    send_id = await start(stage, *BOTH)
    workflow_id = names.send_workflow(send_id)
    told = await stage.details(workflow_id, lambda told: "daily limit" in told)
    assert "**sending**" in told
    assert "fast lane: The next batch" in told
    going_on.set()
    told = await stage.details(workflow_id, lambda told: "**waiting**" in told)
    assert "fast lane" not in told
    assert await stage.status(workflow_id) == "waiting"
    await wake(stage, send_id, *BOTH)
    await attempts(stage, send_id)
    assert await stage.status(workflow_id) == "finished"


async def test_look_asks_in_every_lane(stage: Stage) -> None:
    far = BatchStep(state="wait", until=datetime.now(UTC) + timedelta(days=3))
    going_on = asyncio.Event()

    async def done_together() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="done")

    stage.script.in_lane("fast", BatchStep(state="lane_done"), done_together)
    stage.script.in_lane("slow", far, done_together)
    send_id = await start(stage, *BOTH)
    await stage.details(names.send_workflow(send_id), lambda told: "**waiting**" in told)
    await wake(stage, send_id, *BOTH)
    await until(lambda: len(stage.script.calls["send_batch"]) == 4)
    going_on.set()
    await attempts(stage, send_id)
    assert [call.lane for call in stage.script.calls["send_batch"]].count("fast") == 2


async def test_long_send_continues_as_new_while_a_lane_waits(stage: Stage) -> None:
    batches = CONTINUE_AFTER // 5
    far = BatchStep(state="wait", until=datetime.now(UTC) + timedelta(days=3), reason="daily_limit")
    stage.script.in_lane("slow", far, far, far)
    stage.script.in_lane("fast", *[BatchStep(state="more", settled=500)] * batches, BatchStep(state="done", settled=1))
    send_id = await start(stage, *BOTH)
    handle = stage.handle(names.send_workflow(send_id))
    first = (await handle.describe()).run_id
    assert await attempts(stage, send_id) == batches * 500 + 1
    assert (await handle.describe()).run_id != first
    asked = [call.lane for call in stage.script.calls["send_batch"]].count("slow")
    assert asked == 2, "once in each run: the second asks the store anew"


def test_batches_fit_into_their_time_out() -> None:
    assert BATCH_TIME * 2 <= policies.BATCH_TIMEOUT


async def test_reply_overtakes_the_batches_that_wait_for_a_slot_of_the_link(stage: Stage) -> None:
    """Three hundred single sends must not delay a reply by more than one message."""
    connection_id, sends = stage.id("con"), [stage.id("snd") for _ in range(12)]
    chat_id = stage.id("cht")
    served: list[int] = []

    async def reply() -> BatchStep:
        served.append(len(stage.script.calls["send_batch"]))
        return BatchStep(state="done", settled=1)

    stage.script.will("send_messages", reply)
    stage.script.will("advance_chat", NextStep(state="send", connection_id=connection_id, message_ids=("msg_1",)))
    for send_id in sends:
        await stage.starter.start_send(send_id, "biz_1", connection_id, lanes=(Lane.FAST,))
    await until_in_backlog(stage, names.fast_queue(connection_id), 12)
    await stage.starter.look_at_chat(chat_id, "biz_1")
    await until_in_backlog(stage, names.fast_queue(connection_id), 13)
    link = Worker(
        stage.client,
        task_queue=names.fast_queue(connection_id),
        activities=[stage.script.send_batch, stage.script.send_messages],
        max_concurrent_activities=1,
    )
    async with link:
        await asyncio.gather(*(attempts(stage, send_id) for send_id in sends))
        await until(lambda: served)
    assert served[0] <= 2, "one may be with the link already"


async def until_in_backlog(stage: Stage, queue: str, tasks: int) -> None:
    """Until so many activities wait in a queue that nobody serves."""

    async def count() -> int:
        request = DescribeTaskQueueRequest(
            namespace=stage.client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            report_stats=True,
        )
        described = await stage.client.workflow_service.describe_task_queue(request)
        return int(described.stats.approximate_backlog_count)

    await eventually(count, lambda found: found >= tasks)


async def test_send_that_was_moved_goes_on_over_the_queues_of_the_new_number(stage: Stage) -> None:
    """Nobody serves the old one's any more."""
    stage.script.will("send_batch", BatchStep(state="done", settled=3))
    send_id = stage.id("snd")
    await stage.starter.start_send(send_id, "biz_1", stage.id("con"), lanes=SLOW)
    await stage.details(names.send_workflow(send_id), lambda told: "**sending**" in told)
    assert stage.script.calls["send_batch"] == []
    await wake(stage, send_id)
    assert await attempts(stage, send_id) == 3
    assert stage.script.calls["send_batch"] == [SendBatch(send_id, "slow")]


async def test_send_that_is_over_ends_though_nobody_serves_its_number(stage: Stage) -> None:
    send_id = stage.id("snd")
    await stage.starter.start_send(send_id, "biz_1", stage.id("con"), lanes=SLOW)
    await stage.details(names.send_workflow(send_id), lambda told: "**sending**" in told)
    await stage.starter.end_send(send_id)
    assert await attempts(stage, send_id) == 0
    assert await stage.status(names.send_workflow(send_id)) == "finished"
    await stage.starter.end_send(send_id)
    await stage.starter.end_send(stage.id("snd"))
