"""Starts of workflows beside the answers: a crowd of them does not time out in a queue of its own making."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api import starting
from api.starting import Launcher
from boton.domain.reminders import Reminder, ReminderStatus, Timing
from boton.domain.sends import Send, SendCategory, SendKind, SendStatus
from boton.store.tables import ReminderRow
from tests.api.conftest import JUAN, FakeStarter, Tenant
from tests.waiting import until

NOW = datetime(2026, 11, 20, 18, 4, 5, tzinfo=UTC)


class Noting:
    """The reminder store's one method that is used here."""

    def __init__(self) -> None:
        self.started: list[str] = []

    async def note_started(self, reminder_id: str) -> None:
        self.started.append(reminder_id)


class Hand:
    """Moves the event loop's own clock, which stands still otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)


class Slow(FakeStarter):
    """Takes its time for each start, a sixteenth of a second where a hand moves the clock; `broken` ids fail."""

    def __init__(self, seconds: float = 0.0, hand: Hand | None = None) -> None:
        super().__init__()
        self.seconds, self.hand = seconds, hand
        self.order: list[str] = []
        self.broken: set[str] = set()
        self.in_flight = self.most_in_flight = 0

    async def start_send(self, send_id: str, *args: object, **kwargs: object) -> None:  # type: ignore[override]
        await self._take(send_id)

    async def start_reminder(self, reminder_id: str, *args: object, **kwargs: object) -> None:  # type: ignore[override]
        await self._take(reminder_id)

    async def _take(self, id: str) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.hand is not None:
            self.hand.now += 1 / 16
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        if id in self.broken:
            raise TimeoutError("temporal is away")
        self.order.append(id)


REMINDER = Reminder(
    id="rem_0",
    business_id="biz_1",
    chat_id="cht_1",
    to=JUAN,
    jid=f"{JUAN}@s.whatsapp.net",
    message="x",
    instruction=None,
    status=ReminderStatus.SCHEDULED,
    timing=Timing(starts_at=NOW + timedelta(hours=1)),
    reference=None,
    cancel_on_reply=False,
    expire_after_minutes=360,
    respect_quiet_hours=False,
    next_at=NOW + timedelta(hours=1),
    hold=None,
    created_at=NOW,
    ended_at=None,
)
SEND = Send(
    id="snd_0",
    business_id="biz_1",
    connection_id="con_1",
    kind=SendKind.MESSAGE,
    category=SendCategory.TRANSACTIONAL,
    status=SendStatus.QUEUED,
    total=1,
    rejected=(),
    created_at=NOW,
)


def launch(starter: Slow, noting: Noting, count: int) -> Launcher:
    launcher = Launcher(starter, noting)  # type: ignore[arg-type]
    for number in range(count):
        launcher.start_reminder(replace(REMINDER, id=f"rem_{number}"))
    return launcher


async def test_crowd_waits_for_its_turn_and_all_of_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_PATIENCE", 1.0)
    starter, noting = Slow(hand=Hand(monkeypatch)), Noting()
    launch(starter, noting, 400)  # 25 seconds of work
    await asyncio.sleep(0)
    while starter.in_flight:
        await asyncio.sleep(0)
    assert len(noting.started) == 400
    assert starter.most_in_flight == 8
    assert sorted(starter.order) == sorted(noting.started)


async def test_one_that_fails_stops_nobody_else() -> None:
    starter, noting = Slow(), Noting()
    starter.broken = {"rem_3"}
    launch(starter, noting, 100)
    await until(lambda: len(noting.started) == 99)
    assert "rem_3" not in noting.started


async def test_several_in_a_row_that_fail_leave_all_that_wait_to_the_sweeper() -> None:
    starter, noting = Slow(), Noting()
    starter.broken = {f"rem_{number}" for number in range(3, 12)}
    launcher = launch(starter, noting, 100)
    await launcher.finish()
    assert len(starter.order) < 32
    launcher.start_reminder(replace(REMINDER, id="rem_next"))
    await until(lambda: "rem_next" in noting.started)


async def test_what_is_due_goes_before_what_is_due_later() -> None:
    starter = Slow(0.001)
    launcher = launch(starter, Noting(), 50)
    launcher.wake_sends([replace(SEND, id=f"snd_{number}") for number in range(1, 9)])
    launcher.start_send(SEND)
    await until(lambda: len(starter.order) == 59)
    assert starter.order.index("snd_0") < 16
    assert starter.order.index("snd_1") > 50


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_WAITING_AT_MOST", 10)
    starter = Slow()
    await launch(starter, Noting(), 100).finish()
    assert len(starter.order) == 10


async def test_what_has_waited_for_too_long_is_the_sweepers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_WAITING_SECONDS", 5 / 16)
    starter = Slow(hand=Hand(monkeypatch))
    await launch(starter, Noting(), 100).finish()
    assert starter.order == [f"rem_{number}" for number in range(6)]


async def test_woken_reminder_is_not_noted_because_its_workflow_looks_itself() -> None:
    starter, noting = Slow(), Noting()
    launcher = Launcher(starter, noting)  # type: ignore[arg-type]
    launcher.start_reminder(REMINDER, wake=True)
    await launcher.finish()
    assert (starter.order, noting.started) == (["rem_0"], [])


@pytest.mark.parametrize("away", [False, True])
async def test_reminder_rests_until_it_fires_only_once_it_is_started(
    tenant: Tenant, starter: FakeStarter, away: bool
) -> None:
    starter.trouble = TimeoutError("temporal is away") if away else None
    at = tenant.clock() + timedelta(hours=9)
    answer = await tenant.post("/reminders", {"to": JUAN, "message": "x", "at": at.isoformat()})
    assert answer.status_code == 201
    await tenant.http._transport.app.state.launcher.finish()  # type: ignore[attr-defined]
    row = await tenant.database.read(
        lambda session: session.get_one(ReminderRow, answer.json()["id"]).model_dump(include={"next_step_at"})
    )
    assert row == {"next_step_at": tenant.clock() if away else at}
