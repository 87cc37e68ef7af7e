"""A real Temporal server, our workflows in their sandbox, and activities by script under the same names."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest_asyncio
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.chatting import AdvanceChat, ComposeOpenings, NextStep, RunTool
from activities.connecting import AdvanceConnection, ConnectionStep, PairConnection, UnlinkConnection
from activities.holding import HoldConnection, HoldEnded
from activities.reminding import AdvanceReminder, ReminderStep
from activities.sending import BatchStep, SendBatch, SendMessages
from boton import names
from boton.temporal import sandbox_runner
from tests.temporal_server import shared_server
from tests.waiting import eventually
from workflows.chat import ChatWorkflow
from workflows.connection import ConnectionWorkflow
from workflows.reminder import ReminderWorkflow
from workflows.send import SendWorkflow
from workflows.starter import TemporalStarter


class Script:
    """What each activity answers, call by call: a value, an error to raise, or a function of its input to await."""

    def __init__(self) -> None:
        self.answers: dict[str, deque[Any]] = defaultdict(deque)
        self.calls: dict[str, list[Any]] = defaultdict(list)

    def will(self, name: str, *answers: Any) -> None:
        self.answers[name].extend(answers)

    def in_lane(self, lane: str, *answers: Any) -> None:
        """What `send_batch` answers in that lane."""
        self.will(f"send_batch {lane}", *answers)

    async def play(self, name: str, given: Any, otherwise: Any, variant: str | None = None) -> Any:
        self.calls[name].append(given)
        answers = (variant and self.answers[variant]) or self.answers[name]
        answer = answers.popleft() if answers else otherwise
        if callable(answer):
            beating = asyncio.create_task(_beat())
            try:
                answer = await answer()
            finally:
                beating.cancel()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @activity.defn(name="send_batch")
    async def send_batch(self, given: SendBatch) -> BatchStep:
        step: BatchStep = await self.play("send_batch", given, BatchStep(state="done"), f"send_batch {given.lane}")
        return step

    @activity.defn(name="send_messages")
    async def send_messages(self, given: SendMessages) -> BatchStep:
        step: BatchStep = await self.play("send_messages", given, BatchStep(state="done", settled=1))
        return step

    @activity.defn(name="advance_chat")
    async def advance_chat(self, given: AdvanceChat) -> NextStep:
        step: NextStep = await self.play("advance_chat", given, NextStep(state="rest"))
        return step

    @activity.defn(name="run_tool")
    async def run_tool(self, given: RunTool) -> None:
        await self.play("run_tool", given, None)

    @activity.defn(name="compose_openings")
    async def compose_openings(self, given: ComposeOpenings) -> None:
        await self.play("compose_openings", given, None)

    @activity.defn(name="give_up_turn")
    async def give_up_turn(self, given: AdvanceChat) -> NextStep:
        step: NextStep = await self.play("give_up_turn", given, NextStep(state="rest", holder="human"))
        return step

    @activity.defn(name="give_up_openings")
    async def give_up_openings(self, given: ComposeOpenings) -> None:
        await self.play("give_up_openings", given, None)

    @activity.defn(name="advance_reminder")
    async def advance_reminder(self, given: AdvanceReminder) -> ReminderStep:
        step: ReminderStep = await self.play("advance_reminder", given, ReminderStep(state="done"))
        return step

    @activity.defn(name="advance_connection")
    async def advance_connection(self, given: AdvanceConnection) -> ConnectionStep:
        step: ConnectionStep = await self.play("advance_connection", given, ConnectionStep(next="done"))
        return step

    @activity.defn(name="pair_connection")
    async def pair_connection(self, given: PairConnection) -> None:
        await self.play("pair_connection", given, None)

    @activity.defn(name="unlink_connection")
    async def unlink_connection(self, given: UnlinkConnection) -> bool:
        told: bool = await self.play("unlink_connection", given, True)
        return told

    @activity.defn(name="hold_connection")
    async def hold_connection(self, given: HoldConnection) -> HoldEnded:
        ended: HoldEnded = await self.play("hold_connection", given, HoldEnded(status="stopped"))
        return ended


async def _beat() -> None:
    """As long activities do: that is how they hear that they are cancelled."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.5)


class Stage:
    """One connection with its queues served by a script, and the product's own way of starting workflows."""

    def __init__(self, client: Client, script: Script) -> None:
        self.client, self.script = client, script
        self.connection_id = f"con_{uuid.uuid4().hex}"
        self.starter = TemporalStarter(client)
        self._ids: list[str] = []

    def id(self, prefix: str) -> str:
        self._ids.append(f"{prefix}_{uuid.uuid4().hex}")
        return self._ids[-1]

    def handle(self, workflow_id: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(workflow_id)

    async def details(self, workflow_id: str, holds: Callable[[str], object]) -> str:
        """What an operator reads, as soon as it holds."""
        handle = self.handle(workflow_id)
        query = "__temporal_workflow_metadata"

        async def fetch() -> str:
            metadata = await handle.query(query)
            return str(metadata.get("currentDetails", "") if isinstance(metadata, dict) else metadata)

        return await eventually(fetch, holds)

    async def timers(self, workflow_id: str) -> list[timedelta]:
        """How long each timer was set for that its present run has started."""
        history = await self.handle(workflow_id).fetch_history()
        return [
            event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
            for event in history.events
            if event.HasField("timer_started_event_attributes")
        ]

    async def status(self, workflow_id: str) -> str | None:
        described = await self.handle(workflow_id).describe()
        pair = [one for one in described.typed_search_attributes if one.key.name == names.SEARCH_STATUS]
        return str(pair[0].value) if pair else None

    async def end(self) -> None:
        """Ends whatever runs of this test's ids; a list of what runs would come a moment late."""
        for id in self._ids:
            for name in (names.send_workflow, names.chat_workflow, names.connection_workflow, names.reminder_workflow):
                with contextlib.suppress(RPCError):  # it never ran, or has ended
                    await self.handle(name(id)).terminate("the test is over")


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    """All workers of a product in one: the shared queues belong to this test while it runs."""
    client = await shared_server().connect()
    script = Script()
    stage = Stage(client, script)
    workers = [
        Worker(
            client,
            task_queue=names.WORK_QUEUE,
            workflows=[SendWorkflow, ChatWorkflow, ConnectionWorkflow, ReminderWorkflow],
            activities=[
                script.advance_chat,
                script.run_tool,
                script.compose_openings,
                script.give_up_turn,
                script.give_up_openings,
                script.advance_reminder,
                script.advance_connection,
            ],
            workflow_runner=sandbox_runner(),
        ),
        Worker(
            client,
            task_queue=names.CONNECTIONS_QUEUE,
            activities=[script.hold_connection, script.pair_connection, script.unlink_connection],
        ),
        Worker(
            client,
            task_queue=names.fast_queue(stage.connection_id),
            activities=[script.send_batch, script.send_messages],
        ),
        Worker(
            client,
            task_queue=names.slow_queue(stage.connection_id),
            activities=[script.send_batch, script.send_messages],
        ),
    ]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    yield stage
    await stage.end()
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    await asyncio.gather(*running)
