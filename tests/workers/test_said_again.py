"""When a link says that its number is connected."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from boton.domain.connections import ConnectionStatus
from boton.domain.gateway import GatewayEvent
from boton.errors import ConnectionAway
from boton.settings import read_settings
from boton.store.connections import SqlConnectionStore
from tests.activities.fakes import ScriptedGateway
from tests.store.builders import NOW
from tests.waiting import eventually
from tests.workers.conftest import World
from workers.host_line import HostLine
from workers.link import Link


class WedgedGateway(ScriptedGateway):
    """Reading from it never fails; whether WhatsApp is there is another matter."""

    def __init__(self) -> None:
        super().__init__()
        self.there = True
        self.opened = 0

    async def open(self, epoch: int) -> None:
        self.opened += 1

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        await asyncio.sleep(0.01)
        return ()

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


@pytest.mark.usefixtures("host")
async def test_connected_is_said_again_only_with_a_proof(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.link.SAID_AGAIN", timedelta(0))
    gateway, stop = WedgedGateway(), asyncio.Event()
    epoch = await SqlConnectionStore(world.database).raise_epoch(world.connection.id, NOW)
    link = Link(read_settings(), world.database, world.connection, gateway, epoch, stop, HostLine(io.StringIO()))
    running = asyncio.create_task(link.run())
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
