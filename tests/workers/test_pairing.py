"""The pairing process: what it tells the store, and what ends it. The library's part is passed in."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.exc import OperationalError

from boton.clock import utc_now
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.linking import LinkMethod, LinkRequest, Next
from boton.errors import GatewayAbsent
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.linking import SqlLinkingStore
from boton.store.pairing import SqlPairingStore
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_library import migrate
from boton.whatsapp.pairing import Paired, PairingFailed, PairingStep
from tests.waiting import SECONDS, eventually
from tests.whatsapp.devices import link_device
from workers import pairing as module
from workers.pairing import Pair, link_phone
from workers.pairings import Pairings

PHONE = "5491150000001"
Tell = Callable[[PairingStep], Awaitable[None]]


class Desk:
    """A business whose phone is being linked."""

    def __init__(self, database: Database, business_id: str, devices: DeviceStore) -> None:
        self.database, self.business_id, self.devices = database, business_id, devices
        self.linking, self.pairing = SqlLinkingStore(database), SqlPairingStore(database)

    async def ask(self, method: LinkMethod = LinkMethod.QR, phone: str | None = None) -> str:
        wanted = LinkRequest(gateway=Gateway.WHATSAPP, phone=phone, method=method)
        return (await self.linking.link(self.business_id, wanted, utc_now(), lambda *_: {})).connection_id

    async def fetch(self) -> Connection:
        connection = await SqlConnectionStore(self.database).fetch_active_connection(self.business_id)
        assert connection is not None
        return connection

    async def run(self, connection_id: str, pair: Pair, deadline: float = SECONDS) -> None:
        await link_phone(self.pairing, self.devices, connection_id, lambda: pair, deadline)

    async def shown(self, connection_id: str) -> tuple[str | None, str | None]:
        pairing = await self.linking.fetch_pairing(connection_id)
        return (pairing.qr, pairing.code) if pairing else (None, None)


@pytest_asyncio.fixture
async def desk(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    database = open_database(sqlite_url)
    business = await SqlBusinessStore(database).create_business("Mi Negocio", bot_new_chats=True, now=utc_now())
    devices = DeviceStore(tmp_path, sqlite_url)
    yield Desk(database, business.id, devices)
    devices.close()
    await database.close()


class Phone:
    """Plays the library and the phone: shows what it is given, and scans after that."""

    def __init__(self, *steps: PairingStep, then: Paired | Exception | None) -> None:
        self._steps, self._then = steps, then
        self.asked: list[str | None] = []
        self.told = asyncio.Event()

    async def __call__(
        self, store: DeviceStore, connection_id: str, *, phone: str | None, tell: Tell, deadline: float
    ) -> Paired:
        self.asked.append(phone)
        for step in self._steps:
            await tell(step)
        self.told.set()
        if self._then is None:
            await asyncio.Event().wait()
        if isinstance(self._then, Exception):
            raise self._then
        assert self._then is not None
        return self._then


def a_step(*, qr: str | None = None, code: str | None = None, scanned: bool = False) -> PairingStep:
    return PairingStep(qr=qr, code=code, scanned=scanned, expires_at=utc_now() + timedelta(seconds=60))


def paired(phone: str = PHONE) -> Paired:
    return Paired(jid=f"{phone}:7@s.whatsapp.net", phone=phone)


async def test_phone_that_scans_is_linked(desk: Desk) -> None:
    phone = Phone(a_step(qr="2@one"), a_step(qr="2@two"), then=paired())
    connection_id = await desk.ask()
    await desk.run(connection_id, phone)
    connection = await desk.fetch()
    assert (connection.status, connection.phone) == (ConnectionStatus.CONNECTING, PHONE)
    assert phone.asked == [None], "a QR code is asked for, not a code for a phone"
    assert await desk.shown(connection_id) == (None, None)


async def test_newest_qr_is_shown_while_nobody_scans(desk: Desk) -> None:
    phone = Phone(a_step(qr="2@one"), a_step(qr="2@two"), then=None)
    connection_id = await desk.ask()
    running = asyncio.create_task(desk.run(connection_id, phone))
    await asyncio.wait_for(phone.told.wait(), SECONDS)
    assert await desk.shown(connection_id) == ("2@two", None)
    running.cancel()
    await asyncio.wait({running})


async def test_phone_that_has_taken_the_link_is_to_scan_nothing_more(desk: Desk) -> None:
    phone = Phone(a_step(qr="2@one"), a_step(scanned=True), then=None)
    connection_id = await desk.ask()
    running = asyncio.create_task(desk.run(connection_id, phone))
    await asyncio.wait_for(phone.told.wait(), SECONDS)
    assert await desk.shown(connection_id) == (None, None)
    connection = await desk.fetch()
    assert connection.status is ConnectionStatus.LINKING
    assert "has taken the link" in str(connection.reason)
    running.cancel()
    await asyncio.wait({running})


async def test_store_that_cannot_be_told_of_the_scan_keeps_nobody_from_being_linked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(desk.pairing, "record_step", away)
    await desk.run(await desk.ask(), Phone(a_step(scanned=True), then=paired()))
    assert (await desk.fetch()).status is ConnectionStatus.CONNECTING


async def test_code_is_asked_for_the_wanted_phone(desk: Desk) -> None:
    phone = Phone(a_step(code="QG4X-CMR2"), then=paired())
    await desk.run(await desk.ask(LinkMethod.CODE, PHONE), phone)
    assert phone.asked == [PHONE]
    assert (await desk.fetch()).status is ConnectionStatus.CONNECTING


@pytest.mark.parametrize(
    ("then", "word"),
    [
        (PairingFailed("Nobody linked the phone in time; ask for a new code."), "in time"),
        (PairingFailed("WhatsApp gave no pairing code: check the number, or link by QR code."), "no pairing code"),
        (paired("5491199999999"), "Another phone"),
    ],
    ids=["nobody scans", "code refused", "wrong phone"],
)
async def test_what_went_wrong_is_told(desk: Desk, then: Paired | Exception, word: str) -> None:
    connection_id = await desk.ask(LinkMethod.CODE, PHONE)
    await desk.run(connection_id, Phone(then=then))
    connection = await desk.fetch()
    assert connection.status is ConnectionStatus.STOPPED
    assert word in str(connection.reason)
    assert PHONE not in str(connection.reason)


async def test_library_that_cannot_be_loaded_is_told(desk: Desk) -> None:
    connection_id = await desk.ask()

    def load() -> Pair:
        raise GatewayAbsent("libmagic is missing: apt-get install libmagic1.")

    await link_phone(desk.pairing, desk.devices, connection_id, load)
    assert "libmagic1" in str((await desk.fetch()).reason)


async def test_library_that_hangs_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SPARE", 0.1)
    connection_id = await desk.ask()
    await asyncio.wait_for(desk.run(connection_id, Phone(then=None), deadline=0.1), SECONDS)
    assert (await desk.fetch()).status is ConnectionStatus.STOPPED


@pytest.mark.parametrize("again", [True, False], ids=["asked again", "logged out"])
async def test_request_that_was_withdrawn_ends_the_process_and_changes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
    connection_id = await desk.ask()
    phone = Phone(a_step(qr="2@one"), then=None)
    running = asyncio.create_task(desk.run(connection_id, phone))
    await asyncio.wait_for(phone.told.wait(), SECONDS)
    if again:
        await desk.ask()
    else:
        await desk.linking.log_out(desk.business_id, utc_now())
    await asyncio.wait_for(running, SECONDS)
    assert await desk.shown(connection_id) == (None, None)
    if again:
        assert (await desk.fetch()).status is ConnectionStatus.LINKING


async def test_nothing_is_linked_that_nobody_asked_for(desk: Desk) -> None:
    await desk.run("con_0", Phone(then=paired()))
    connection_id = await desk.ask()
    await desk.linking.log_out(desk.business_id, utc_now())
    await desk.run(connection_id, phone := Phone(then=paired()))
    assert phone.asked == []


# ---------------------------------------------------------------- the real process


def set_environment(monkeypatch: pytest.MonkeyPatch, folder: Path, url: str) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BOTON_DATA_DIR", str(folder))
    monkeypatch.setenv("BOTON_DATABASE_URL", url)


async def test_real_process_without_a_network_says_so_and_ends(
    desk: Desk, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real library: it loads, cannot reach WhatsApp, and its thread does not keep the process."""
    set_environment(monkeypatch, tmp_path, sqlite_url)
    connection_id = await desk.ask()
    await asyncio.wait_for(Pairings().pair(connection_id), SECONDS)
    connection = await desk.fetch()
    assert connection.status is ConnectionStatus.STOPPED
    assert connection.reason


async def test_host_that_is_told_to_stop_kills_the_process(
    desk: Desk, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, tmp_path, sqlite_url)
    pid_file = tmp_path / "pid"
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nexec sleep 60\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    pairing = asyncio.create_task(Pairings().pair(await desk.ask()))

    async def written() -> str:
        return pid_file.read_text().strip() if pid_file.exists() else ""

    pid = int(await eventually(written, bool))
    pairing.cancel()
    await asyncio.wait({pairing}, timeout=SECONDS)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_process_that_dies_is_tried_again_until_it_is_given_up(desk: Desk) -> None:
    connection_id = await desk.ask()
    for _ in range(3):
        assert (await desk.pairing.advance_connection(connection_id, utc_now()))[0] is Next.PAIR
        with pytest.raises(RuntimeError):
            await desk.run(connection_id, Phone(then=RuntimeError("the library")))
    assert (await desk.pairing.advance_connection(connection_id, utc_now()))[0] is Next.WAIT


@pytest.mark.parametrize("since", ["asked", "before"])
async def test_phone_that_a_dead_process_has_linked_is_not_asked_to_scan_again(desk: Desk, since: str) -> None:
    """A device from before the request does not count: the phone was to be linked anew."""
    connection_id = await desk.ask()
    await asyncio.to_thread(migrate, desk.devices, connection_id)
    link_device(desk.devices, connection_id, PHONE)
    if since == "before":
        await desk.ask()
    await desk.run(connection_id, phone := Phone(then=paired()))
    assert phone.asked == ([] if since == "asked" else [None])
    connection = await desk.fetch()
    assert (connection.status, connection.phone) == (ConnectionStatus.CONNECTING, PHONE)
