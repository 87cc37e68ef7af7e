"""Histories that were recorded before must still replay, and hold ids and counts only.

`BOTON_RECORD_HISTORIES=1 pytest tests/workflows/test_histories.py` records the scenarios anew; keep the older files as
long as runs of that time may still be open.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer

from activities.chatting import NextStep, RunTool
from activities.connecting import ConnectionStep
from activities.holding import HoldEnded
from activities.reminding import ReminderStep
from activities.sending import BatchStep
from boton import names
from boton.domain.messages import Lane
from boton.temporal import DATA_CONVERTER, sandbox_runner
from tests.readable import read_history
from tests.waiting import until
from tests.workflows.conftest import Stage
from workflows.chat import ChatWorkflow
from workflows.connection import ConnectionWorkflow
from workflows.reminder import ReminderWorkflow
from workflows.send import SendWorkflow

FOLDER = Path(__file__).parent.parent / "histories"
RECORDED = sorted(FOLDER.glob("*.json"))
PHONE = re.compile(r"(?<![\w.:-])\d{10,15}(?![\w.:-])|\d{8,}@")


async def send_with_everything(stage: Stage) -> str:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    stage.script.will("send_batch", BatchStep(state="more", settled=500), BatchStep(state="wait", until=soon))
    stage.script.will("send_batch", BatchStep(state="paused"), BatchStep(state="not_owner"))
    stage.script.will("send_batch", RuntimeError("store"), BatchStep(state="done", settled=7))
    send_id = stage.id("snd")
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, lanes=(Lane.SLOW,))
    await stage.details(names.send_workflow(send_id), lambda told: "**paused**" in told)
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, lanes=(Lane.SLOW,), wake=True)
    await stage.handle(names.send_workflow(send_id)).result()
    return names.send_workflow(send_id)


async def send_in_both_lanes(stage: Stage) -> str:
    later = datetime.now(UTC) + timedelta(days=1)
    stage.script.in_lane("fast", BatchStep(state="more", settled=3), BatchStep(state="lane_done", settled=2))
    stage.script.in_lane("slow", BatchStep(state="wait", until=later, reason="daily_limit", settled=200))
    both = (Lane.FAST, Lane.SLOW)
    send_id = stage.id("snd")
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, lanes=both)
    workflow_id = names.send_workflow(send_id)
    await stage.details(workflow_id, lambda told: "**waiting**" in told)
    stage.script.in_lane("fast", BatchStep(state="lane_done"))
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, lanes=both, wake=True)
    await stage.handle(workflow_id).result()
    return workflow_id


async def send_moved_to_another_number(stage: Stage) -> str:
    send_id = stage.id("snd")
    await stage.starter.start_send(send_id, "biz_1", stage.id("con"), lanes=(Lane.FAST, Lane.SLOW))
    await stage.details(names.send_workflow(send_id), lambda told: "**sending**" in told)
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, lanes=(Lane.FAST, Lane.SLOW), wake=True)
    await stage.handle(names.send_workflow(send_id)).result()
    return names.send_workflow(send_id)


async def instruction_given_up(stage: Stage) -> str:
    for number in (1, 2):
        stage.script.will("send_batch", BatchStep(state="compose", message_ids=(f"msg_{number}",)))
    stage.script.will("compose_openings", None, ApplicationError("401", type="ModelRefused"))
    send_id = stage.id("snd")
    await stage.starter.start_send(send_id, "biz_1", stage.connection_id, lanes=(Lane.FAST,))
    await stage.handle(names.send_workflow(send_id)).result()
    return names.send_workflow(send_id)


async def chat_with_tools(stage: Stage) -> str:
    """A burst, a turn in vain, two rounds of tools, a reply that is cut short, a timer, and a turn that is given up."""
    soon, later = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (4, 86_400))
    send = NextStep(state="send", connection_id=stage.connection_id, message_ids=("msg_1", "msg_2"), holder="bot")
    rest = NextStep(state="rest", until=soon, holder="bot", conversation="waiting")
    calls = tuple(RunTool("trn_1", 0, position) for position in (0, 1))
    stage.script.will("advance_chat", NextStep(state="again", holder="bot"), NextStep(state="run", calls=calls))
    stage.script.will("advance_chat", NextStep(state="run", calls=(RunTool("trn_1", 1, 0),)), send, send, rest)
    stage.script.will("advance_chat", ApplicationError("401", type="ModelRefused"), NextStep(state="rest", until=later))
    stage.script.will("run_tool", RuntimeError("store"))
    stage.script.will("send_messages", BatchStep(state="more"), BatchStep(state="done", settled=1))
    chat_id = stage.id("cht")
    for _ in range(2):
        await stage.starter.look_at_chat(chat_id, "biz_1", quiet_seconds=1.5)
    await until(lambda: len(stage.script.calls["send_messages"]) == 2)
    await stage.details(names.chat_workflow(chat_id), lambda told: "turns: 1 · Waits" in told)
    await stage.starter.look_at_chat(chat_id, "biz_1")
    await until(lambda: stage.script.calls["give_up_turn"])
    await stage.details(names.chat_workflow(chat_id), lambda told: f"{later:%Y-%m-%d %H:%M}" in told)
    return names.chat_workflow(chat_id)


async def connection_linked_again(stage: Stage) -> str:
    stage.script.will("hold_connection", HoldEnded(status="logged_out", reason="Link the phone again."))
    stage.script.will("hold_connection", OSError("no more processes"))
    pair, hold = ConnectionStep("pair", "linking"), ConnectionStep("hold")
    logged_out = ConnectionStep("wait", "logged_out", "Link the phone again.")
    stage.script.will("advance_connection", pair, hold, logged_out, pair, RuntimeError("store"), hold)
    connection_id = stage.id("con")
    workflow_id = names.connection_workflow(connection_id)
    await stage.starter.look_at_connection(connection_id, "biz_1")
    await stage.details(workflow_id, lambda told: "logged_out" in told)
    await stage.handle(workflow_id).signal(names.LOOK)
    await stage.handle(workflow_id).result()
    return workflow_id


async def reminder_fired_twice_and_moved(stage: Stage) -> str:
    soon, later = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (2, 3600))
    stage.script.will("advance_reminder", RuntimeError("store"), ReminderStep(state="wait", until=soon, fired=1))
    stage.script.will("advance_reminder", ReminderStep(state="wait", until=later), ReminderStep(state="done", fired=1))
    reminder_id = stage.id("rem")
    await stage.starter.start_reminder(reminder_id, "biz_1", due_at=datetime.now(UTC) + timedelta(seconds=1))
    await until(lambda: len(stage.script.calls["advance_reminder"]) == 3)
    await stage.details(names.reminder_workflow(reminder_id), lambda told: f"{later:%H:%M:%S}" in told)
    await stage.starter.start_reminder(reminder_id, "biz_1", due_at=None, wake=True)
    await stage.handle(names.reminder_workflow(reminder_id)).result()
    return names.reminder_workflow(reminder_id)


SCENARIOS: dict[str, Callable[[Stage], Awaitable[str]]] = {
    "send": send_with_everything,
    "lanes": send_in_both_lanes,
    "moved": send_moved_to_another_number,
    "instruction": instruction_given_up,
    "chat": chat_with_tools,
    "connection": connection_linked_again,
    "reminder": reminder_fired_twice_and_moved,
}


def replayer() -> Replayer:
    return Replayer(
        workflows=[SendWorkflow, ChatWorkflow, ConnectionWorkflow, ReminderWorkflow],
        data_converter=DATA_CONVERTER,
        workflow_runner=sandbox_runner(),
    )


@pytest.mark.parametrize("name", SCENARIOS)
async def test_history_of_today_replays_and_holds_ids_only(stage: Stage, name: str) -> None:
    workflow_id = await asyncio.wait_for(SCENARIOS[name](stage), 60)
    history = await stage.handle(workflow_id).fetch_history()
    await replayer().replay_workflow(history)
    if os.environ.get("BOTON_RECORD_HISTORIES"):
        record(name, history)


def record(name: str, history: WorkflowHistory) -> None:
    exported = json.loads(history.to_json())
    _anonymize(exported)
    told = {"workflowId": history.workflow_id, **exported}
    (FOLDER / f"{name}-{datetime.now(UTC):%Y-%m-%d}.json").write_text(json.dumps(told, indent=1) + "\n")


def _anonymize(node: Any) -> None:
    """Where it was recorded is nobody's business: hosts, processes, paths."""
    if isinstance(node, dict):
        for key in ("identity", "stackTrace", "workerVersion", "sdkMetadata"):
            if isinstance(node.get(key), str):
                node[key] = ""
        for value in node.values():
            _anonymize(value)
    elif isinstance(node, list):
        for value in node:
            _anonymize(value)


def load(file: Path) -> WorkflowHistory:
    told = json.loads(file.read_text())
    return WorkflowHistory.from_json(told.pop("workflowId"), told)


def test_every_workflow_has_a_recorded_history() -> None:
    assert {file.name.partition("-")[0] for file in RECORDED} >= set(SCENARIOS)


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
async def test_recorded_history_replays(file: Path) -> None:
    await replayer().replay_workflow(load(file))


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_recorded_history_holds_no_text_and_no_phone_number(file: Path) -> None:
    told = read_history(load(file))
    assert PHONE.findall(told) == []
    assert [
        word for word in ("hola", "@s.whatsapp.net", "@lid", '"text"', "/home/", "site-packages") if word in told
    ] == []
