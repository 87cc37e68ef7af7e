import asyncio
import gc
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, func, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session, col

from boton import postgresql
from boton.store import engine
from boton.store.engine import Database, open_database
from boton.store.tables import MetaRow


def _put(key: str, value: str = "") -> Callable[[Session], str]:
    def put(session: Session) -> str:
        session.add(MetaRow(key=key, value=value))
        session.flush()
        return key

    return put


def _keys(session: Session) -> list[str]:
    return list(session.scalars(select(MetaRow.key).order_by(col(MetaRow.key))))


def _add_to(key: str, number: int) -> Callable[[Session], None]:
    def add(session: Session) -> None:
        row = session.get_one(MetaRow, key, with_for_update=True)
        row.value = str(int(row.value) + number)

    return add


async def test_what_was_written_is_read(database: Database) -> None:
    assert await database.write(_put("a")) == "a"
    assert await database.read(_keys) == ["a"]


async def test_read_sees_one_state_however_long_it_takes(database: Database) -> None:
    began, go_on = threading.Event(), threading.Event()

    def read(session: Session) -> tuple[list[str], list[str]]:
        before = _keys(session)
        began.set()
        assert go_on.wait(20)
        return before, _keys(session)

    reading = asyncio.create_task(database.read(read))
    assert await asyncio.to_thread(began.wait, 20)
    await database.write(_put("a"))
    go_on.set()
    assert await reading == ([], [])
    assert await database.read(_keys) == ["a"]


async def _in_one_group(database: Database, works: Sequence[Callable[[Session], str]]) -> list[str | BaseException]:
    """Lets the works wait behind one that takes its time, so that SQLite's writer finds all of them at once, and takes
    them along however long that lasts.
    """
    entered, go_on = threading.Event(), threading.Event()

    def hold(_session: Session) -> str:
        entered.set()
        assert go_on.wait(20)
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_GROUP_SECONDS", 60.0)
        holding = asyncio.create_task(database.write(hold))
        assert await asyncio.to_thread(entered.wait, 20)
        waiting = asyncio.gather(holding, *(database.write(work) for work in works), return_exceptions=True)
        await asyncio.sleep(0)
        go_on.set()
        return (await waiting)[1:]


async def test_failed_work_does_not_lose_its_neighbours(database: Database) -> None:
    def fail(session: Session) -> str:
        _put("half")(session)
        raise RuntimeError("halt")

    await database.write(_put("taken"))
    works = [_put("a"), fail, _put("b"), _put("taken"), _put("c")]
    answers = await _in_one_group(database, works)
    assert [answers[index] for index in (0, 2, 4)] == ["a", "b", "c"]
    assert isinstance(answers[1], RuntimeError)
    assert isinstance(answers[3], IntegrityError)
    assert await database.read(_keys) == ["a", "b", "c", "taken"]


async def test_failures_are_kept_apart(database: Database) -> None:
    def fail(number: int) -> Callable[[Session], str]:
        def work(session: Session) -> str:
            raise RuntimeError(str(number))

        return work

    answers = await _in_one_group(database, [fail(number) for number in range(20)])
    assert [str(answer) for answer in answers] == [str(number) for number in range(20)]


async def test_works_of_one_group_share_a_commit(sqlite_url: str) -> None:
    """A commit is an fsync: 60 works that wait together must not cost 60 of them."""
    database = open_database(sqlite_url)
    await database.write(_put("first"))
    path = sqlite_url.removeprefix("sqlite:///")
    versions: set[int] = set()
    watching, stop = threading.Event(), threading.Event()

    def watch() -> None:
        watcher = sqlite3.connect(path)
        while not stop.is_set():
            versions.add(watcher.execute("PRAGMA data_version").fetchone()[0])
            watching.set()
        watcher.close()

    thread = threading.Thread(target=watch)
    thread.start()
    await asyncio.to_thread(watching.wait, 20)
    await _in_one_group(database, [_put(str(number)) for number in range(60)])
    stop.set()
    thread.join()
    assert len(await database.read(_keys)) == 61
    await database.close()
    assert 1 <= len(versions) < 50


async def test_unflushed_changes_are_written(database: Database) -> None:
    await database.write(_put("a", "1"))
    await database.write(_add_to("a", 1))
    assert await database.read(lambda session: session.get_one(MetaRow, "a").value) == "2"


async def test_many_concurrent_writers_lose_nothing(database: Database) -> None:
    await database.write(_put("sum", "0"))
    await asyncio.gather(*(database.write(_add_to("sum", number)) for number in range(200)))
    assert await database.read(lambda session: session.get_one(MetaRow, "sum").value) == str(sum(range(200)))


async def test_two_processes_write_to_one_store(database: Database, store_url: str) -> None:
    script = """
import asyncio, sys
from boton.store.engine import open_database
from boton.store.tables import MetaRow

async def main(url, name):
    database = open_database(url)
    for number in range(40):
        await database.write(lambda session: session.add(MetaRow(key=f"{name}{number:02d}", value="")))
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", script, store_url, name) for name in "ab"]
    for number in range(40):
        await database.write(_put(f"c{number:02d}"))
    assert [await process.wait() for process in processes] == [0, 0]
    assert await database.read(_keys) == [f"{name}{number:02d}" for name in "abc" for number in range(40)]


async def test_two_writers_of_one_file_take_turns(sqlite_url: str) -> None:
    one, two = open_database(sqlite_url), open_database(sqlite_url)
    await one.write(_put("sum", "0"))
    works = [database.write(_add_to("sum", 1)) for _ in range(100) for database in (one, two)]
    await asyncio.gather(*works)
    assert await two.read(lambda session: session.get_one(MetaRow, "sum").value) == "200"
    await one.close()
    await two.close()


async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(session: Session) -> None:
        _put("a")(session)
        entered.set()
        assert go_on.wait(20)

    writing = asyncio.create_task(database.write(hold))
    assert await asyncio.to_thread(entered.wait, 20)
    assert await asyncio.wait_for(database.read(_keys), 10) == []
    go_on.set()
    await writing
    assert await database.read(_keys) == ["a"]


async def test_cancelled_caller_does_not_undo_its_work(database: Database) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(session: Session) -> None:
        entered.set()
        assert go_on.wait(20)
        _put("a")(session)

    writing = asyncio.create_task(database.write(hold))
    assert await asyncio.to_thread(entered.wait, 20)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    go_on.set()
    await database.write(_put("b"))
    await _until(database, ["a", "b"])


async def _until(database: Database, keys: list[str]) -> None:
    """Nobody is told when a cancelled caller's work is done."""
    async with asyncio.timeout(20):
        while await database.read(_keys) != keys:
            await asyncio.sleep(0.01)


async def test_closing_finishes_what_was_submitted(store_url: str) -> None:
    database = open_database(store_url)
    writing = [asyncio.create_task(database.write(_put(f"{number:02d}"))) for number in range(30)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*writing)
    again = open_database(store_url)
    assert len(await again.read(_keys)) == 30
    await again.close()


async def test_lost_deadlock_is_tried_again(postgres_url: str) -> None:
    """Two transactions take the same two rows crosswise: PostgreSQL ends one of them, and both get through."""
    one, two = open_database(postgres_url), open_database(postgres_url)
    await one.write(_put("a", "0"))
    await one.write(_put("b", "0"))
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def cross(first: str, second: str) -> Callable[[Session], None]:
        def work(session: Session) -> None:
            tries.append(first)
            _add_to(first, 1)(session)
            session.flush()
            if tries.count(first) == 1:
                both_hold_one.wait(20)
            _add_to(second, 1)(session)

        return work

    await asyncio.gather(one.write(cross("a", "b")), two.write(cross("b", "a")))
    values = await one.read(lambda session: [session.get_one(MetaRow, key).value for key in ("a", "b")])
    await one.close()
    await two.close()
    assert values == ["2", "2"]
    assert len(tries) == 3


async def test_what_is_no_lost_race_is_not_tried_again(postgres_url: str) -> None:
    database = open_database(postgres_url)
    await database.write(_put("a"))
    tries = 0

    def put_again(session: Session) -> None:
        nonlocal tries
        tries += 1
        _put("a")(session)

    with pytest.raises(IntegrityError):
        await database.write(put_again)
    await database.close()
    assert tries == 1


async def test_error_of_the_database_shows_no_value(database: Database) -> None:
    await database.write(_put("a", "secreto"))
    statement = update(MetaRow).where(col(MetaRow.key) == "a").values(key=None, value="secreto")
    with pytest.raises(IntegrityError) as raised:
        await database.write(lambda session: session.execute(statement))
    told = "".join(traceback.format_exception(raised.value))
    assert "UPDATE meta" in told
    assert "secreto" not in told


async def test_store_that_cannot_be_opened_fails_its_callers_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    database = open_database(f"sqlite:///{folder / 'boton.db'}")
    try:
        with pytest.raises(OperationalError):
            await database.write(lambda session: session.execute(text("SELECT 1")).scalar_one())
        folder.mkdir()
        assert await database.write(lambda session: session.execute(text("SELECT 1")).scalar_one()) == 1
    finally:
        await database.close()


async def test_rows_that_were_read_are_held_until_the_transaction_ends(database: Database) -> None:
    statements: list[str] = []

    def read_twice(session: Session) -> None:
        event.listen(session.connection(), "before_cursor_execute", lambda *told: statements.append(told[2]))
        session.get(MetaRow, "twice")
        gc.collect()
        session.get(MetaRow, "twice")

    await database.write(lambda session: session.add(MetaRow(key="twice", value="1")))
    await database.read(read_twice)
    assert len(statements) == 1


async def test_what_sqlite_takes_back_by_itself_is_not_told_as_done(sqlite_url: str) -> None:
    def lose(session: Session) -> str:
        session.connection().connection.driver_connection.rollback()  # type: ignore[union-attr]
        raise sqlite3.OperationalError("database or disk is full")

    database = open_database(sqlite_url)
    try:
        first, second = await _in_one_group(database, [_put("lost"), lose])
        assert isinstance(first, OperationalError)
        assert isinstance(second, Exception)
        assert await database.write(_put("kept")) == "kept"
        assert await database.read(_keys) == ["kept"]
    finally:
        await database.close()


async def test_failed_commit_leaves_the_writer_fit(sqlite_url: str) -> None:
    def create(session: Session) -> None:
        for statement in (
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
        ):
            session.connection().exec_driver_sql(statement)

    database = open_database(sqlite_url)
    try:
        await database.write(create)
        with pytest.raises(IntegrityError):
            await database.write(lambda session: session.connection().exec_driver_sql("INSERT INTO child VALUES (1)"))
        assert await database.write(_put("kept")) == "kept"
    finally:
        await database.close()


async def test_writer_who_waited_in_vain_for_the_lock_is_fit_again(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_LOCK_SECONDS", 0.05)
    database = open_database(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError):
            await database.write(_put("locked out"))
        other.execute("ROLLBACK")
        assert await database.write(_put("kept")) == "kept"
        assert await database.read(_keys) == ["kept"]
    finally:
        other.close()
        await database.close()


async def test_transaction_of_a_frozen_process_is_ended_and_run_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others get its locks without it; once it wakes, it reads what they wrote."""
    frozen, others = open_database(postgres_url), open_database(postgres_url)
    await others.write(_put("a", "1"))
    locked, awake = threading.Event(), threading.Event()

    def freeze(session: Session) -> None:
        row = session.get_one(MetaRow, "a", with_for_update=True)
        locked.set()
        assert awake.wait(30)
        row.value = str(int(row.value) + 1)

    with monkeypatch.context() as patch:
        patch.setattr(postgresql, "FROZEN_SECONDS", 1)
        freezing = asyncio.create_task(frozen.write(freeze))
        assert await asyncio.to_thread(locked.wait, 30)
    await asyncio.wait_for(others.write(_add_to("a", 10)), 20)
    awake.set()
    await freezing
    assert await others.read(lambda session: session.get_one(MetaRow, "a").value) == "12"
    await frozen.close()
    await others.close()


async def test_read_of_a_frozen_process_is_run_again(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "FROZEN_SECONDS", 1)
    database = open_database(postgres_url)
    began: list[int] = []

    def freeze(session: Session) -> list[str]:
        began.append(session.scalar(select(func.pg_backend_pid())) or 0)
        if len(began) == 1:
            with psycopg.connect(postgres_url, autocommit=True) as other:
                while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", began).fetchone():
                    time.sleep(0.05)
        return _keys(session)

    assert await database.read(freeze) == []
    assert len(began) == 2
    await database.close()
