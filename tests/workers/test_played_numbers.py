"""Real link processes of WhatsApp numbers on a played network: several on one host, some of them killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.worker import Worker

from boton import names
from boton.domain.businesses import Business
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.messages import Lane, MessageStatus
from boton.ports import Page
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.connections import SqlConnectionStore
from boton.store.sends import SqlSendStore
from boton.temporal import sandbox_runner
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_client import migrate
from tests.store.builders import NOW, a_send
from tests.waiting import eventually, until
from tests.whatsapp.devices import link_device
from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.remote import played_links
from tests.workers.conftest import World
from workers.links import Links
from workflows.send import SendWorkflow
from workflows.starter import TemporalStarter

LINKS = int(os.environ.get("PLAYED_LINKS", "3"))
KILLS = int(os.environ.get("PLAYED_KILLS", "3"))
BACK_WITHIN = 15.0


@dataclass
class Played:
    """A business with its number on the played network."""

    business: Business
    connection: Connection
    network: FakeNetwork
    phone: str


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, FakeNetwork]]:
    networks: dict[str, FakeNetwork] = {}
    with played_links(networks) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield networks


@pytest_asyncio.fixture
async def numbers(
    world: World, networks: dict[str, FakeNetwork], tmp_path: Path, sqlite_url: str
) -> AsyncIterator[list[Played]]:
    store = DeviceStore(tmp_path, sqlite_url)
    numbers = []
    for place in range(LINKS):
        number, phone = f"54911386200{place:02}", f"54911700000{place:02}"
        business = await SqlBusinessStore(world.database).create_business(number, bot_new_chats=False, now=NOW)
        await SqlBusinessStore(world.database).update_config(business.id, {"pacing": {"profile": "off"}})
        connection = await SqlConnectionStore(world.database).create_connection(
            business.id, Gateway.WHATSAPP, number, NOW
        )
        await asyncio.to_thread(migrate, store, connection.id)
        network = FakeNetwork(number, store.engine(connection.id))
        network.add_phone(phone)
        networks[link_device(store, connection.id, number)] = network
        numbers.append(Played(business, connection, network, phone))
    yield numbers
    store.close()


@contextlib.asynccontextmanager
async def held(numbers: list[Played]) -> AsyncIterator[Links]:
    links = Links(lambda _: None)

    async def hold(connection_id: str) -> None:
        await links.adopt_or_start(connection_id)
        while await links.check(connection_id) is None:
            await asyncio.sleep(0.1)

    holding = [asyncio.create_task(hold(one.connection.id)) for one in numbers]
    try:
        yield links
    finally:
        for task in holding:
            task.cancel()
        await asyncio.wait(holding)
        await links.close()


async def is_up(world: World, one: Played, above: int = 0) -> Connection:
    async def fetch() -> Connection:
        return await SqlConnectionStore(world.database).fetch_connection(one.connection.id)

    return await eventually(fetch, lambda it: it.status is ConnectionStatus.CONNECTED and it.epoch > above)


async def texts_of(world: World, one: Played) -> list[str]:
    """What is stored of the customer's messages."""
    jid = f"{one.phone}@s.whatsapp.net"
    try:
        _, messages, _ = await SqlChatStore(world.database).list_messages(one.business.id, jid, limit=500)
    except Exception:  # noqa: BLE001 - no chat yet
        return []
    return [message.text for message in messages if message.direction == "incoming"]


async def test_killed_links_lose_and_repeat_nothing(world: World, numbers: list[Played]) -> None:
    worker = Worker(
        world.client, task_queue=names.WORK_QUEUE, workflows=[SendWorkflow], workflow_runner=sandbox_runner()
    )
    starter = TemporalStarter(world.client)
    written: dict[str, list[str]] = {one.phone: [] for one in numbers}
    sends, slowest = [], 0.0
    async with worker, held(numbers) as links:
        for one in numbers:
            await is_up(world, one)
        for kill in range(KILLS):
            for one in numbers:
                text_in = f"mensaje {kill}"
                written[one.phone].append(text_in)
                one.network.customer_writes(one.phone, text_in)
                accepted = await SqlSendStore(world.database).accept_send(a_send(one.business, [one.phone]))
                sends.append((one, accepted.send.id))
                await starter.start_send(
                    accepted.send.id, one.business.id, one.connection.id, lanes=(Lane.FAST, Lane.SLOW)
                )
            victim = numbers[kill % len(numbers)]
            before = await SqlConnectionStore(world.database).fetch_connection(victim.connection.id)
            os.kill(links.running()[victim.connection.id].pid, signal.SIGKILL)
            began = time.monotonic()
            await is_up(world, victim, above=before.epoch)
            slowest = max(slowest, time.monotonic() - began)
        for _, send_id in sends:
            handle = world.client.get_workflow_handle(names.send_workflow(send_id))
            await asyncio.wait_for(handle.result(), 120)
        for one in numbers:
            await eventually(lambda one=one: texts_of(world, one), lambda it, one=one: it == written[one.phone])  # type: ignore[misc]
        await until(lambda: all(len(one.network.phones[one.phone].received) >= KILLS for one in numbers))
        statuses = [await _status(world, one, send_id) for one, send_id in sends]
    received = [one.network.phones[one.phone].received for one in numbers]
    unconfirmed = statuses.count(MessageStatus.UNCONFIRMED)
    assert all(len(texts) == KILLS for texts in received), "each message once"
    assert unconfirmed == 0
    assert slowest < BACK_WITHIN
    print(f"{LINKS} links, {KILLS} kills: back within {slowest:.1f} s")


async def _status(world: World, one: Played, send_id: str) -> MessageStatus:
    page = Page(page=0, page_size=5)
    (recipient,), _ = await SqlSendStore(world.database).list_recipients(one.business.id, send_id, page)
    return recipient.status
