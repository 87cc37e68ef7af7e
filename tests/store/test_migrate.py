import asyncio
import os
import sqlite3
import sys
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlmodel import SQLModel

import boton.store.tables  # noqa: F401 - fills SQLModel.metadata
from boton.errors import StoreTooNew
from boton.store.migrate import StoreNotMigrated, _open, check, migrate


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / '50%' / 'boton.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


def _execute(url: str, statement: str) -> None:
    engine = _open(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_models_and_migrations_agree(store_url: str) -> None:
    engine = _open(store_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    engine.dispose()


def test_partial_indexes_are_partial_in_both_stores(sqlite_url: str, postgres_url: str) -> None:
    wanted = {
        "ix_connection_phone_active",
        "ix_message_whatsapp",
        "ix_message_in_flight",
        "ix_message_due",
        "ix_message_draft",
        "ix_message_unreplied",
    }
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as sqlite:
        in_sqlite = {name for (name,) in sqlite.execute("SELECT name FROM sqlite_master WHERE sql LIKE '% WHERE %'")}
    sqlite.close()
    with psycopg.connect(postgres_url) as postgres:
        found = postgres.execute("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '% WHERE %'")
        in_postgres = {name for (name,) in found}
    assert wanted <= in_sqlite
    assert in_postgres == in_sqlite


def test_migrating_twice_changes_nothing(empty_url: str) -> None:
    migrate(empty_url)
    migrate(empty_url)
    check(empty_url)


def test_store_that_was_never_migrated_is_told(empty_url: str) -> None:
    with pytest.raises(StoreNotMigrated, match="boton migrate"):
        check(empty_url)


def test_checking_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreNotMigrated):
        check(f"sqlite:///{tmp_path / 'boton.db'}")
    assert list(tmp_path.iterdir()) == []


def test_store_of_a_newer_version_is_refused(store_url: str) -> None:
    _execute(store_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNew, match="9999"):
        check(store_url)
    with pytest.raises(StoreTooNew, match="9999"):
        migrate(store_url)


def test_sqlite_files_are_for_their_owner_only(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "private" / "boton.db"
    before = os.umask(0)
    try:
        migrate(f"sqlite:///{file}")
        with sqlite3.connect(file) as connection:
            connection.execute("INSERT INTO meta VALUES ('a', 'b')")
            connection.commit()
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in file.parent.iterdir()}
        connection.close()
    finally:
        os.umask(before)
    assert modes == {"boton.db": "0o600", "boton.db-wal": "0o600", "boton.db-shm": "0o600"}


async def test_processes_that_migrate_at_once_do_not_disturb_each_other(empty_url: str) -> None:
    command = [sys.executable, "-c", "import sys; from boton.store.migrate import migrate; migrate(sys.argv[1])"]
    processes = [
        await asyncio.create_subprocess_exec(*command, empty_url, stderr=asyncio.subprocess.PIPE) for _ in range(4)
    ]
    errors = [(await process.communicate())[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], errors
    check(empty_url)


_SINCE_0003 = (
    *(f"DROP TABLE {table}" for table in ("tool_call", "turn_round", "follow_up", "token_day", "pairing")),
    "DROP INDEX ix_message_turn",
    *(
        f"ALTER TABLE {table} DROP COLUMN {column}"
        for table, column in (
            ("business", "daily_token_budget"),
            ("chat", "bot_unanswered"),
            ("chat", "bot_switched_at"),
            ("chat", "handed_off_at"),
            ("chat", "handed_off_reason"),
            ("chat", "turn_id"),
            ("turn", "recomposed"),
            ("connection", "linked_at"),
        )
    ),
)


def test_store_of_the_version_before_is_brought_up_to_date(store_url: str) -> None:
    for statement in _SINCE_0003:
        _execute(store_url, statement)
    _execute(store_url, "UPDATE alembic_version SET version_num = '0003'")
    with pytest.raises(StoreNotMigrated, match="boton migrate"):
        check(store_url)
    migrate(store_url)
    check(store_url)
    _execute(store_url, "SELECT turn_id, handed_off_at FROM chat")
