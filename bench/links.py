"""link.memory: what an idle WhatsApp link takes, beside a process that has only imported the two libraries it cannot do
without. The links are real processes, forked as a host has it, connected to a played network, with both queues open.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil

from bench.figures import Figure, Reach
from bench.progress import say
from bench.resting import MB, measure_at_rest
from bench.scale import Scale
from bench.side_process import serving
from bench.stack import scratch
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.migrate import migrate as migrate_store
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_library import migrate
from tests.temporal_server import TemporalServer
from tests.waiting import eventually
from tests.whatsapp.devices import link_device
from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.remote import played_links
from workers.links import Links

_LINKS = 20
_CONNECT_SECONDS = 120.0
_CHECK_SECONDS = 1.0


async def run(scale: Scale) -> list[Figure]:
    """One link and as many as a small host has, each beside as many bare processes, of which none runs meanwhile."""
    many = scale.of(_LINKS)
    bare_one, bare_many = _measure_bare(1), _measure_bare(many)
    with scratch() as folder:
        one, nursery = await _measure_links(folder / "one", 1)
        all_many, shared = await _measure_links(folder / "many", many)
    return [
        Figure(
            name="link.memory",
            value=one / MB,
            unit="MB PSS",
            against=bare_one / MB,
            basis=f"one link, beside its nursery of {nursery / MB:.0f} MB; neonize and temporalio imported",
            reach=Reach(1.3),
        ),
        Figure(
            name="link.memory.host",
            value=(all_many + shared) / many / MB,
            unit="MB PSS a link",
            against=bare_many / many / MB,
            basis=f"{many} links and their nursery ({shared / MB:.0f} MB); as many of those",
            reach=Reach(1.3),
        ),
    ]


def _measure_bare(count: int) -> int:
    with ExitStack() as running:
        return measure_at_rest([running.enter_context(serving("bench.bare_imports")) for _ in range(count)])


async def _measure_links(folder: Path, count: int) -> tuple[int, int]:
    """Bytes of so many links together, and of the nursery that they come from."""
    networks: dict[str, FakeNetwork] = {}
    url = f"sqlite:///{folder / 'boton.db'}"
    migrate_store(url)
    temporal = TemporalServer()
    try:
        await temporal.connect()
        settings = {"BOTON_DATA_DIR": str(folder), "BOTON_DATABASE_URL": url, "BOTON_TEMPORAL_ADDRESS": temporal.target}
        with played_links(networks) as variables, _environment(variables | settings):
            async with _linked(folder, url, networks, count) as pids:
                (nursery,) = {psutil.Process(pid).ppid() for pid in pids}
                return measure_at_rest(pids), measure_at_rest([nursery])
    finally:
        temporal.kill()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """What is started meanwhile finds them."""
    before = os.environ.copy()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@asynccontextmanager
async def _linked(folder: Path, url: str, networks: dict[str, FakeNetwork], count: int) -> AsyncIterator[list[int]]:
    """The pids of so many connected links."""
    database, devices, links = open_database(url), DeviceStore(folder, url), Links(lambda _: None)
    try:
        connections = [await _add_number(database, devices, networks, place) for place in range(count)]
        for connection in connections:
            await links.adopt_or_start(connection.id)
        await _wait_until_connected(database, links, connections)
        say(f"link.memory: {count} connected")
        yield [link.pid for link in links.running().values()]
    finally:
        await links.close()
        await database.close()
        devices.close()


async def _add_number(
    database: Database, devices: DeviceStore, networks: dict[str, FakeNetwork], place: int
) -> Connection:
    number, now = f"54911386200{place:02}", datetime.now(UTC)
    business = await SqlBusinessStore(database).create_business(number, bot_new_chats=False, now=now)
    connection = await SqlConnectionStore(database).create_connection(business.id, Gateway.WHATSAPP, number, now)
    await asyncio.to_thread(migrate, devices, connection.id)
    network = FakeNetwork(number, devices.engine(connection.id))
    networks[link_device(devices, connection.id, number)] = network
    return connection


async def _wait_until_connected(database: Database, links: Links, connections: list[Connection]) -> None:
    """Each is checked now and then, as its host does: too many are not started at once."""
    store = SqlConnectionStore(database)

    async def look(connection: Connection) -> Connection:
        await links.check(connection.id)
        await asyncio.sleep(_CHECK_SECONDS)
        return await store.fetch_connection(connection.id)

    async def connect(connection: Connection) -> None:
        connected = ConnectionStatus.CONNECTED
        await eventually(partial(look, connection), lambda one: one.status is connected, _CONNECT_SECONDS)

    await asyncio.gather(*map(connect, connections))
