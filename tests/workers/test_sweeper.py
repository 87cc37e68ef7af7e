"""The sweeper: what is overdue is started, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from boton.domain.messages import Lane
from boton.domain.sends import SendCategory
from boton.ports import Overdue
from tests.waiting import SECONDS, until
from workers import sweeper as sweepers
from workers.sweeper import Sweeper

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def overdue(kind: str, id: str, *lanes: Lane) -> Overdue:
    return Overdue(kind=kind, id=id, business_id="biz_1", connection_id="con_1", lanes=lanes)


class Work:
    """The WorkStore port in memory."""

    def __init__(self, *work: Overdue) -> None:
        self.work = list(work)
        self.holder: str | None = None
        self.namespace: str | None = None
        self.leases = 0
        self.purged = self.held = 0
        self.late: set[str] = set()
        self.postponed: list[tuple[Overdue, datetime]] = []

    async def take_lease(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        assert until > now
        self.leases += 1
        self.holder = self.holder or holder
        return self.holder == holder

    async def list_overdue(self, now: datetime, grace: timedelta, limit: int) -> Sequence[Overdue]:
        assert grace == timedelta(seconds=30)
        return self.work[:limit]

    async def expire_late(self, overdue: Sequence[Overdue], now: datetime) -> Sequence[Overdue]:
        self.work = [one for one in self.work if one.id not in self.late]
        return [one for one in overdue if one.id not in self.late]

    async def postpone(
        self, overdue: Sequence[Overdue], now: datetime, until: datetime, *, started: bool = True
    ) -> None:
        assert not overdue or started == (until - now == timedelta(minutes=2))
        self.postponed += [(one, until) for one in overdue]
        self.work = [one for one in self.work if one not in overdue]

    async def note_namespace(self, namespace_id: str, now: datetime) -> bool:
        changed = self.namespace not in (None, namespace_id)
        self.namespace = namespace_id
        return changed

    async def settle_left_behind(self, now: datetime) -> None:
        self.held += 1

    async def purge(self, now: datetime) -> None:
        self.purged += 1


class Starter:
    """The WorkflowStarter port: remembers what was started; `broken` ids fail, `hanging` ones never answer."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str, tuple[Lane, ...]]] = []
        self.marketing: list[str] = []
        self.broken: set[str] = set()
        self.hanging: set[str] = set()
        self.in_flight = self.most_in_flight = 0

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
        assert wake, "one that runs but sleeps must be woken too"
        assert connection_id == "con_1"
        if category is SendCategory.MARKETING:
            self.marketing.append(send_id)
        await self._start("send", send_id, tuple(lanes))

    async def end_send(self, send_id: str) -> None:
        await self._start("ended send", send_id)

    async def look_at_chat(self, chat_id: str, business_id: str, *, quiet_seconds: float = 0.0) -> None:
        assert quiet_seconds == 0, "what is overdue has waited long enough"
        await self._start("chat", chat_id)

    async def start_reminder(
        self, reminder_id: str, business_id: str, *, due_at: datetime | None, wake: bool = False
    ) -> None:
        assert wake, "one that rests must look at the store"
        await self._start("reminder", reminder_id)

    async def look_at_connection(self, connection_id: str, business_id: str) -> None:
        await self._start("connection", connection_id)

    async def _start(self, kind: str, id: str, lanes: tuple[Lane, ...] = ()) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            if id in self.hanging:
                await asyncio.Event().wait()
            if id in self.broken:
                raise TimeoutError("temporal is away")
            self.started.append((kind, id, lanes))
        finally:
            self.in_flight -= 1


class Temporal:
    def __init__(self) -> None:
        self.id = "namespace-1"
        self.away = 0

    async def __call__(self) -> str:
        if self.away > 0:
            self.away -= 1
            raise RuntimeError("temporal is away")
        return self.id


class Scene:
    def __init__(self, *work: Overdue) -> None:
        self.work, self.starter, self.temporal, self.now = Work(*work), Starter(), Temporal(), NOW

    def sweeper(self, holder: str = "host:1") -> Sweeper:
        return Sweeper(self.work, self.starter, self.temporal, holder=holder, clock=lambda: self.now)


async def test_starts_every_kind_and_postpones_it() -> None:
    scene = Scene(
        overdue("connection", "con_1"),
        overdue("send", "snd_1", Lane.FAST, Lane.SLOW),
        overdue("chat", "cht_1"),
        overdue("reminder", "rem_1"),
    )
    assert await scene.sweeper().sweep() is False
    assert sorted(scene.starter.started) == [
        ("chat", "cht_1", ()),
        ("connection", "con_1", ()),
        ("reminder", "rem_1", ()),
        ("send", "snd_1", (Lane.FAST, Lane.SLOW)),
    ]
    assert {until for _, until in scene.work.postponed} == {NOW + timedelta(minutes=2)}
    assert scene.work.work == []


async def test_marketing_is_started_as_such() -> None:
    offer = replace(overdue("send", "snd_1", Lane.SLOW), category=SendCategory.MARKETING)
    scene = Scene(offer, overdue("send", "snd_2", Lane.SLOW))
    await scene.sweeper().sweep()
    assert scene.starter.marketing == ["snd_1"]


async def test_workflow_of_a_send_that_is_over_is_told_so_and_none_is_started() -> None:
    scene = Scene(replace(overdue("send", "snd_1"), is_over=True))
    await scene.sweeper().sweep()
    assert scene.starter.started == [("ended send", "snd_1", ())]
    assert scene.work.work == []


async def test_what_cannot_be_started_does_not_stand_before_the_rest() -> None:
    scene = Scene(overdue("send", "snd_1"), overdue("send", "snd_2"))
    scene.starter.broken = {"snd_1"}
    await scene.sweeper().sweep()
    assert scene.work.postponed == [
        (overdue("send", "snd_2"), NOW + timedelta(minutes=2)),
        (overdue("send", "snd_1"), NOW + timedelta(seconds=30)),
    ]


async def test_send_for_which_it_is_too_late_is_not_started() -> None:
    scene = Scene(overdue("send", "snd_1"), overdue("send", "snd_2"))
    scene.work.late = {"snd_1"}
    await scene.sweeper().sweep()
    assert scene.starter.started == [("send", "snd_2", ())]
    assert [one.id for one, _ in scene.work.postponed] == ["snd_2"]


async def test_when_nothing_can_be_started_everything_stays_overdue() -> None:
    scene = Scene(overdue("send", "snd_1"), overdue("send", "snd_2"))
    scene.starter.broken = {"snd_1", "snd_2"}
    await scene.sweeper().sweep()
    assert scene.work.work == [overdue("send", "snd_1"), overdue("send", "snd_2")]


async def test_another_holder_of_the_lease_does_the_work_alone() -> None:
    scene = Scene(overdue("send", "snd_1"))
    await scene.work.take_lease("sweeper", "host:2", NOW, NOW + timedelta(seconds=20))
    assert await scene.sweeper("host:1").sweep() is False
    assert scene.starter.started == []
    assert scene.work.purged == 0


async def test_temporal_away_starts_nothing_and_notes_nothing() -> None:
    scene = Scene(overdue("send", "snd_1"))
    scene.temporal.away = 1
    with pytest.raises(RuntimeError):
        await scene.sweeper().sweep()
    assert scene.starter.started == []
    assert scene.work.postponed == []


async def test_new_namespace_is_noted_before_the_overdue_are_listed() -> None:
    scene = Scene(overdue("send", "snd_1"))
    scene.work.namespace = "namespace-0"
    await scene.sweeper().sweep()
    assert scene.work.namespace == "namespace-1"
    assert scene.starter.started == [("send", "snd_1", ())]


async def test_many_are_started_some_at_a_time_and_the_rest_at_once_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweepers, "_EVERY", timedelta(hours=1))
    scene = Scene(*(overdue("send", f"snd_{number}") for number in range(450)))
    stop = asyncio.Event()
    running = asyncio.create_task(scene.sweeper().run(stop))
    await until(lambda: len(scene.starter.started) == 450)
    stop.set()
    await running
    assert 1 < scene.starter.most_in_flight <= 10


async def test_failures_do_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweepers, "_EVERY", timedelta(milliseconds=1))
    scene = Scene(overdue("send", "snd_1"))
    scene.temporal.away = 3
    stop = asyncio.Event()
    running = asyncio.create_task(scene.sweeper().run(stop))
    await until(lambda: scene.starter.started)
    stop.set()
    await asyncio.wait_for(running, SECONDS)
    assert scene.work.leases >= 4


async def test_stop_does_not_wait_for_starts_that_hang() -> None:
    scene = Scene(*(overdue("send", f"snd_{number}") for number in range(50)))
    scene.starter.hanging = {f"snd_{number}" for number in range(50)}
    stop = asyncio.Event()
    running = asyncio.create_task(scene.sweeper().run(stop))
    await until(lambda: scene.starter.in_flight)
    stop.set()
    await asyncio.wait_for(running, SECONDS)
    assert scene.starter.in_flight == 0


async def test_purges_once_an_hour() -> None:
    scene = Scene()
    sweeper = scene.sweeper()
    for minutes in (0, 1, 59, 61, 90):
        scene.now = NOW + timedelta(minutes=minutes)
        await sweeper.sweep()
    assert scene.work.purged == 2
