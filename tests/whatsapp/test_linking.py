"""A phone is linked through the real Python side of the library, and the store tells each step of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import pytest
import pytest_asyncio
from sqlalchemy.exc import OperationalError

from boton.clock import utc_now
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.linking import LinkMethod, LinkRequest, Next, Pairing
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.linking import SqlLinkingStore
from boton.store.pairing import SqlPairingStore
from tests.contracts.gateways import NeonizeNetwork
from tests.waiting import SECONDS, eventually
from tests.whatsapp import events
from tests.whatsapp.devices import add_device
from tests.whatsapp.ffi import Refusal
from tests.whatsapp.network import FakeNetwork
from workers import pairing as module
from workers.pairing import link_phone, load_pair

PHONE = "5491138620899"


class Desk:
    """A business that asks for its phone to be linked, and the network on which that phone is."""

    def __init__(self, database: Database, played: NeonizeNetwork, business_id: str) -> None:
        self.database, self._played, self._business_id = database, played, business_id
        self.devices = played.new_world().store
        self.connection_id = ""
        self.network: FakeNetwork | None = None

    async def ask(self, method: LinkMethod = LinkMethod.QR, phone: str | None = None) -> None:
        wanted = LinkRequest(gateway=Gateway.WHATSAPP, phone=phone, method=method)
        linked = await SqlLinkingStore(self.database).link(self._business_id, wanted, utc_now(), lambda *_: {})
        self.connection_id = linked.connection_id
        self.network = FakeNetwork(PHONE, self.devices.engine(linked.connection_id))
        self._played.go.wires[self.devices.library_name(linked.connection_id)] = self.network

    async def withdraw(self, *, again: bool) -> None:
        linking = SqlLinkingStore(self.database)
        if again:
            await linking.link(self._business_id, LinkRequest(gateway=Gateway.WHATSAPP), utc_now(), lambda *_: {})
        else:
            await linking.log_out(self._business_id, utc_now())

    def run(self, deadline: float = SECONDS, store: SqlPairingStore | None = None) -> asyncio.Task[None]:
        store = store or SqlPairingStore(self.database)
        return asyncio.create_task(link_phone(store, self.devices, self.connection_id, load_pair, deadline))

    async def shown(self, holds: Callable[[Pairing], object]) -> Pairing:
        async def fetch() -> Pairing | None:
            return await SqlLinkingStore(self.database).fetch_pairing(self.connection_id)

        pairing = await eventually(fetch, lambda one: one is not None and holds(one))
        assert pairing is not None
        return pairing

    def scan(self, phone: str = PHONE) -> None:
        assert self.network is not None
        jid = f"{phone}:4@s.whatsapp.net"
        add_device(self.devices, self.connection_id, jid)
        self._played.go.wires[jid] = self.network
        (session,) = self.network.sessions
        session.push(events.paired(jid))
        session.push(events.connected())

    async def fetch(self) -> Connection:
        return await SqlConnectionStore(self.database).fetch_connection(self.connection_id)

    async def next(self) -> Next:
        return (await SqlPairingStore(self.database).advance_connection(self.connection_id, utc_now()))[0]


class AwayStore(SqlPairingStore):
    """Away when it is to be told that the phone has scanned."""

    def __init__(self, database: Database, *, away: int) -> None:
        super().__init__(database)
        self._away = away

    async def finish_pairing(self, connection_id: str, epoch: int, phone: str, now: datetime) -> str | None:
        self._away -= 1
        if self._away >= 0:
            raise OperationalError("", {}, Exception("away"))
        return await super().finish_pairing(connection_id, epoch, phone, now)


@pytest_asyncio.fixture
async def reachable(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A proxy, so that whether the machine has a network does not matter."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    yield
    server.close()


@pytest_asyncio.fixture
async def desk(sqlite_url: str, played: NeonizeNetwork, reachable: None) -> AsyncIterator[Desk]:
    database = open_database(sqlite_url)
    business = await SqlBusinessStore(database).create_business("Mi Negocio", bot_new_chats=True, now=utc_now())
    yield Desk(database, played, business.id)
    await database.close()


async def test_scanned_phone_is_the_connections_and_is_to_be_held(desk: Desk) -> None:
    await desk.ask()
    running = desk.run()
    pairing = await desk.shown(lambda one: one.qr)
    assert str(pairing.qr).startswith("https://wa.me/settings/linked_devices#")
    desk.scan()
    await asyncio.wait_for(running, SECONDS)
    connection = await desk.fetch()
    assert (connection.status, connection.phone) == (ConnectionStatus.CONNECTING, PHONE)
    assert await desk.next() is Next.HOLD
    device = desk.devices.find_device(desk.connection_id)
    assert device is not None
    assert device.phone == PHONE


async def test_code_is_shown_for_the_phone_that_asked(desk: Desk) -> None:
    await desk.ask(LinkMethod.CODE, PHONE)
    running = desk.run()
    assert (await desk.shown(lambda one: one.code)).code == "QG4X-CMR2"
    desk.scan()
    await asyncio.wait_for(running, SECONDS)
    assert (await desk.fetch()).phone == PHONE


async def test_code_that_whatsapp_refuses_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.ask(LinkMethod.CODE, PHONE)

    def refuse(_session: object, _phone: str) -> str:
        raise Refusal("server returned error 400")

    monkeypatch.setattr(desk.network, "ask_code", refuse)
    await asyncio.wait_for(desk.run(), SECONDS)
    connection = await desk.fetch()
    assert connection.status is ConnectionStatus.STOPPED
    assert "pairing code" in str(connection.reason)
    assert await desk.next() is Next.WAIT


async def test_nobody_scans_in_time(desk: Desk) -> None:
    await desk.ask()
    await asyncio.wait_for(desk.run(deadline=0.5), SECONDS)
    connection = await desk.fetch()
    assert (connection.status, connection.phone) == (ConnectionStatus.STOPPED, None)
    assert "in time" in str(connection.reason)


async def test_wrong_phone_is_not_used(desk: Desk) -> None:
    await desk.ask(LinkMethod.QR, PHONE)
    running = desk.run()
    await desk.shown(lambda one: one.qr)
    desk.scan("5491199999999")
    await asyncio.wait_for(running, SECONDS)
    connection = await desk.fetch()
    assert (connection.status, connection.linked_at) == (ConnectionStatus.STOPPED, None)
    assert "Another phone" in str(connection.reason)
    assert desk.devices.find_device(desk.connection_id) is None, "the phone has forgotten the device again"


@pytest.mark.parametrize("again", [True, False], ids=["asked again", "logged out"])
async def test_phone_that_scanned_what_was_withdrawn_forgets_the_device_again(desk: Desk, again: bool) -> None:
    await desk.ask()
    running = desk.run()
    await desk.shown(lambda one: one.qr)
    await desk.withdraw(again=again)
    desk.scan()
    await asyncio.wait_for(running, SECONDS)
    connection = await desk.fetch()
    assert (connection.phone, connection.linked_at) == (None, None)
    assert desk.devices.find_device(desk.connection_id) is None


async def test_store_that_is_away_when_the_phone_has_scanned_is_asked_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    await desk.ask()
    running = desk.run(store=AwayStore(desk.database, away=3))
    await desk.shown(lambda one: one.qr)
    desk.scan()
    await asyncio.wait_for(running, SECONDS)
    assert (await desk.fetch()).phone == PHONE
    assert desk.devices.find_device(desk.connection_id) is not None
