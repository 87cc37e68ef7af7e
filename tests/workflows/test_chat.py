"""The chat workflow: no look is lost, however many come and whenever they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.chatting import ComposeTurn, Drafts
from activities.sending import BatchStep, SendMessages
from boton import names
from boton.cli.embedded import find_temporal
from boton.temporal import DATA_CONVERTER, prepare_namespace, sandbox_runner
from tests.temporal_server import CONTINUE_AFTER
from tests.waiting import eventually, until
from tests.workflows.conftest import Script, Stage
from workflows.chat import ChatInput, ChatWorkflow

BUSINESS = "biz_1"


async def is_resting(stage: Stage, chat_id: str) -> str:
    return await stage.details(names.chat_workflow(chat_id), lambda told: "**waiting**" in told)


async def test_look_starts_a_run_that_answers_what_is_owed(stage: Stage) -> None:
    drafts = Drafts(connection_id=stage.connection_id, message_ids=("msg_1", "msg_2"))
    stage.script.will("compose_turn", drafts)
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    assert "turns: 1" in await is_resting(stage, chat_id)
    assert stage.script.calls["send_messages"] == [SendMessages(("msg_1", "msg_2"))]
    assert stage.script.calls["compose_turn"] == [ComposeTurn(chat_id)] * 2
    assert await stage.status(names.chat_workflow(chat_id)) == "waiting"


async def test_look_during_the_rest_is_answered_by_the_same_run(stage: Stage) -> None:
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await is_resting(stage, chat_id)
    first = (await stage.handle(names.chat_workflow(chat_id)).describe()).run_id
    stage.script.will("compose_turn", Drafts(connection_id=stage.connection_id, message_ids=("msg_1",)))
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: stage.script.calls["send_messages"])
    assert (await stage.handle(names.chat_workflow(chat_id)).describe()).run_id == first


@pytest.mark.parametrize("busy_with", ["compose_turn", "send_messages"])
async def test_look_during_the_turn_is_not_lost(stage: Stage, busy_with: str) -> None:
    going_on = asyncio.Event()
    drafts = Drafts(connection_id=stage.connection_id, message_ids=("msg_1",))

    async def slow_compose() -> Drafts:
        await going_on.wait()
        return Drafts()

    async def slow_send() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="done", settled=1)

    if busy_with == "compose_turn":
        stage.script.will("compose_turn", slow_compose)
    else:
        stage.script.will("compose_turn", drafts)
        stage.script.will("send_messages", slow_send)
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: stage.script.calls[busy_with])
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    asked = len(stage.script.calls["compose_turn"])
    going_on.set()
    expected = asked + (1 if busy_with == "compose_turn" else 2)
    await until(lambda: len(stage.script.calls["compose_turn"]) == expected)


async def test_storm_of_looks_is_answered_to_its_last(stage: Stage) -> None:
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    first = (await stage.handle(names.chat_workflow(chat_id)).describe()).run_id
    slots = asyncio.Semaphore(20)

    async def look() -> None:
        async with slots:
            await stage.starter.look_at_chat(chat_id, BUSINESS)

    await asyncio.gather(*(look() for _ in range(200)))
    before = len(stage.script.calls["compose_turn"])
    stage.script.will("compose_turn", Drafts(connection_id=stage.connection_id, message_ids=("msg_last",)))
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: SendMessages(("msg_last",)) in stage.script.calls["send_messages"])
    await is_resting(stage, chat_id)
    assert before <= 202
    handle = stage.handle(names.chat_workflow(chat_id))
    assert (await handle.describe()).run_id != first, "200 looks are more than one run should keep"


async def test_customer_who_never_stops_is_served_by_several_runs(stage: Stage) -> None:
    turns = CONTINUE_AFTER // 5
    drafts = [Drafts(connection_id=stage.connection_id, message_ids=(f"msg_{number}",)) for number in range(turns)]
    stage.script.will("compose_turn", *drafts)
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    first = (await stage.handle(names.chat_workflow(chat_id)).describe()).run_id
    assert f"turns: {turns}" in await is_resting(stage, chat_id)
    assert (await stage.handle(names.chat_workflow(chat_id)).describe()).run_id != first
    assert len(stage.script.calls["send_messages"]) == turns


async def test_reply_that_was_cut_short_is_no_turn_and_goes_on(stage: Stage) -> None:
    drafts = Drafts(connection_id=stage.connection_id, message_ids=("msg_1",))
    stage.script.will("compose_turn", drafts, drafts)
    stage.script.will("send_messages", BatchStep(state="more", settled=3), BatchStep(state="done", settled=1))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    assert "turns: 1" in await is_resting(stage, chat_id)
    assert len(stage.script.calls["send_messages"]) == 2


async def test_refused_turn_is_given_up_with_the_reason(stage: Stage) -> None:
    stage.script.will("compose_turn", ApplicationError("401", type="ModelRefused"))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await is_resting(stage, chat_id)
    assert stage.script.calls["give_up_turn"] == [ComposeTurn(chat_id, code="ModelRefused")]
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: len(stage.script.calls["compose_turn"]) == 2)


async def test_patience_with_the_model_counts_attempts_and_not_the_time_that_no_worker_ran(stage: Stage) -> None:
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await is_resting(stage, chat_id)
    history = await stage.handle(names.chat_workflow(chat_id)).fetch_history()
    (asked,) = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert asked.schedule_to_close_timeout.ToTimedelta() == timedelta(0)
    assert 10 <= asked.retry_policy.maximum_attempts <= 20


# ---------------------------------------------------------------- the end of a run, in virtual time


@pytest_asyncio.fixture
async def virtual() -> AsyncIterator[tuple[WorkflowEnvironment, Script]]:
    """A server of its own whose workflows have a clock that can be moved."""
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=DATA_CONVERTER,
        dev_server_existing_path=find_temporal(),
        dev_server_extra_args=["--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"],
    )
    script = Script()
    async with environment:
        await prepare_namespace(environment.client, embedded=True)
        worker = Worker(
            environment.client,
            task_queue=names.WORK_QUEUE,
            workflows=[ChatWorkflow],
            activities=[script.compose_turn, script.give_up_turn],
            workflow_runner=sandbox_runner(),
        )
        async with worker:
            yield environment, script


async def test_idle_chat_ends_after_a_minute_and_the_next_look_starts_another(
    virtual: tuple[WorkflowEnvironment, Script],
) -> None:
    environment, script = virtual
    stage = Stage(environment.client, script)
    chat_id = stage.id("cht")
    handle = await environment.client.start_workflow(
        names.CHAT_WORKFLOW, ChatInput(chat_id), id=names.chat_workflow(chat_id), task_queue=names.WORK_QUEUE
    )
    await is_resting(stage, chat_id)
    await environment.fast_forward(handle, timedelta(seconds=59))
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await environment.fast_forward(handle, timedelta(seconds=2))
    assert await asyncio.wait_for(handle.result(), 30) == 0
    first = (await handle.describe()).run_id
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    again = await eventually(handle.describe, lambda described: described.run_id != first)
    assert again.run_id != first
    await until(lambda: len(script.calls["compose_turn"]) == 2)
