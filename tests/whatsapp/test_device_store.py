"""Where devices live, who owns them, what is journalled: on SQLite, and on PostgreSQL with the library's own tables."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from boton.domain.gateway import Sent
from boton.errors import SessionReplaced
from boton.whatsapp.address_book import AddressBook
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.journal import Journal
from boton.whatsapp.neonize_library import migrate
from boton.whatsapp.own_tables import EPOCHS
from boton.whatsapp.ownership import Ownership
from tests.whatsapp.devices import link_device

PHONE = "5491138620812"

START_OF_MACHINE = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture(params=["sqlite", "postgresql"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], DeviceStore]]:
    """Opens the store as a host with that folder sees it; on PostgreSQL hosts with different folders share it."""
    shared = request.param == "postgresql"
    url = request.getfixturevalue("empty_postgres_url") if shared else f"sqlite:///{tmp_path / 'boton.db'}"
    stores: list[DeviceStore] = []

    def open_one(host: str = "one") -> DeviceStore:
        stores.append(DeviceStore(tmp_path / (host if shared else ""), url))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[[str], DeviceStore]) -> DeviceStore:
    return open_store("one")


# ------------------------------------------------------------ devices


def test_real_library_makes_its_tables_and_a_device_is_found(store: DeviceStore) -> None:
    assert store.find_device("con_1") is None
    migrate(store, "con_1")
    migrate(store, "con_1")
    assert store.find_device("con_1") is None

    jid = link_device(store, "con_1", PHONE)

    device = store.find_device("con_1")
    assert device is not None
    assert (device.jid, device.lid, device.phone) == (jid, "900@lid", PHONE)
    assert len(device.key) == 32
    assert abs(datetime.now(UTC) - device.linked_at) < timedelta(seconds=60)


def test_file_of_the_library_can_be_read_while_it_writes(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path, f"sqlite:///{tmp_path}/boton.db")
    migrate(store, "con_1")
    with closing(sqlite3.connect(store.folder / "con_1.db")) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_next_host_finds_the_same_device_and_key(open_store: Callable[[str], DeviceStore]) -> None:
    store = open_store("one")
    migrate(store, "con_1")
    link_device(store, "con_1", PHONE)
    assert open_store("two").find_device("con_1") == store.find_device("con_1")


def test_device_that_the_library_deleted_is_gone(store: DeviceStore) -> None:
    migrate(store, "con_1")
    link_device(store, "con_1", PHONE)
    with store.engine("con_1").begin() as sql:
        sql.execute(text("DELETE FROM whatsmeow_device"))
    assert store.find_device("con_1") is None


def test_removal_forgets_one_connection_only(store: DeviceStore) -> None:
    for connection_id, phone in (("con_1", PHONE), ("con_2", "5491138620813")):
        migrate(store, connection_id)
        link_device(store, connection_id, phone, lid=phone[-3:])
        Journal(store.engine(connection_id), connection_id).append(17, b"x")

    store.remove("con_1")

    assert store.find_device("con_1") is None
    assert store.find_device("con_2") is not None
    assert Journal(store.engine("con_1"), "con_1").read(0, 10) == []
    assert len(Journal(store.engine("con_2"), "con_2").read(0, 10)) == 1


def test_files_are_for_the_owner_only(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path, f"sqlite:///{tmp_path / 'boton.db'}")
    migrate(store, "con_1")
    Ownership(store, "con_1").take(1)
    store.close()
    assert store.folder.stat().st_mode & 0o077 == 0
    assert {file.name for file in store.folder.iterdir() if file.stat().st_mode & 0o077} == set()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p%40@db.test/boton", "postgres://u:p%40@db.test/boton?sslmode=require"),
        ("postgresql+psycopg://127.0.0.1/boton", "postgres://127.0.0.1/boton?sslmode=disable"),
        (
            "postgres://h/b?sslmode=verify-full&pool_min_conns=3&connect_timeout=5",
            "postgres://h/b?connect_timeout=5&sslmode=verify-full",
        ),
        ("postgresql:///b?host=/run/pg", "postgres:///b?host=%2Frun%2Fpg&sslmode=disable"),
    ],
)
def test_address_for_the_librarys_driver(tmp_path: Path, url: str, expected: str) -> None:
    name = DeviceStore(tmp_path, url).library_name("con_1")
    assert name.partition("?")[0] == expected.partition("?")[0]
    always = {"search_path=whatsapp", "idle_in_transaction_session_timeout=20s"}
    assert set(name.partition("?")[2].split("&")) == {*expected.partition("?")[2].split("&"), *always}


# ------------------------------------------------------------ ownership


def test_higher_epoch_ends_a_lower_one(store: DeviceStore) -> None:
    old, new = Ownership(store, "con_1"), Ownership(store, "con_1")
    old.take(1)
    new.take(2)
    new.check()
    with pytest.raises(SessionReplaced):
        old.check()
    with pytest.raises(SessionReplaced):
        old.take(1)
    Ownership(store, "con_2").take(1)


def test_same_epoch_is_taken_once(store: DeviceStore) -> None:
    Ownership(store, "con_1").take(3)
    with pytest.raises(SessionReplaced):
        Ownership(store, "con_1").take(3)


def test_living_process_is_not_dead_and_one_that_left_is(store: DeviceStore) -> None:
    old, new = Ownership(store, "con_1"), Ownership(store, "con_1")
    old.take(1)
    new.take(3)
    assert not new.is_dead(1)
    assert new.is_dead(2), "it never opened the number, and never can"
    assert not new.is_predecessor_dead()

    old.leave()

    assert new.is_dead(1)
    assert new.is_predecessor_dead()


def test_host_that_died_without_a_word_is_waited_for_once(store: DeviceStore) -> None:
    elsewhere = f"{START_OF_MACHINE}/0/0"
    with store.engine("con_1").begin() as sql:
        sql.execute(EPOCHS.insert().values(connection_id="con_1", epoch=1, host=elsewhere, left_in_order=False))
    first, second = Ownership(store, "con_1"), Ownership(store, "con_1")
    first.take(2)
    assert not first.is_predecessor_dead()
    first.leave()

    second.take(3)

    assert second.is_predecessor_dead()
    assert not second.is_dead(1), "its attempts stay unknown"


_TAKE_AND_DIE = """
import os, sys
from pathlib import Path
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.ownership import Ownership
Ownership(DeviceStore(Path(sys.argv[1]), sys.argv[2]), "con_1").take(1)
os.kill(os.getpid(), 9)
"""


def take_and_die(store: DeviceStore) -> None:
    url = store._url.render_as_string(hide_password=False)
    died = subprocess.run([sys.executable, "-c", _TAKE_AND_DIE, store.folder.parent, url], timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL


def test_killed_process_is_known_to_be_dead_on_its_host_only(tmp_path: Path, empty_postgres_url: str) -> None:
    here, there = (DeviceStore(tmp_path / host, empty_postgres_url) for host in ("one", "two"))
    take_and_die(here)
    elsewhere = Ownership(there, "con_1")
    elsewhere.take(2)
    assert not elsewhere.is_dead(1), "a dead host and a slow one look the same"

    back = Ownership(here, "con_1")
    back.take(3)
    assert back.is_dead(1)
    assert not back.is_dead(2)
    assert elsewhere.is_dead(1), "what one host found out, all know"
    here.close()
    there.close()


@pytest.fixture
def copied(open_store: Callable[[str], DeviceStore], tmp_path: Path) -> Callable[[str], DeviceStore]:
    """The store as a host sees it that was made by copying the folder of host "one"."""

    def copy(name: str) -> DeviceStore:
        store = open_store("one")
        if store.is_shared:
            shutil.copytree(tmp_path / "one", tmp_path / name)
            return open_store(name)
        shutil.copytree(store.folder, tmp_path / name / "whatsapp")
        return DeviceStore(tmp_path / name, f"sqlite:///{tmp_path / name / 'boton.db'}")

    return copy


def test_copy_of_a_folder_does_not_take_the_living_for_dead(
    store: DeviceStore, copied: Callable[[str], DeviceStore]
) -> None:
    living = Ownership(store, "con_1")
    living.take(1)
    there = copied("copy")
    successor = Ownership(there, "con_1")
    successor.take(2)

    assert not successor.is_dead(1)
    assert not successor.is_predecessor_dead()
    there.close()


def test_copy_of_a_folder_does_not_know_whether_the_killed_are_dead(
    store: DeviceStore, copied: Callable[[str], DeviceStore]
) -> None:
    take_and_die(store)
    there = copied("copy")

    assert not Ownership(there, "con_1").is_dead(1)
    assert Ownership(store, "con_1").is_dead(1), "the folder itself does"
    there.close()


def test_file_that_was_put_in_the_place_of_a_lock_tells_nothing(store: DeviceStore, tmp_path: Path) -> None:
    """A folder that was brought back from a copy."""
    living = Ownership(store, "con_1")
    living.take(1)
    shutil.copytree(store.folder, tmp_path / "kept")
    (store.folder / "con_1.1.lock").unlink()
    assert not Ownership(store, "con_1").is_dead(1)
    shutil.copy(tmp_path / "kept" / "con_1.1.lock", store.folder)
    assert not Ownership(store, "con_1").is_dead(1)


def test_machine_that_was_started_again_knows_who_died_where_it_is_the_only_one(store: DeviceStore) -> None:
    """With PostgreSQL the clone of a machine has everything of it, down to the numbers of its files."""
    take_and_die(store)
    with store.engine("con_1").begin() as sql:
        before = sql.execute(select(EPOCHS.c.host)).scalar_one()
        assert START_OF_MACHINE in before
        sql.execute(update(EPOCHS).values(host=before.replace(START_OF_MACHINE, str(uuid.uuid4()))))

    assert Ownership(store, "con_1").is_dead(1) is not store.is_shared


def test_process_that_could_not_say_that_it_left_is_known_by_its_lock(
    store: DeviceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving = Ownership(store, "con_1")
    leaving.take(1)
    with store.engine("con_1").begin() as sql:
        sql.execute(text("ALTER TABLE boton_epochs RENAME TO away"))
    leaving.leave()
    with store.engine("con_1").begin() as sql:
        sql.execute(text("ALTER TABLE away RENAME TO boton_epochs"))

    assert Ownership(store, "con_1").is_dead(1)


# ------------------------------------------------------------ the journal


def test_journal_keeps_order_and_is_read_from_anywhere(store: DeviceStore) -> None:
    journal = Journal(store.engine("con_1"), "con_1")
    for number in range(5):
        journal.append(17, bytes([number]))

    all_of_it = journal.read(0, 10)
    assert [raw.payload for raw in all_of_it] == [bytes([number]) for number in range(5)]
    assert journal.read(all_of_it[2].seq, 2) == all_of_it[2:4]
    assert Journal(store.engine("con_1"), "con_1").read(0, 10) == all_of_it
    assert Journal(store.engine("con_1"), "con_2").read(0, 10) == []


def test_two_writers_never_share_a_number(store: DeviceStore) -> None:
    one, two = (Journal(store.engine("con_1"), "con_1") for _ in range(2))
    for _ in range(5):
        one.append(17, b"one")
        two.append(17, b"two")
    seqs = [raw.seq for raw in one.read(0, 20)]
    assert seqs == sorted(set(seqs))
    assert len(seqs) == 10


def test_lost_journal_goes_on_above_the_old_numbers(store: DeviceStore) -> None:
    """Or everything would be below the cursor that the store has, and never be read."""
    journal = Journal(store.engine("con_1"), "con_1")
    journal.append(17, b"old")
    (old,) = journal.read(0, 10)
    journal.drop([old.seq])

    fresh = Journal(store.engine("con_1"), "con_1")
    fresh.append(17, b"new", at=datetime.now(UTC) + timedelta(milliseconds=5))

    assert fresh.read(0, 10)[0].seq > old.seq


def test_what_is_stored_is_kept_an_hour_and_then_trimmed(store: DeviceStore) -> None:
    journal, now = Journal(store.engine("con_1"), "con_1"), datetime.now(UTC)
    journal.append(17, b"old", at=now - timedelta(hours=3))
    journal.append(17, b"young", at=now)
    old, young = journal.read(0, 10)

    journal.trim(old.seq, now)
    assert len(journal.read(0, 10)) == 2, "it is not stored yet"
    journal.trim(young.seq + 1, now)
    assert journal.read(0, 10) == [young]


def test_what_nobody_can_read_outlives_the_trimming_and_is_told_again_once_it_can_be(store: DeviceStore) -> None:
    journal, now = Journal(store.engine("con_1"), "con_1"), datetime.now(UTC)
    journal.append(17, b"of tomorrow", at=now - timedelta(hours=3))
    (unread,) = journal.read(0, 10)
    journal.set_aside(unread)
    journal.set_aside(unread)
    assert journal.read(0, 10) == [unread], "the cursor of the store may stand on it"
    journal.trim(unread.seq + 1, now)
    assert journal.read(0, 10) == []

    journal.take_up(lambda _: False)
    assert journal.read(0, 10) == []
    journal.take_up(lambda raw: raw == unread)
    journal.take_up(lambda _: True)

    (again,) = journal.read(0, 10)
    assert (again.code, again.payload) == (17, b"of tomorrow")
    assert again.seq > unread.seq


def test_what_nobody_could_read_for_a_month_is_forgotten(store: DeviceStore) -> None:
    journal, now = Journal(store.engine("con_1"), "con_1"), datetime.now(UTC)
    for days in (31, 29):
        journal.append(17, bytes([days]), at=now - timedelta(days=days))
    for event in journal.read(0, 10):
        journal.set_aside(event)
        journal.drop([event.seq])
    journal.forget_old(now)
    journal.take_up(lambda _: True)
    assert [event.payload for event in journal.read(0, 10)] == [bytes([29])]


def test_answer_to_the_send_outdoes_a_receipt(store: DeviceStore) -> None:
    journal = Journal(store.engine("con_1"), "con_1")
    received, answered = (datetime(2026, 1, 1, 12, minute, tzinfo=UTC) for minute in (1, 0))
    journal.append(18, b"", proved=["3EB0"], at=received)
    assert journal.find_sent("3EB0") == Sent(whatsapp_id="3EB0", at=received)
    journal.note_sent("att_1", "3EB0", answered)
    journal.append(18, b"", proved=["3EB0"], at=received)
    assert journal.find_sent("3EB0") == Sent(whatsapp_id="3EB0", at=answered)
    assert journal.find_attempt("3EB0") == "att_1"
    assert journal.find_sent("3EB1") is None


def test_known_id_is_no_proof(store: DeviceStore) -> None:
    journal = Journal(store.engine("con_1"), "con_1")
    journal.note_sent("att_1", "3EB0")
    assert journal.find_sent("3EB0") is None
    journal.append(18, b"", proved=["3EB0"])
    assert journal.find_sent("3EB0") is not None
    assert journal.find_attempt("3EB0") == "att_1"


def test_old_proofs_are_forgotten(store: DeviceStore) -> None:
    journal, now = Journal(store.engine("con_1"), "con_1"), datetime.now(UTC)
    journal.append(18, b"", proved=["old"], at=now - timedelta(days=8))
    journal.append(18, b"", proved=["young"], at=now)
    journal.forget_old(now)
    assert journal.find_sent("old") is None
    assert journal.find_sent("young") is not None


# ------------------------------------------------------------ addresses


def test_addresses_are_remembered_and_forgotten(store: DeviceStore) -> None:
    migrate(store, "con_1")
    book = AddressBook(store.engine("con_1"), "con_1")
    jid = f"{PHONE}@s.whatsapp.net"
    book.note_canonical(jid, "777@lid")
    book.note_canonical(jid, "778@lid")
    assert AddressBook(store.engine("con_1"), "con_1").find_canonical(jid) == "778@lid"
    assert book.phone_of("778@lid") == jid
    book.forget(jid)
    assert book.find_canonical(jid) is None


def test_lid_of_a_number_that_was_written_to_is_known_from_the_librarys_map(store: DeviceStore) -> None:
    """Before the message is sent: its receipt bears the LID alone, and may be faster than the answer."""
    migrate(store, "con_1")
    learn(store, "con_1", lid="777", phone="5491112345678")
    book = AddressBook(store.engine("con_1"), "con_1")
    assert book.write_to("541112345678@s.whatsapp.net") is None, "WhatsApp may write it in another way"
    assert book.write_to("541112345678@s.whatsapp.net") is None
    assert book.phone_of("777@lid") == "5491112345678@s.whatsapp.net"
    assert AddressBook(store.engine("con_1"), "con_1").phone_of("777@lid") == "5491112345678@s.whatsapp.net"
    assert book.phone_of("778@lid") is None


def test_number_behind_a_lid_is_not_learnt_from_others_who_share_the_map(store: DeviceStore) -> None:
    migrate(store, "con_1")
    learn(store, "con_1", lid="777", phone="5491112345678")
    AddressBook(store.engine("con_2"), "con_2").write_to("5491112345678@s.whatsapp.net")
    book = AddressBook(store.engine("con_1"), "con_1")
    book.write_to("777@lid")
    book.write_to("5491187654321@s.whatsapp.net")
    assert book.phone_of("777@lid") is None


def learn(store: DeviceStore, connection_id: str, lid: str, phone: str) -> None:
    """What the library does with what it hears."""
    with store.engine(connection_id).begin() as sql:
        sql.execute(text("INSERT INTO whatsmeow_lid_map (lid, pn) VALUES (:lid, :pn)"), {"lid": lid, "pn": phone})
