"""`boton link`: the QR code in the terminal, its successors, and how it ends."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from boton.cli import linking
from boton.cli.linking import draw, exit_code, link_phone, to_view
from boton.clock import utc_now
from boton.domain.connections import Connection, ConnectionStatus
from boton.domain.linking import LinkMethod, Pairing
from boton.errors import InvalidRecipient, NotFound
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.pairing import SqlPairingStore
from tests.cli.conftest import Shell
from tests.cli.screen import Screen
from tests.waiting import SECONDS, eventually, until

PHONE = "5491150000001"


@pytest_asyncio.fixture
async def store(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOTON_DATABASE_URL", sqlite_url)
    monkeypatch.setattr(linking, "_LOOK_SECONDS", 0.02)
    database = open_database(sqlite_url)
    yield database
    await database.close()


async def a_business(store: Database) -> str:
    return (await SqlBusinessStore(store).create_business("Kiosco", bot_new_chats=False, now=utc_now())).id


async def active(store: Database, business_id: str) -> Connection:
    async def fetch() -> Connection | None:
        return await SqlConnectionStore(store).fetch_active_connection(business_id)

    connection = await eventually(fetch, lambda one: one is not None)
    assert connection is not None
    return connection


async def test_codes_are_drawn_until_the_phone_is_connected(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()  # capsys loses what another thread prints while it is read
    monkeypatch.setattr("sys.stdout", printed)
    business_id = await a_business(store)
    command = asyncio.create_task(asyncio.to_thread(link_phone, business_id, None))
    id = (await active(store, business_id)).id
    pairing, now = SqlPairingStore(store), utc_now()
    epoch, _ = await pairing.begin_pairing(id)

    async def seen() -> str:
        return printed.getvalue()

    for content in ("https://wa.me/settings/linked_devices#1", "https://wa.me/settings/linked_devices#2"):
        await pairing.record_step(id, epoch, qr=content, code=None, expires_at=now + timedelta(hours=1), now=now)
        await eventually(seen, lambda told, content=content: draw(content) in told)
    assert await pairing.finish_pairing(id, epoch, PHONE, now) is None
    await eventually(seen, lambda told: "It is connecting" in told)
    epoch = await SqlConnectionStore(store).raise_epoch(id, now)
    await SqlConnectionStore(store).record_status(id, epoch, ConnectionStatus.CONNECTED, None, now)
    assert await asyncio.wait_for(command, SECONDS) == 0
    assert f"+{PHONE} is connected" in await seen()


async def test_code_on_a_terminal_can_be_scanned_and_takes_the_place_of_the_one_before(
    store: Database, shell: Shell, sqlite_url: str
) -> None:
    business_id = await a_business(store)
    screen = Screen(rows=60)
    shell.start("link", business_id, stdout=screen.terminal, BOTON_DATABASE_URL=sqlite_url)
    id = (await active(store, business_id)).id
    pairing, now = SqlPairingStore(store), utc_now()
    epoch, _ = await pairing.begin_pairing(id)
    for content in (f"https://wa.me/settings/linked_devices#2@{'x' * 140}", "https://wa.me/settings/linked_devices#2"):
        await pairing.record_step(id, epoch, qr=content, code=None, expires_at=now + timedelta(hours=1), now=now)
        await eventually(screen.scan, lambda read, content=content: read == content)
    await until(lambda: "scan the QR code" in screen.read()[-1])
    assert "\n".join(screen.read_code()) == draw(content)
    screen.close()


async def test_code_for_a_phone_and_its_refusal(store: Database, capsys: pytest.CaptureFixture[str]) -> None:
    business_id = await a_business(store)
    command = asyncio.create_task(asyncio.to_thread(link_phone, business_id, f"+{PHONE}"))
    id = (await active(store, business_id)).id
    pairing, now = SqlPairingStore(store), utc_now()
    epoch, wanted = await pairing.begin_pairing(id)
    assert (wanted.method, wanted.phone) == (LinkMethod.CODE, PHONE)
    await pairing.fail_pairing(id, epoch, "WhatsApp gave no pairing code.", now)
    assert await asyncio.wait_for(command, SECONDS) == 1
    assert "gave no pairing code" in capsys.readouterr().out


async def test_unknown_business_or_phone(store: Database) -> None:
    with pytest.raises(NotFound):
        await asyncio.to_thread(link_phone, "biz_0", None)
    with pytest.raises(InvalidRecipient):
        await asyncio.to_thread(link_phone, "biz_0", "12")


async def test_what_is_shown(store: Database) -> None:
    business_id = await a_business(store)
    command = asyncio.create_task(asyncio.to_thread(link_phone, business_id, None))
    connection = await active(store, business_id)
    asked = Pairing(method=LinkMethod.QR, phone=None, asked_at=utc_now() - timedelta(minutes=1))
    assert "boton connections" in to_view(connection, asked).line
    coded = replace(asked, code="QG4X-CMR2", expires_at=utc_now() + timedelta(minutes=1))
    assert "QG4X-CMR2" in str(to_view(connection, coded).code)
    taken = replace(coded, code=None)
    assert to_view(connection, taken).code is None
    assert "has taken the link" in to_view(connection, taken).line
    late = replace(taken, expires_at=utc_now() - timedelta(minutes=1))
    assert "boton connections" in to_view(connection, late).line
    assert exit_code(connection) is None
    assert exit_code(replace(connection, active=False)) == 1
    epoch, _ = await SqlPairingStore(store).begin_pairing(connection.id)
    await SqlPairingStore(store).fail_pairing(connection.id, epoch, "x", utc_now())
    assert await asyncio.wait_for(command, SECONDS) == 1


def test_ctrl_c_says_that_the_linking_goes_on(shell: Shell) -> None:
    assert shell.run("migrate").returncode == 0
    business_id = shell.run("business", "create", "Kiosco").stdout.strip()
    process = shell.start("link", business_id)
    assert process.stdout is not None
    assert "WhatsApp is being asked" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert "three minutes more" in out
