"""The reminder activity over a real store; what starts workflows is the only fake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from activities.reminding import AdvanceReminder, ReminderActivities, ReminderStep
from boton.domain.messages import Lane
from boton.domain.planning import plan
from boton.domain.reminders import NewReminder, Reminder, Timing
from boton.domain.sends import NewRecipient, SendCategory, SendKind
from boton.errors import NotFound
from boton.store.reminders import SqlReminderStore
from boton.store.work import SqlWorkStore
from tests.activities.conftest import Bench
from tests.store.builders import NOW, jid_of

NUMBER = "5491112345678"
RECIPIENT = NewRecipient(to=NUMBER, jid=jid_of(NUMBER), text="Tu turno", known=True)


@dataclass
class Starter:
    """The WorkflowStarter port: remembers the sends; `trouble` is raised."""

    sends: list[tuple[str, str, str, tuple[Lane, ...]]] = field(default_factory=list)
    trouble: Exception | None = None

    async def end_send(self, send_id: str) -> None: ...

    async def start_send(
        self,
        send_id: str,
        business_id: str,
        connection_id: str,
        *,
        lanes: Sequence[Lane],
        category: SendCategory = SendCategory.TRANSACTIONAL,
        wake: bool = False,
    ) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.sends.append((send_id, business_id, connection_id, tuple(lanes)))

    async def start_reminder(
        self, reminder_id: str, business_id: str, *, due_at: datetime | None, wake: bool = False
    ) -> None:
        raise AssertionError("a firing starts no reminder")

    async def look_at_chat(self, chat_id: str, business_id: str, *, quiet_seconds: float = 0.0) -> None:
        raise AssertionError("a firing wakes no chat")

    async def look_at_connection(self, connection_id: str, business_id: str) -> None:
        raise AssertionError("a firing starts no connection")


class Desk:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.starter = Starter()
        self.store = SqlReminderStore(bench.database)
        self.activities = ReminderActivities(self.store, self.starter, bench.clock)

    async def accept(self, every: str | None = None) -> Reminder:
        timing = Timing(starts_at=NOW + timedelta(hours=1), every=every, timezone="UTC")
        new = NewReminder(
            business_id=self.bench.business.id,
            recipient=RECIPIENT,
            kind=SendKind.MESSAGE,
            timing=timing,
            plan=plan(timing, None, timedelta(hours=6), NOW),
            accepted_at=NOW,
        )
        accepted = await self.store.accept_reminder(new, _no_answer)
        assert accepted.reminder is not None
        return accepted.reminder

    async def advance(self, reminder: Reminder, hours: float) -> ReminderStep:
        self.bench.clock.now = NOW + timedelta(hours=hours)
        return await self.activities.advance_reminder(AdvanceReminder(reminder.id))

    async def sends(self, reminder: Reminder) -> list[str | None]:
        told = await self.store.fetch_reminder(self.bench.business.id, reminder.id)
        return [firing.send_id for firing in told.firings if firing.send_id]


def _no_answer(_reminder: Reminder) -> dict[str, Any]:
    return {}


@pytest_asyncio.fixture
async def desk(bench: Bench) -> Desk:
    return Desk(bench)


async def test_too_early_it_says_until_when_to_wait(desk: Desk) -> None:
    reminder = await desk.accept()
    assert await desk.advance(reminder, 0.5) == ReminderStep(state="wait", until=NOW + timedelta(hours=1))
    assert desk.starter.sends == []


async def test_what_is_due_is_sent_and_its_workflow_started(desk: Desk) -> None:
    reminder = await desk.accept()
    assert await desk.advance(reminder, 1) == ReminderStep(state="done", fired=1)
    (send_id,) = await desk.sends(reminder)
    assert desk.starter.sends == [(send_id, desk.bench.business.id, desk.bench.connection.id, (Lane.FAST,))]


async def test_running_twice_sends_once(desk: Desk) -> None:
    reminder = await desk.accept()
    await desk.advance(reminder, 1)
    assert await desk.advance(reminder, 1) == ReminderStep(state="done")
    assert len(desk.starter.sends) == 1


async def test_recurrence_waits_for_its_next_time(desk: Desk) -> None:
    reminder = await desk.accept("FREQ=HOURLY")
    assert await desk.advance(reminder, 1) == ReminderStep(state="wait", until=NOW + timedelta(hours=2), fired=1)


async def test_send_that_cannot_be_started_is_left_to_the_sweeper(desk: Desk) -> None:
    reminder = await desk.accept()
    desk.starter.trouble = TimeoutError("temporal is away")
    assert await desk.advance(reminder, 1) == ReminderStep(state="done", fired=1)
    overdue = await SqlWorkStore(desk.bench.database).list_overdue(NOW + timedelta(hours=2), timedelta(0), 10)
    assert [one.id for one in overdue if one.kind == "send"] == await desk.sends(reminder)


async def test_unknown_reminder_is_an_error_of_its_own(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.activities.advance_reminder(AdvanceReminder("rem_0"))
