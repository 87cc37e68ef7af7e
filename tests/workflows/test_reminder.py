"""The reminder workflow: it rests until the store says that something is due, and costs nothing meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import EventType

from activities.reminding import AdvanceReminder, ReminderStep
from boton import names
from tests.temporal_server import CONTINUE_AFTER
from tests.waiting import SECONDS, until
from tests.workflows.conftest import Stage


def in_(**time: float) -> datetime:
    return datetime.now(UTC) + timedelta(**time)


async def start(stage: Stage, due_at: datetime | None = None) -> str:
    reminder_id = stage.id("rem")
    await stage.starter.start_reminder(reminder_id, "biz_1", due_at=due_at)
    return reminder_id


async def wake(stage: Stage, reminder_id: str) -> None:
    await stage.starter.start_reminder(reminder_id, "biz_1", due_at=None, wake=True)


async def fired(stage: Stage, reminder_id: str) -> int:
    result: int = await asyncio.wait_for(stage.handle(names.reminder_workflow(reminder_id)).result(), SECONDS)
    return result


async def test_rests_until_it_is_due_without_an_activity(stage: Stage) -> None:
    due_at = in_(days=30)
    reminder_id = await start(stage, due_at)
    workflow_id = names.reminder_workflow(reminder_id)
    told = await stage.details(workflow_id, lambda told: "**scheduled**" in told)
    assert f"Fires at {due_at:%Y-%m-%d %H:%M:%S} UTC" in told
    assert await stage.status(workflow_id) == "scheduled"
    assert stage.script.calls["advance_reminder"] == []
    history = await stage.handle(workflow_id).fetch_history()
    kinds = [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events]
    beside_tasks = [kind for kind in kinds if not kind.startswith("WORKFLOW_TASK_")]
    started, *costs = beside_tasks
    assert (started, sorted(costs)) == (
        "WORKFLOW_EXECUTION_STARTED",
        ["TIMER_STARTED", "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"],
    )


async def test_fires_when_the_timer_ends(stage: Stage) -> None:
    due_at = in_(seconds=1.5)
    stage.script.will("advance_reminder", ReminderStep(state="done", fired=1))
    reminder_id = await start(stage, due_at)
    assert await fired(stage, reminder_id) == 1
    assert stage.script.calls["advance_reminder"] == [AdvanceReminder(reminder_id)]
    assert datetime.now(UTC) >= due_at
    assert await stage.status(names.reminder_workflow(reminder_id)) == "finished"


async def test_what_is_due_at_its_start_is_asked_for_at_once(stage: Stage) -> None:
    reminder_id = await start(stage, in_(hours=-1))
    await fired(stage, reminder_id)
    assert stage.script.calls["advance_reminder"] == [AdvanceReminder(reminder_id)]
    history = await stage.handle(names.reminder_workflow(reminder_id)).fetch_history()
    assert "timerStarted" not in history.to_json()


async def test_recurrence_waits_for_each_time(stage: Stage) -> None:
    for _ in range(2):
        stage.script.will("advance_reminder", lambda: _step(state="wait", until=in_(seconds=1), fired=1))
    stage.script.will("advance_reminder", ReminderStep(state="done", fired=1))
    assert await fired(stage, await start(stage)) == 3


async def test_look_asks_the_store_before_the_time(stage: Stage) -> None:
    reminder_id = await start(stage, in_(days=1))
    await stage.details(names.reminder_workflow(reminder_id), lambda told: "**scheduled**" in told)
    moved_to = in_(days=2)
    stage.script.will("advance_reminder", ReminderStep(state="wait", until=moved_to))
    await wake(stage, reminder_id)
    await stage.details(names.reminder_workflow(reminder_id), lambda told: f"{moved_to:%Y-%m-%d %H:%M:%S}" in told)
    await wake(stage, reminder_id)
    assert await fired(stage, reminder_id) == 0
    assert len(stage.script.calls["advance_reminder"]) == 2


async def test_look_that_comes_while_the_store_is_asked_is_not_lost(stage: Stage) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow() -> ReminderStep:
        asked.set()
        await answer.wait()
        return ReminderStep(state="done")

    stage.script.will("advance_reminder", slow, ReminderStep(state="done", fired=1))
    reminder_id = await start(stage)
    await asyncio.wait_for(asked.wait(), SECONDS)
    await wake(stage, reminder_id)
    answer.set()
    assert await fired(stage, reminder_id) == 1


async def test_starting_twice_is_starting_once(stage: Stage) -> None:
    due_at = in_(days=1)
    reminder_id = await start(stage, due_at)
    await stage.starter.start_reminder(reminder_id, "biz_1", due_at=due_at)
    await wake(stage, reminder_id)
    await fired(stage, reminder_id)
    assert len(stage.script.calls["advance_reminder"]) == 1


async def test_clock_behind_temporals_is_not_asked_in_a_tight_loop(stage: Stage) -> None:
    for _ in range(2):
        stage.script.will("advance_reminder", ReminderStep(state="wait", until=in_(seconds=-5)))
    began = datetime.now(UTC)
    await fired(stage, await start(stage))
    assert datetime.now(UTC) - began >= timedelta(seconds=2)


async def test_held_reminder_ends_its_run_and_is_started_again_later(stage: Stage) -> None:
    stage.script.will("advance_reminder", ReminderStep(state="held"), ReminderStep(state="done", fired=1))
    reminder_id = await start(stage)
    assert await fired(stage, reminder_id) == 0
    assert await stage.status(names.reminder_workflow(reminder_id)) == "held"
    await wake(stage, reminder_id)
    await until(lambda: len(stage.script.calls["advance_reminder"]) == 2)
    assert await fired(stage, reminder_id) == 1


async def test_store_that_is_away_is_asked_again(stage: Stage) -> None:
    stage.script.will("advance_reminder", OSError("no disk"), ReminderStep(state="done", fired=1))
    assert await fired(stage, await start(stage)) == 1


async def test_many_firings_continue_in_a_new_run_with_their_count(stage: Stage) -> None:
    reminder_id = await start(stage, in_(days=1))
    handle = stage.handle(names.reminder_workflow(reminder_id))
    first = (await handle.describe()).run_id
    rounds = CONTINUE_AFTER // 4
    for number in range(1, rounds + 1):
        stage.script.will("advance_reminder", ReminderStep(state="wait", until=in_(days=1), fired=1))
        await wake(stage, reminder_id)
        await until(lambda number=number: len(stage.script.calls["advance_reminder"]) >= number)  # type: ignore[misc]
    await wake(stage, reminder_id)
    assert await fired(stage, reminder_id) >= rounds
    assert (await handle.describe()).run_id != first


async def _step(state: str, until: datetime, fired: int) -> ReminderStep:
    return ReminderStep(state=state, until=until, fired=fired)
