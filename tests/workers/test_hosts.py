"""Two hosts of connections, one PostgreSQL, one Temporal, WhatsApp numbers on a played network: each number has one
sender, whatever happens to a host, to a link or to Temporal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from neonize.events import EVENT_TO_INT
from neonize.proto.Neonize_pb2 import Message
from sqlalchemy import select, text
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client

from boton import names
from boton.domain.businesses import Business
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.messages import Lane, MessageStatus
from boton.domain.sends import NewRecipient
from boton.ports import Page
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.sends import SqlSendStore
from boton.store.tables import MessageRow
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_library import migrate
from boton.whatsapp.own_tables import EVENTS
from tests.store.builders import NOW, a_send
from tests.temporal_server import TemporalServer
from tests.waiting import eventually, until
from tests.whatsapp.devices import link_device
from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.remote import played_links
from tests.workers.hosts import Host, Process, is_alive
from workflows.policies import LINK_HEARTBEAT
from workflows.starter import TemporalStarter

pytestmark = pytest.mark.timeout(600)

NUMBERS = 3
BULK = 60
IN_HAND = 16
"""So many messages a link may have handed to the library at once."""

LONGER = LINK_HEARTBEAT.total_seconds() * 1.5
TAKEN_OVER_WITHIN = 150.0
_GOING_ON = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
_MESSAGE = EVENT_TO_INT[Message]


@dataclass
class Number:
    """A business with its number on the played network, and one customer."""

    business: Business
    connection: Connection
    network: FakeNetwork
    customer: str

    @property
    def id(self) -> str:
        return self.connection.id

    @property
    def connects(self) -> int:
        return len(self.network.connects)

    @property
    def sender(self) -> int:
        """The process that connected last."""
        pid: int = self.network.connects[-1].pid  # type: ignore[attr-defined]
        return pid

    def write_bulk(self) -> dict[str, str]:
        """A text for each of many new phones, no two alike."""
        phones = [f"5491180000{place:03}" for place in range(BULK)]
        for phone in phones:
            self.network.add_phone(phone)
        return {phone: f"para {phone}" for phone in phones}

    def attempts_of(self, pid: int) -> list[str]:
        return [words for session, words in self.network.attempts if session.pid == pid]  # type: ignore[attr-defined]


@dataclass
class Site:
    """Two hosts and what they share."""

    folder: Path
    environment: dict[str, str]
    database: Database
    store: DeviceStore
    temporal: TemporalServer
    client: Client
    numbers: list[Number]
    hosts: list[Host]

    async def fetch(self, number: Number) -> Connection:
        return await SqlConnectionStore(self.database).fetch_connection(number.id)

    async def connected(self, number: Number, above: int = 0) -> Connection:
        return await eventually(
            partial(self.fetch, number),
            lambda one: one.status is ConnectionStatus.CONNECTED and one.epoch > above,
            TAKEN_OVER_WITHIN,
        )

    def holder(self, number: Number) -> Host:
        return next(host for host in self.hosts if number.id in host.links())

    def other(self, host: Host) -> Host:
        return next(each for each in self.hosts if each is not host)

    async def send(self, number: Number, texts: Mapping[str, str]) -> str:
        """texts: by phone."""
        recipients = tuple(NewRecipient(to=to, jid=f"{to}@s.whatsapp.net", text=words) for to, words in texts.items())
        accepted = await SqlSendStore(self.database).accept_send(a_send(number.business, [], recipients=recipients))
        starter = TemporalStarter(self.client)
        lanes = (Lane.FAST, Lane.SLOW)
        await starter.start_send(accepted.send.id, number.business.id, number.id, lanes=lanes)
        return accepted.send.id

    async def outcome(self, number: Number, send_id: str) -> dict[str, MessageStatus]:
        """By phone, once the send is over."""
        handle = self.client.get_workflow_handle(names.send_workflow(send_id))
        await asyncio.wait_for(handle.result(), TAKEN_OVER_WITHIN * 2)
        page = Page(page=0, page_size=500)
        recipients, _ = await SqlSendStore(self.database).list_recipients(number.business.id, send_id, page)
        return {one.to: one.status for one in recipients}

    async def attempt(self, number: Number) -> int:
        """Which attempt at holding the number is going on; 0 while none is."""
        described = await self.client.get_workflow_handle(names.connection_workflow(number.id)).describe()
        pending = described.raw_description.pending_activities
        return next((one.attempt for one in pending if one.state == _GOING_ON), 0)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """No message can be stored. What the library tells can be journalled."""
        with self.store.engine("").begin() as sql:
            sql.execute(text(f"LOCK TABLE public.{MessageRow.__tablename__} IN ACCESS EXCLUSIVE MODE"))
            yield

    async def journalled(self) -> set[str]:
        """Numbers in whose journal is something."""
        with self.store.engine("").connect() as sql:
            return set(sql.execute(select(EVENTS.c.connection_id).where(EVENTS.c.code == _MESSAGE)).scalars())

    async def stored(self, number: Number) -> list[str]:
        """What is stored of the customer's messages."""
        jid = f"{number.customer}@s.whatsapp.net"
        try:
            _, messages, _ = await SqlChatStore(self.database).list_messages(number.business.id, jid, limit=500)
        except Exception:  # noqa: BLE001 - no chat yet
            return []
        return [message.text for message in messages if message.direction == "incoming"]


@pytest_asyncio.fixture
async def site(postgres_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    networks: dict[str, FakeNetwork] = {}
    database = open_database(postgres_url)
    store = DeviceStore(tmp_path / "nobody", postgres_url)
    temporal = TemporalServer(tmp_path / "temporal.db")
    with played_links(networks) as played, contextlib.ExitStack() as running:
        running.callback(temporal.kill)
        environment = {**played, "BOTON_DATABASE_URL": postgres_url, "BOTON_TEMPORAL_ADDRESS": temporal.target}
        client = await temporal.connect()
        numbers = [await _link(database, store, networks, place) for place in range(NUMBERS)]
        running.callback(Process("worker", tmp_path / "worker", environment).stop)
        hosts = [Host(tmp_path / name, environment) for name in ("one", "two")]
        for host in hosts:
            running.callback(host.stop)
        site = Site(tmp_path, environment, database, store, temporal, client, numbers, hosts)
        for number in numbers:
            await TemporalStarter(client).look_at_connection(number.id, number.business.id)
        for number in numbers:
            await site.connected(number)
        yield site
    store.close()
    await database.close()


async def _link(database: Database, store: DeviceStore, networks: dict[str, FakeNetwork], place: int) -> Number:
    phone, customer = f"54911386200{place:02}", f"54911700000{place:02}"
    business = await SqlBusinessStore(database).create_business(phone, bot_new_chats=False, now=NOW)
    await SqlBusinessStore(database).update_config(business.id, {"pacing": {"profile": "off"}})
    connection = await SqlConnectionStore(database).create_connection(business.id, Gateway.WHATSAPP, phone, NOW)
    await asyncio.to_thread(migrate, store, connection.id)
    network = FakeNetwork(phone, store.engine(connection.id))
    network.add_phone(customer)
    networks[link_device(store, connection.id, phone)] = network
    return Number(business, connection, network, customer)


async def test_killed_host_loses_and_repeats_nothing(site: Site) -> None:
    """Killed while a bulk goes out, with messages that are journalled and not yet stored: the store stands still."""
    host = site.holder(site.numbers[0])
    numbers = [number for number in site.numbers if number.id in host.links()]
    number, links = numbers[0], host.links()
    epochs = {each.id: (await site.fetch(each)).epoch for each in numbers}
    number.network.set_faults(latencyMs=50)
    bulk = await site.send(number, number.write_bulk())
    await until(lambda: len(number.network.attempts) > 10)

    with site.standing_still():
        for each in numbers:
            each.network.customer_writes(each.customer, "antes")
        await eventually(site.journalled, lambda journalled: {each.id for each in numbers} <= journalled)
        assert [await site.stored(each) for each in numbers] == [[]] * len(numbers)
        host.kill()
        await until(lambda: not any(map(is_alive, links.values())))
    tried = len(number.attempts_of(links[number.id]))
    for each in numbers:
        each.network.customer_writes(each.customer, "mientras tanto")

    for each in numbers:
        await site.connected(each, above=epochs[each.id])
        await eventually(partial(site.stored, each), lambda stored: stored == ["antes", "mientras tanto"])
    assert_sent_once(number, await site.outcome(number, bulk))
    assert len(number.attempts_of(links[number.id])) <= tried + IN_HAND, "what was on the wire"


@pytest.mark.parametrize("frozen", ["the host", "the link", "both"])
async def test_what_was_frozen_and_wakes_sends_nothing_any_more(site: Site, frozen: str) -> None:
    """One number is idle, and its WhatsApp would let two senders be; the other is in the middle of a bulk."""
    host = max(site.hosts, key=lambda each: len(each.links()))
    idle, busy = [number for number in site.numbers if number.id in host.links()][:2]
    old = {number.id: host.links()[number.id] for number in (idle, busy)}
    epochs = {number.id: (await site.fetch(number)).epoch for number in (idle, busy)}
    idle.network.jealous = False
    busy.network.set_faults(latencyMs=50)
    bulk = await site.send(busy, busy.write_bulk())
    await until(lambda: len(busy.network.attempts) > 10)
    if frozen != "the link":
        host.signal(signal.SIGSTOP)
    if frozen != "the host":
        for pid in old.values():
            os.kill(pid, signal.SIGSTOP)

    for number in (idle, busy):
        await site.connected(number, above=epochs[number.id])
    await site.outcome(idle, await site.send(idle, {idle.customer: "mientras tanto"}))
    new = {number.id: number.sender for number in (idle, busy)}
    host.signal(signal.SIGCONT)
    for pid in old.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    await until(lambda: not any(map(is_alive, old.values())))
    outcome = await site.outcome(busy, bulk)
    await site.outcome(idle, await site.send(idle, {idle.customer: "después"}))
    assert idle.network.phones[idle.customer].received == ["mientras tanto", "después"]
    assert {session.pid for session, _ in idle.network.attempts} == {new[idle.id]}  # type: ignore[attr-defined]
    assert_sent_once(busy, outcome)
    assert set(busy.attempts_of(old[busy.id])).isdisjoint(busy.attempts_of(new[busy.id]))
    for number in (idle, busy):
        assert (await site.fetch(number)).epoch == epochs[number.id] + 1, "it changed hands once"
        pids = [session.pid for session in number.network.connects]  # type: ignore[attr-defined]
        assert pids[0] == old[number.id]
        assert set(pids[1:]) == {new[number.id]}
    assert set().union(*(each.living_links() for each in site.hosts)) == {each.sender for each in site.numbers}


async def test_temporal_that_goes_and_comes_back_reconnects_nobody(site: Site) -> None:
    holders = {number.id: (site.holder(number), number.sender) for number in site.numbers}
    site.temporal.kill()
    killed_at = time.monotonic()
    for number in site.numbers:
        number.network.customer_writes(number.customer, "sin Temporal")
    for number in site.numbers:
        await eventually(partial(site.stored, number), lambda stored: stored == ["sin Temporal"])
    await until(lambda: time.monotonic() - killed_at > LONGER)
    site.temporal.start()

    for number in site.numbers:
        await eventually(partial(site.attempt, number), lambda attempt: attempt > 1, 2 * TAKEN_OVER_WITHIN)
        assert_sent_once(number, await site.outcome(number, await site.send(number, {number.customer: "hola"})))
    assert {number.id: (site.holder(number), number.sender) for number in site.numbers} == holders
    assert [number.connects for number in site.numbers] == [1] * NUMBERS


def assert_sent_once(number: Number, outcome: Mapping[str, MessageStatus]) -> None:
    """What did not arrive is told to be unconfirmed, or not sent where that came out later, and it is no more than what
    was in the hands of the one that ended.
    """
    received = {phone: len(number.network.phones[phone].received) for phone in outcome}
    assert set(received.values()) <= {0, 1}
    missing = {phone for phone, copies in received.items() if not copies}
    assert {outcome[phone] for phone in missing} <= {MessageStatus.UNCONFIRMED, MessageStatus.FAILED}
    told = {outcome[phone] for phone in outcome.keys() - missing}
    assert told <= {MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.UNCONFIRMED}
    assert len(missing) <= IN_HAND
