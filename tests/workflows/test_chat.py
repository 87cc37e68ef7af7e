"""The chat workflow: no look is lost, however many come and whenever they come."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.testing import TimeSkipper, TimeSkippingConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.chatting import AdvanceChat, NextStep, RunTool
from activities.sending import BatchStep, SendMessages
from boton import names
from tests.temporal_server import CONTINUE_AFTER
from tests.waiting import SECONDS, eventually, until
from tests.workflows.conftest import Stage
from workflows import policies
from workflows.chat import ChatInput, ChatWorkflow
from workflows.starter import TemporalStarter

BUSINESS = "biz_1"
STANDS_STILL = TimeSkippingConfig(enabled=False)
"""Else a run skips time by itself whenever it has nothing to do, also after it was moved on."""


async def is_resting(stage: Stage, chat_id: str) -> str:
    return await stage.details(names.chat_workflow(chat_id), lambda told: "next message" in told)


def send(stage: Stage, *message_ids: str) -> NextStep:
    return NextStep(state="send", connection_id=stage.connection_id, message_ids=message_ids, holder="bot")


async def run_of(stage: Stage, chat_id: str) -> str | None:
    return (await stage.handle(names.chat_workflow(chat_id)).describe()).run_id


async def test_look_starts_a_run_that_answers_what_is_owed(stage: Stage) -> None:
    stage.script.will("advance_chat", send(stage, "msg_1", "msg_2"))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    assert "turns: 1" in await is_resting(stage, chat_id)
    assert stage.script.calls["send_messages"] == [SendMessages(("msg_1", "msg_2"))]
    assert stage.script.calls["advance_chat"] == [AdvanceChat(chat_id)]
    assert await stage.status(names.chat_workflow(chat_id)) == "waiting"


async def test_look_during_the_rest_is_answered_by_the_same_run(stage: Stage) -> None:
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await is_resting(stage, chat_id)
    first = await run_of(stage, chat_id)
    stage.script.will("advance_chat", send(stage, "msg_1"))
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: stage.script.calls["send_messages"])
    assert await run_of(stage, chat_id) == first


@pytest.mark.parametrize("busy_with", ["advance_chat", "send_messages"])
async def test_look_during_the_turn_is_not_lost(stage: Stage, busy_with: str) -> None:
    going_on = asyncio.Event()

    async def slow_advance() -> NextStep:
        await going_on.wait()
        return NextStep(state="rest")

    async def slow_send() -> BatchStep:
        await going_on.wait()
        return BatchStep(state="done", settled=1)

    if busy_with == "advance_chat":
        stage.script.will("advance_chat", slow_advance)
    else:
        stage.script.will("advance_chat", send(stage, "msg_1"))
        stage.script.will("send_messages", slow_send)
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: stage.script.calls[busy_with])
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    going_on.set()
    await until(lambda: len(stage.script.calls["advance_chat"]) == 2)


async def test_storm_of_looks_is_answered_to_its_last(stage: Stage) -> None:
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    first = await run_of(stage, chat_id)
    slots = asyncio.Semaphore(20)

    async def look() -> None:
        async with slots:
            await stage.starter.look_at_chat(chat_id, BUSINESS)

    await asyncio.gather(*(look() for _ in range(200)))
    before = len(stage.script.calls["advance_chat"])
    stage.script.will("advance_chat", send(stage, "msg_last"))
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: SendMessages(("msg_last",)) in stage.script.calls["send_messages"])
    await is_resting(stage, chat_id)
    assert before <= 202
    assert await run_of(stage, chat_id) != first, "200 looks are more than one run should keep"


async def test_customer_who_never_stops_is_served_by_several_runs(stage: Stage) -> None:
    turns, chat_id = CONTINUE_AFTER // 5, stage.id("cht")

    async def send_while_another_message_comes() -> BatchStep:
        await stage.starter.look_at_chat(chat_id, BUSINESS)
        return BatchStep(state="done", settled=1)

    stage.script.will("advance_chat", *(send(stage, f"msg_{number}") for number in range(turns)))
    stage.script.will("send_messages", *[send_while_another_message_comes] * turns)
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    first = await run_of(stage, chat_id)
    await stage.details(names.chat_workflow(chat_id), lambda told: f"turns: {turns}" in told)
    assert await run_of(stage, chat_id) != first
    assert len(stage.script.calls["send_messages"]) == turns


async def test_next_run_knows_that_the_customer_is_writing_still(stage: Stage) -> None:
    tries, chat_id = CONTINUE_AFTER // 5, stage.id("cht")
    handle = stage.handle(names.chat_workflow(chat_id))
    asked: list[int] = []

    async def customer_writes_as_the_run_ends() -> BatchStep:
        if (await handle.describe()).history_length > CONTINUE_AFTER:
            asked.append(len(stage.script.calls["advance_chat"]))
            await stage.starter.look_at_chat(chat_id, BUSINESS, quiet_seconds=20)
        return BatchStep(state="more")

    stage.script.will("advance_chat", *[send(stage, "msg_1")] * tries)
    stage.script.will("send_messages", *[customer_writes_as_the_run_ends] * tries)
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    timers = await eventually(lambda: stage.timers(handle.id), bool)
    assert timedelta(seconds=10) < timers[0] <= timedelta(seconds=20)
    assert asked == [len(stage.script.calls["advance_chat"])]


async def test_phone_that_is_away_for_days_is_waited_for_by_several_runs(stage: Stage) -> None:
    tries, chat_id = CONTINUE_AFTER // 5, stage.id("cht")
    stage.script.will("advance_chat", *[send(stage, "msg_1")] * (tries + 1))
    stage.script.will("send_messages", *[BatchStep(state="more")] * tries)
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    first = await run_of(stage, chat_id)
    assert "turns: 1" in await is_resting(stage, chat_id)
    assert await run_of(stage, chat_id) != first
    assert len(stage.script.calls["send_messages"]) == tries + 1


async def test_reply_that_was_cut_short_is_no_turn_and_goes_on(stage: Stage) -> None:
    stage.script.will("advance_chat", send(stage, "msg_1"), send(stage, "msg_1"))
    stage.script.will("send_messages", BatchStep(state="more", settled=3), BatchStep(state="done", settled=1))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    assert "turns: 1" in await is_resting(stage, chat_id)
    assert len(stage.script.calls["send_messages"]) == 2


async def test_reply_that_no_link_takes_does_not_hold_the_chat_up_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The business may have left that connection: the store is asked anew what is to be sent, and through which.

    Without the sandbox, in which the time that a link may be absent cannot be made shorter.
    """
    monkeypatch.setattr(policies, "LINK_ABSENT", timedelta(seconds=1))
    left = NextStep(state="send", connection_id="con_left", message_ids=("msg_1",), holder="bot")

    async def over_another_link() -> NextStep:
        monkeypatch.undo()
        return send(stage, "msg_2")

    stage.script.will("advance_chat", left, over_another_link)
    chat_id, queue = stage.id("cht"), stage.id("queue")
    chat = {"id": names.chat_workflow(chat_id), "task_queue": queue}
    worker = Worker(
        stage.client,
        task_queue=queue,
        workflows=[ChatWorkflow],
        activities=[stage.script.advance_chat],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        await stage.client.start_workflow(ChatWorkflow.run, ChatInput(chat_id), **chat)
        assert "turns: 1" in await is_resting(stage, chat_id)
    assert stage.script.calls["send_messages"] == [SendMessages(("msg_2",))]


async def test_refused_turn_is_given_up_with_the_reason(stage: Stage) -> None:
    stage.script.will("advance_chat", ApplicationError("401", type="ModelRefused"))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    told = await stage.details(names.chat_workflow(chat_id), lambda told: "**waiting**" in told)
    assert "turns: 0" in told
    assert stage.script.calls["give_up_turn"] == [AdvanceChat(chat_id, code="ModelRefused")]
    await until(lambda: len(stage.script.calls["advance_chat"]) == 2)


async def test_store_that_fails_for_good_is_asked_again_later_and_nothing_is_given_up(stage: Stage) -> None:
    stage.script.will("advance_chat", ApplicationError("never", type="IllegalTransition"))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await stage.details(names.chat_workflow(chat_id), lambda told: "Acts by itself at" in told)
    assert (len(stage.script.calls["advance_chat"]), stage.script.calls["give_up_turn"]) == (1, [])
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: len(stage.script.calls["advance_chat"]) == 2)


async def test_notice_that_the_given_up_turn_leaves_is_sent(stage: Stage) -> None:
    stage.script.will("advance_chat", ApplicationError("401", type="ModelRefused"))
    stage.script.will("give_up_turn", send(stage, "msg_1"))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: stage.script.calls["send_messages"] == [SendMessages(("msg_1",))])


async def test_tools_of_a_round_are_run_before_the_chat_goes_on(stage: Stage) -> None:
    calls = tuple(RunTool("trn_1", 0, position) for position in range(2))
    stage.script.will("advance_chat", NextStep(state="run", calls=calls))
    stage.script.will("advance_chat", NextStep(state="run", calls=(RunTool("trn_1", 1, 0),)), send(stage, "msg_1"))
    stage.script.will("run_tool", RuntimeError("store"))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await is_resting(stage, chat_id)
    ran = stage.script.calls["run_tool"]
    assert sorted(call.position for call in ran[:3]) in ([0, 0, 1], [0, 1, 1]), "one was tried again"
    assert ran[3:] == [RunTool("trn_1", 1, 0)]
    assert len(stage.script.calls["advance_chat"]) == 3


@pytest.mark.parametrize("in_hand", [False, True], ids=["at once", "after what it had in hand"])
async def test_chat_that_has_become_part_of_another_ends_its_run(stage: Stage, in_hand: bool) -> None:
    """What it had in hand is the other chat's by then, and claimed once, whoever sends it."""
    chat_id = stage.id("cht")
    if in_hand:
        stage.script.will("advance_chat", send(stage, "msg_1"))
    stage.script.will("advance_chat", NextStep(state="gone"))
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    if in_hand:
        await until(lambda: stage.script.calls["send_messages"])
        await stage.starter.look_at_chat(chat_id, BUSINESS)
    handle = stage.handle(names.chat_workflow(chat_id))
    assert await asyncio.wait_for(handle.result(), SECONDS) == int(in_hand)
    assert "part" in await stage.details(names.chat_workflow(chat_id), lambda told: "gone" in told)


async def test_look_that_comes_too_late_for_a_chat_that_is_gone_ends_at_once(stage: Stage) -> None:
    chat_id = stage.id("cht")
    stage.script.will("advance_chat", NextStep(state="gone"), NextStep(state="gone"))
    for _ in range(2):
        await stage.starter.look_at_chat(chat_id, BUSINESS)
        await asyncio.wait_for(stage.handle(names.chat_workflow(chat_id)).result(), SECONDS)
    assert len(stage.script.calls["advance_chat"]) == 2
    assert stage.script.calls["send_messages"] == []


async def test_chat_that_a_human_holds_says_so(stage: Stage) -> None:
    stage.script.will("advance_chat", NextStep(state="rest", holder="human", conversation="waiting"))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    assert "A human holds" in await stage.details(names.chat_workflow(chat_id), lambda told: "handed_off" in told)
    assert await stage.status(names.chat_workflow(chat_id)) == "handed_off"


async def test_outcome_of_the_conversation_that_ended_stays_told(stage: Stage) -> None:
    ended = NextStep(
        state="send", connection_id=stage.connection_id, message_ids=("msg_1",), holder="bot", ended="achieved"
    )
    stage.script.will("advance_chat", ended)
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    assert "last conversation: achieved" in await is_resting(stage, chat_id)
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    await until(lambda: len(stage.script.calls["advance_chat"]) == 2)
    assert "last conversation: achieved" in await is_resting(stage, chat_id)


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


# ---------------------------------------------------------------- bursts


async def test_burst_is_one_turn(stage: Stage) -> None:
    chat_id = stage.id("cht")
    for seconds in (20, 20, 20, 20, 1):
        await stage.starter.look_at_chat(chat_id, BUSINESS, quiet_seconds=seconds)
    await is_resting(stage, chat_id)
    assert stage.script.calls["advance_chat"] == [AdvanceChat(chat_id)]


async def test_message_of_a_burst_puts_the_answer_off(stage: Stage) -> None:
    chat_id = stage.id("cht")
    workflow_id = names.chat_workflow(chat_id)
    await stage.starter.look_at_chat(chat_id, BUSINESS, quiet_seconds=10)
    await eventually(lambda: stage.timers(workflow_id), bool)
    await stage.starter.look_at_chat(chat_id, BUSINESS, quiet_seconds=12)
    first, second = await eventually(lambda: stage.timers(workflow_id), lambda timers: len(timers) > 1)
    assert first == timedelta(seconds=10)
    assert timedelta(seconds=10) < second <= timedelta(seconds=12)
    assert stage.script.calls["advance_chat"] == []


async def test_turn_that_was_written_in_vain_waits_until_the_customer_is_quiet(stage: Stage) -> None:
    chat_id = stage.id("cht")

    async def another_message_comes() -> NextStep:
        await stage.starter.look_at_chat(chat_id, BUSINESS, quiet_seconds=20)
        return NextStep(state="again", holder="bot")

    stage.script.will("advance_chat", another_message_comes)
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    timers = await eventually(lambda: stage.timers(names.chat_workflow(chat_id)), bool)
    assert timedelta(seconds=10) < timers[-1] <= timedelta(seconds=20)
    assert stage.script.calls["advance_chat"] == [AdvanceChat(chat_id)]


async def test_turn_that_was_written_in_vain_is_written_anew_where_no_look_tells_why(stage: Stage) -> None:
    stage.script.will("advance_chat", NextStep(state="again", holder="bot"), send(stage, "msg_1"))
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    assert "turns: 1" in await is_resting(stage, chat_id)


async def test_customer_who_may_be_writing_for_ever_is_answered_after_20_seconds(stage: Stage) -> None:
    chat_id = stage.id("cht")
    await stage.starter.look_at_chat(chat_id, BUSINESS, quiet_seconds=60)
    timers = await eventually(lambda: stage.timers(names.chat_workflow(chat_id)), bool)
    assert timers == [timedelta(seconds=20)]
    assert stage.script.calls["advance_chat"] == []


# ---------------------------------------------------------------- the end of a run, in virtual time


async def test_idle_chat_ends_after_a_minute_and_the_next_look_starts_another(stage: Stage) -> None:
    skipper, chat_id = TimeSkipper(stage.client, config=STANDS_STILL), stage.id("cht")
    handle = await skipper.client.start_workflow(
        names.CHAT_WORKFLOW, ChatInput(chat_id), id=names.chat_workflow(chat_id), task_queue=names.WORK_QUEUE
    )
    await is_resting(stage, chat_id)
    await skipper.fast_forward(handle, timedelta(seconds=30))
    described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    await skipper.fast_forward(handle, timedelta(seconds=31))
    assert await asyncio.wait_for(handle.result(), SECONDS) == 0
    await stage.starter.look_at_chat(chat_id, BUSINESS)
    assert await run_of(stage, chat_id) != described.run_id
    await until(lambda: len(stage.script.calls["advance_chat"]) == 2)


async def test_chat_acts_by_itself_when_its_timer_is_due(stage: Stage) -> None:
    skipper, chat_id = TimeSkipper(stage.client, config=STANDS_STILL), stage.id("cht")
    handle, starter = stage.handle(names.chat_workflow(chat_id)), TemporalStarter(skipper.client)
    tomorrow, later = (datetime.now(UTC) + timedelta(days=days) for days in (1, 2))
    stage.script.will("advance_chat", NextStep(state="rest", until=tomorrow), NextStep(state="rest", until=later))
    await starter.look_at_chat(chat_id, BUSINESS)
    await stage.details(handle.id, lambda told: f"Acts by itself at {tomorrow:%Y-%m-%d %H:%M} UTC" in told)
    await skipper.fast_forward(handle, timedelta(hours=23))
    assert len(stage.script.calls["advance_chat"]) == 1
    await skipper.fast_forward(handle, timedelta(hours=2))
    await stage.details(handle.id, lambda told: f"Acts by itself at {later:%Y-%m-%d %H:%M} UTC" in told)
    await starter.look_at_chat(chat_id, BUSINESS)
    await stage.details(handle.id, lambda told: "next message" in told and "Acts by itself" not in told)
    assert len(stage.script.calls["advance_chat"]) == 3
    await skipper.fast_forward(handle, timedelta(seconds=61))
    assert await asyncio.wait_for(handle.result(), SECONDS) == 0
