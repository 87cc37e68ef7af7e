"""What a link asks of its gateway: a proof before it says that the number is connected, and who is typing."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from boton.clock import utc_now
from boton.domain.connections import ConnectionStatus
from boton.domain.gateway import GatewayEvent, Sent, Typing
from boton.errors import ConnectionAway
from boton.settings import read_settings
from boton.store.connections import SqlConnectionStore
from tests.activities.fakes import ScriptedGateway
from tests.store.builders import NOW
from tests.store.stage import Stage, incoming
from tests.waiting import eventually, until
from tests.workers.conftest import World
from workers.host_line import HostLine
from workers.link import Link


class WedgedGateway(ScriptedGateway):
    """Reading from it never fails; whether WhatsApp is there is another matter."""

    def __init__(self) -> None:
        super().__init__()
        self.there = True
        self.opened = 0
        self.coming_in: list[GatewayEvent] = []
        self.watched: list[float] = []

    async def open(self, epoch: int) -> None:
        self.opened += 1

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        await asyncio.sleep(0.01)
        return [event for event in self.coming_in if event.cursor > after]

    async def watch_typing(self, seconds: float) -> None:
        self.watched.append(seconds)

    async def prove_connected(self) -> None:
        if not self.there:
            raise ConnectionAway("WhatsApp gives no answer")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pipe from a connection host."""
    ours, theirs = os.pipe()
    with os.fdopen(ours) as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        yield
    os.close(theirs)


async def start(world: World, gateway: WedgedGateway, stop: asyncio.Event) -> asyncio.Task[int]:
    epoch = await SqlConnectionStore(world.database).raise_epoch(world.connection.id, NOW)
    link = Link(read_settings(), world.database, world.connection, gateway, epoch, stop, HostLine(io.StringIO()))
    return asyncio.create_task(link.run())


@pytest.mark.usefixtures("host")
async def test_connected_is_said_again_only_with_a_proof(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.link.SAID_AGAIN", timedelta(0))
    gateway, stop = WedgedGateway(), asyncio.Event()
    running = await start(world, gateway, stop)
    first = await world.connected()
    await eventually(world.fetch, lambda one: one.status_at > first.status_at)

    gateway.there = False
    away = await eventually(world.fetch, lambda one: one.status is ConnectionStatus.DISCONNECTED)
    assert away.reason == "WhatsApp gives no answer"
    opened = gateway.opened
    await eventually(world.fetch, lambda _: gateway.opened > opened)
    assert (await world.fetch()).status is ConnectionStatus.DISCONNECTED, "also not after it was opened anew"

    gateway.there = True
    await world.connected()
    stop.set()
    assert await running == 0


@pytest.mark.usefixtures("host")
async def test_clock_that_is_set_back_does_not_put_off_the_proof(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.link.SAID_AGAIN", timedelta(0))
    gateway, stop = WedgedGateway(), asyncio.Event()
    running = await start(world, gateway, stop)
    await world.connected()
    monkeypatch.setattr("workers.link.utc_now", lambda: utc_now() - timedelta(hours=1))
    gateway.there = False
    await eventually(world.fetch, lambda one: one.status is ConnectionStatus.DISCONNECTED)
    stop.set()
    assert await running == 0


@pytest.mark.usefixtures("host")
async def test_typing_is_watched_while_the_customer_is_to_be_waited_for(world: World) -> None:
    gateway, stop = WedgedGateway(), asyncio.Event()
    said = incoming(when=utc_now())
    gateway.coming_in = [GatewayEvent(cursor=1, body=said), GatewayEvent(cursor=2, body=Typing(jid=said.jid))]
    running = await start(world, gateway, stop)
    await world.connected()
    await until(lambda: bool(gateway.watched))
    assert gateway.watched == [world.business.config.debounce_seconds]
    stop.set()
    assert await running == 0


@pytest.mark.usefixtures("host")
async def test_attempt_that_cannot_be_asked_for_keeps_back_no_other(world: World) -> None:
    epoch = await SqlConnectionStore(world.database).raise_epoch(world.connection.id, NOW)
    stage = Stage(world.database, world.business, world.connection, epoch)
    accepted = await stage.accept("14155550001", "14155550002")
    left = [await stage.claim(accepted.send.id) for _ in range(2)]
    gateway, stop = WedgedGateway(), asyncio.Event()
    gateway.outcomes.extend([ConnectionAway("gone"), Sent(whatsapp_id="W2", at=NOW)])
    running = await start(world, gateway, stop)
    await world.connected()
    statuses = {(await stage.message(attempt.message_id)).status for attempt in left}
    assert statuses == {"unconfirmed", "sent"}
    stop.set()
    assert await running == 0
