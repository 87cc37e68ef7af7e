"""Migrates the store, and tells whether it fits this version of BOTON. The only user of Alembic; import it late."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

from boton.errors import BotonError, StoreTooNew
from boton.postgresql import PATIENCE
from boton.store.engine import driver_url, sqlite_engine

_FOLDER = Path(__file__).parent / "migrations"
_POSTGRES_LOCK = 0x424F544F4E
"""The advisory lock of whoever migrates: "BOTON" in ASCII."""


class StoreNotMigrated(BotonError):
    """The store is empty or was left by an older version."""

    code = "store_not_migrated"


def migrate(url: str) -> None:
    """Brings the store to this version's schema, in one transaction; whoever comes second waits and finds it done.

    Raises StoreTooNew when a newer version has migrated it. A new SQLite file is readable by its owner only.
    """
    with _locked_connection(url) as connection:
        config = _config()
        _check_known(_revision(connection), ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(url: str) -> None:
    """Raises StoreTooNew or StoreNotMigrated unless the store has exactly this version's schema."""
    scripts = ScriptDirectory.from_config(_config())
    revision = _current_revision(url)
    _check_known(revision, scripts)
    if revision != scripts.get_current_head():
        raise StoreNotMigrated("The store is not migrated to this version of BOTON: run `boton migrate`.")


def _check_known(revision: str | None, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreTooNew(
            f"The store was migrated by a newer version of BOTON (revision {revision}): "
            "install that version, or point BOTON_DATABASE_URL or BOTON_DATA_DIR to another store."
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _current_revision(url: str) -> str | None:
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return None
    engine = _open(url)
    try:
        with engine.connect() as connection:
            return _revision(connection)
    finally:
        engine.dispose()


@contextmanager
def _locked_connection(url: str) -> Iterator[Connection]:
    """A connection inside a transaction that only one process at a time can have."""
    file = sqlite_file(url)
    if file is not None:
        _create_private(file)
    engine = _open(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
            yield connection
    finally:
        engine.dispose()


def _open(url: str) -> Engine:
    if sqlite_file(url) is None:
        return create_engine(driver_url(url), hide_parameters=True, connect_args=PATIENCE)
    engine = sqlite_engine(url, begin="BEGIN IMMEDIATE")
    event.listen(engine, "connect", _allow_rebuilding)
    return engine


def _allow_rebuilding(connection: object, _record: object) -> None:
    """SQLite changes a table by building it anew, which enforced foreign keys would forbid."""
    connection.execute("PRAGMA foreign_keys = OFF")  # type: ignore[attr-defined]


def sqlite_file(url: str) -> Path | None:
    """The file of a store in SQLite; None of one in PostgreSQL."""
    parsed = make_url(driver_url(url))
    if parsed.get_backend_name() != "sqlite" or parsed.database is None:
        return None
    return Path(parsed.database)


def _create_private(file: Path) -> None:
    """SQLite gives the journal files the mode of the database file, so that all of them are 0600."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
