"""Real link processes: against a real simulator process, a SQLite store and a real Temporal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from boton.domain.businesses import Business
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from tests.simulator.process import SimulatorProcess
from tests.store.builders import NOW
from tests.temporal_server import TemporalServer
from tests.waiting import eventually
from workers import links as links_module
from workers.links import LinkProcess, Links
from workers.nurseries import Nursery

_phones = count(5491160000001)

HTTP_SECONDS = 60.0
PATIENCE = 600
"""Checks that a link may leave unanswered here, where they come ten times as often as in production: a machine that
stalls for some seconds is no reason to kill it.
"""


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    process = SimulatorProcess(tmp_path_factory.mktemp("simulator"))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """A server with a file, so that it can be killed and started again."""
    server = TemporalServer(tmp_path_factory.mktemp("temporal") / "temporal.db")
    yield server
    server.kill()


@dataclass
class World:
    """A business with a number on the simulator, and whoever holds it."""

    database: Database
    business: Business
    connection: Connection
    client: Client
    simulator: SimulatorProcess
    temporal: TemporalServer
    started: list[LinkProcess] = field(default_factory=list)
    nursery: Nursery | None = None

    async def start_link(self, connection_id: str | None = None) -> LinkProcess:
        """A link process as a host starts it."""
        self.nursery = self.nursery or await Nursery.start()
        link = await LinkProcess.start(self.nursery, connection_id or self.connection.id, lambda: None)
        self.started.append(link)
        return link

    async def fetch(self) -> Connection:
        return await SqlConnectionStore(self.database).fetch_connection(self.connection.id)

    async def connected(self, above: int = 0) -> Connection:
        """The connection, as soon as a link with a higher epoch than `above` is connected."""
        return await eventually(self.fetch, lambda one: one.status is ConnectionStatus.CONNECTED and one.epoch > above)

    @contextlib.asynccontextmanager
    async def held(self, links: Links) -> AsyncIterator[asyncio.Task[None]]:
        """The host's checks, faster than in production."""

        async def hold() -> None:
            await links.adopt_or_start(self.connection.id)
            while await links.check(self.connection.id) is None:
                await asyncio.sleep(0.1)

        holding = asyncio.create_task(hold())
        try:
            yield holding
        finally:
            holding.cancel()
            await asyncio.wait({holding})
            await links.close()

    def delivered(self, phone: str) -> list[str]:
        """The texts that reached a phone, repeats included."""
        answer = httpx.get(f"{self.simulator.url}/ledger", trust_env=False, timeout=HTTP_SECONDS)
        return [one["text"] for one in answer.raise_for_status().json()["deliveries"] if one["to"] == phone]

    def customer_writes(self, phone: str, text: str) -> None:
        body = {"to": self.connection.phone, "text": text}
        url = f"{self.simulator.url}/phones/{phone}/messages"
        httpx.post(url, json=body, trust_env=False, timeout=HTTP_SECONDS).raise_for_status()


@pytest_asyncio.fixture
async def world(
    sqlite_url: str,
    simulator: SimulatorProcess,
    temporal: TemporalServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    monkeypatch.setattr(links_module, "_GRACE_SECONDS", 60.0)  # whether it ends in order is no question of how fast
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOTON_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BOTON_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("BOTON_TEMPORAL_ADDRESS", temporal.target)
    monkeypatch.setenv("BOTON_SIMULATOR", "1")
    monkeypatch.setenv("BOTON_SIMULATOR_PORT", str(simulator.port))
    database = open_database(sqlite_url)
    business = await SqlBusinessStore(database).create_business("Mi Negocio", bot_new_chats=True, now=NOW)
    connection = await SqlConnectionStore(database).create_connection(
        business.id, Gateway.SIMULATOR, str(next(_phones)), NOW
    )
    client = await temporal.connect()
    world = World(database, business, connection, client, simulator, temporal)
    yield world
    for link in world.started:
        link.kill()
        await link.stop()
    if world.nursery is not None:
        await world.nursery.close()
    await database.close()
