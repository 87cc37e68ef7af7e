"""`boton backup`, `boton restore` and `boton held`, as an operator types them."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from boton.cli.locks import take_lock
from boton.domain.connections import Connection, Gateway
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_library import migrate
from tests.cli.conftest import SECONDS, Shell, wait_until
from tests.store.builders import NOW
from tests.store.stage import Stage, incoming, numbers, set_stage
from tests.whatsapp.devices import link_device

T = TypeVar("T")
CUSTOMER = "5491120000001"


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """A store with a send that is under way, and a customer who waits for an answer."""
    assert shell.run("migrate").returncode == 0
    on_store(shell, _fill)
    return shell


async def _fill(database: Database) -> Stage:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.accept(*numbers(4))
    await stage.receive(incoming("¿me atienden?", number=CUSTOMER))
    return stage


def on_store(shell: Shell, work: Callable[[Database], Awaitable[T]]) -> T:
    async def run() -> T:
        database = open_database(f"sqlite:///{shell.data / 'boton.db'}")
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def businesses(shell: Shell) -> int:
    with closing(sqlite3.connect(shell.data / "boton.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM business").fetchone()[0])


def column(shell: Shell, statement: str) -> set[str]:
    with closing(sqlite3.connect(shell.data / "boton.db")) as connection:
        return {row[0] for row in connection.execute(statement)}


def backed_up(shell: Shell, name: str = "monday.db") -> Path:
    done = shell.run("backup", name)
    assert done.returncode == 0, done.stderr
    return shell.home / name


def test_backup_says_what_it_holds_and_is_its_owners(filled: Shell) -> None:
    done = filled.run("backup", "monday.db")
    assert done.returncode == 0, done.stderr
    assert "1 businesses, 5 chats, 5 messages; unfinished: 1 sends, 0 reminders, 1 messages to answer" in done.stdout
    assert "verified" in done.stdout
    file = filled.home / "monday.db"
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in filled.home.iterdir()) == ["data", "monday.db"]


def test_backup_replaces_a_file_only_when_told_to(filled: Shell) -> None:
    file = filled.home / "monday.db"
    file.write_text("precious")
    refused = filled.run("backup", "monday.db")
    assert (refused.returncode, file.read_text()) == (2, "precious")
    assert "--force" in refused.stderr
    assert filled.run("backup", "--force", "monday.db").returncode == 0
    assert file.read_bytes().startswith(b"SQLite format 3")


def test_backup_of_no_store_or_into_no_folder_is_one_line(shell: Shell) -> None:
    assert "boton migrate" in shell.run("backup", "monday.db").stderr
    shell.run("migrate")
    for place in ("nowhere/monday.db", "data"):
        refused = shell.run("backup", place)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)


def test_killed_backup_leaves_no_file_under_its_name(filled: Shell) -> None:
    on_store(filled, _flood)
    process = filled.start("backup", "monday.db")
    wait_until(lambda: list(filled.home.glob(".*.partial")) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait(SECONDS)
    file = filled.home / "monday.db"
    assert not file.exists() or _is_sound(file)
    file.unlink(missing_ok=True)
    backed_up(filled)


async def _flood(database: Database) -> None:
    business = (await set_stage(database)).business
    stage = await set_stage(database)
    assert stage.business != business
    await stage.accept(*numbers(5000))


def _is_sound(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


def test_killed_restore_leaves_the_store_as_it_was_or_restores_it(filled: Shell) -> None:
    on_store(filled, _flood)
    file = backed_up(filled)
    on_store(filled, set_stage)
    assert businesses(filled) == 4
    process = filled.start("restore", "--replace", file.name)
    wait_until(lambda: list(filled.data.glob("*.restoring*")) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait(SECONDS)
    assert _is_sound(filled.data / "boton.db")
    assert businesses(filled) in (3, 4)
    assert filled.run("restore", "--replace", file.name).returncode == 0
    assert businesses(filled) == 3
    assert list(filled.data.glob("*.restoring*")) == []


def test_restore_is_refused_while_anything_runs_on_the_folder(filled: Shell) -> None:
    file = backed_up(filled)
    for name in ("boton.lock", "connections.lock"):
        lock = take_lock(filled.data / name)
        assert lock is not None
        refused = filled.run("restore", "--replace", file.name)
        lock.close()
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
        assert "runs on the folder" in refused.stderr
    assert column(filled, "SELECT status FROM send") == {"queued"}


def test_restore_onto_a_business_wants_to_be_told_to(filled: Shell) -> None:
    file = backed_up(filled)
    refused = filled.run("restore", file.name)
    assert (refused.returncode, column(filled, "SELECT status FROM send")) == (2, {"queued"})
    assert "--replace" in refused.stderr
    done = filled.run("restore", "--replace", file.name)
    assert done.returncode == 0, done.stderr
    (aside,) = filled.data.glob("boton.db.replaced-*")
    assert str(aside) in done.stdout
    assert aside.stat().st_mode & 0o777 == (filled.data / "boton.db").stat().st_mode & 0o777 == 0o600


def test_held_work_is_listed_resumed_and_cancelled(filled: Shell) -> None:
    assert filled.run("held", "list").stdout == "Nothing is held.\n"
    filled.run("restore", "--replace", backed_up(filled).name)
    listed = filled.run("held", "list").stdout
    assert "Held: 1 sends, 0 reminders, 1 chats." in listed
    assert CUSTOMER not in listed
    assert "me atienden" not in listed
    doctor = filled.run("doctor")
    (line,) = [line for line in doctor.stdout.splitlines() if line.split()[1] == "held"]
    assert (doctor.returncode, line.split()[0]) == (0, "warn")
    assert "boton held resume" in line
    chat = next(word for word in listed.split() if word.startswith("cht_"))
    assert "1 chats" in filled.run("held", "resume", chat).stdout
    assert column(filled, "SELECT answer FROM message WHERE direction = 'incoming'") == {"due"}
    assert column(filled, "SELECT status FROM send") == {"paused"}
    assert "1 sends" in filled.run("held", "cancel").stdout
    assert column(filled, "SELECT status FROM send") == {"cancelled"}
    assert filled.run("held", "list").stdout == "Nothing is held.\n"
    assert "held" not in {line.split()[1] for line in filled.run("doctor").stdout.splitlines()[:-1]}


def test_held_work_that_is_not_there_is_one_line(filled: Shell) -> None:
    for arguments, line in {
        ("resume", "snd_none"): "There is no held send, reminder or chat snd_none.",
        ("cancel", "--business", "biz_none"): "There is no business biz_none.",
        ("list", "--business", "biz_none"): "There is no business biz_none.",
    }.items():
        done = filled.run("held", *arguments)
        assert (done.returncode, done.stderr) == (2, line + "\n")


def test_held_list_has_pages(filled: Shell) -> None:
    on_store(filled, _accept_many)
    assert filled.run("restore", "--replace", str(backed_up(filled))).returncode == 0
    first, second = (filled.run("held", "list", "--page", str(page)).stdout.splitlines() for page in range(2))
    rows = [[line for line in page if line.startswith("biz_")] for page in (first, second)]
    assert [len(page) for page in rows] == [50, 12]
    assert len({line for page in rows for line in page}) == 62
    assert "12 more: `boton held list --page 1`." in first
    assert any("Held: 61 sends, 0 reminders, 1 chats" in line for line in first + second)


async def _accept_many(database: Database) -> None:
    stage = await set_stage(database)
    for _ in range(60):
        await stage.accept()


def doctors_line(shell: Shell, about: str) -> str:
    return "".join(line for line in shell.run("doctor").stdout.splitlines() if line.split()[1] == about)


def test_restore_says_which_phones_are_to_be_linked_again(filled: Shell) -> None:
    """Where the linked device is still in its place, it is used on: no backup ever takes its place."""
    connection = on_store(filled, _link_on_whatsapp)
    file = backed_up(filled)
    restored = filled.run("restore", "--replace", str(file)).stdout
    assert f"boton link {connection.business_id}" in restored
    assert f"boton link {connection.business_id}" in doctors_line(filled, "devices")
    assert not (filled.data / "whatsapp").exists(), "looking creates nothing"
    devices = DeviceStore(filled.data, f"sqlite:///{filled.data / 'boton.db'}")
    migrate(devices, connection.id)
    link_device(devices, connection.id, str(connection.phone))
    devices.close()
    assert "boton link" not in filled.run("restore", "--replace", str(file)).stdout
    assert doctors_line(filled, "devices") == ""


async def _link_on_whatsapp(database: Database) -> Connection:
    business = await SqlBusinessStore(database).create_business("Otro", bot_new_chats=True, now=NOW)
    return await SqlConnectionStore(database).create_connection(business.id, Gateway.WHATSAPP, "5491138620812", NOW)
