"""A backup becomes the store, at once or not at all, whichever database that is; `holding` says what follows."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, func, select
from sqlmodel import Session, col

from boton.errors import BotonError, Conflict, StoreTooNew
from boton.store.backup import Contents, read_contents
from boton.store.columns import UtcDateTime
from boton.store.copying import copy_rows, our_tables, postgres_engine
from boton.store.engine import sqlite_engine
from boton.store.holding import hold_everything
from boton.store.meta import BACKUP_KEY
from boton.store.migrate import migrate, sqlite_file
from boton.store.sqlite_files import copy_pages, make_whole, open_file, put_in_place, remove, verify
from boton.store.tables import BusinessRow, ConnectionRow

_HEARD_OF = timedelta(seconds=60)
_LOCK_WAIT = "10s"


class NoBackup(BotonError):
    """The file was not made by `boton backup`, or not by a version that this one knows."""

    code = "no_backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """made_at: when the backup was made. contents: what it holds. aside: where the old SQLite store is from now on."""

    made_at: datetime
    contents: Contents
    aside: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """replace: a store that has a business may go. force: and so may one that links may still run on."""

    replace: bool = False
    force: bool = False


def restore(url: str, backup: Path, folder: Path, permission: Permission, now: datetime) -> Restored:
    """Puts the backup in the store's place, with everything unfinished held. The backup stays as it is.

    `folder`: where a copy of it may stand meanwhile. Whoever calls this has seen that nothing runs on the store.
    Raises NoBackup, Conflict, FileDamaged, StoreInUse, CopyIncomplete; the old store is untouched then.
    """
    made_at = _read_mark(backup)
    file = sqlite_file(url)
    scratch = (folder / "restore.db" if file is None else file).with_suffix(".restoring")
    try:
        if file is None:
            migrate(url)
            _check_quickly(url, permission, now)
        elif not permission.replace and _has_customers(file):
            raise _in_use()
        contents = _prepare(backup, scratch, now)
        aside = None if file is None else _exchange(file, scratch, now)
        if file is None:
            _refill(url, scratch, permission, now)
    finally:
        remove(scratch)
    return Restored(made_at=made_at, contents=contents, aside=aside)


# ---------------------------------------------------------------- the backup


def _read_mark(backup: Path) -> datetime:
    """When the backup was made; reading it changes nothing, not even beside it."""
    unknown = NoBackup(f"{backup} is no backup: name a file that `boton backup` has made.")
    if not backup.is_file():
        raise unknown
    try:
        with open_file(backup, "immutable=1") as connection:
            mark = connection.execute("SELECT value FROM meta WHERE key = ?", (BACKUP_KEY,)).fetchone()
    except sqlite3.DatabaseError:
        raise unknown from None
    if mark is None:
        raise unknown
    return datetime.fromisoformat(mark[0])


def _prepare(backup: Path, scratch: Path, now: datetime) -> Contents:
    """A copy of this version's schema, in which everything unfinished is held; what the backup held before that."""
    remove(scratch)
    url = f"sqlite:///{scratch}"
    scratch.touch(mode=0o600)
    copy_pages(backup, scratch, "immutable=1")
    verify(scratch)
    try:
        migrate(url)
    except StoreTooNew:
        raise NoBackup(f"{backup} was made by a newer version of BOTON: restore it with that version.") from None
    engine = sqlite_engine(url, begin="BEGIN IMMEDIATE")
    with engine.begin() as connection, Session(connection) as session:
        contents = read_contents(connection)
        hold_everything(session, now)
        session.commit()
    engine.dispose()
    make_whole(scratch)
    return contents


# ---------------------------------------------------------------- SQLite


def _has_customers(file: Path) -> bool:
    """Whether the store has a business, or may have one: nobody can tell of a damaged file."""
    if not file.exists():
        return False
    with open_file(file, "mode=rw") as store:
        try:
            return store.execute("SELECT 1 FROM business LIMIT 1").fetchone() is not None
        except sqlite3.DatabaseError as error:
            return "no such table" not in str(error)


def _exchange(file: Path, scratch: Path, now: datetime) -> Path | None:
    """The old file gets a name with the time in it, in the same folder."""
    aside = file.with_name(f"{file.name}.replaced-{now:%Y%m%dT%H%M%SZ}") if file.exists() else None
    put_in_place(scratch, file, aside)
    return aside


# ---------------------------------------------------------------- PostgreSQL


def _check_quickly(url: str, permission: Permission, now: datetime) -> None:
    """Before the work; looked at again under lock."""
    engine = postgres_engine(url)
    with engine.begin() as connection:
        _check_allowed(connection, permission, now)
    engine.dispose()


def _refill(url: str, scratch: Path, permission: Permission, now: datetime) -> None:
    """Emptied and filled in one transaction: whoever looks meanwhile waits, and finds one of the two."""
    source, target = sqlite_engine(f"sqlite:///{scratch}", begin="BEGIN"), postgres_engine(url)
    names = ", ".join(f'"{table.name}"' for table in our_tables())
    with source.begin() as reading, target.begin() as writing:
        writing.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
        writing.exec_driver_sql("LOCK TABLE business, connection")
        _check_allowed(writing, permission, now)
        writing.exec_driver_sql(f"TRUNCATE {names}")
        copy_rows(reading, writing)
    source.dispose()
    target.dispose()


def _check_allowed(connection: Connection, permission: Permission, now: datetime) -> None:
    heard = connection.execute(select(func.max(col(ConnectionRow.status_at), type_=UtcDateTime))).scalar_one()
    if not permission.force and heard is not None and now - heard < _HEARD_OF:
        raise Conflict(
            "A phone number on this store was heard of less than a minute ago: stop everything of BOTON that runs on "
            "it and wait for a minute; --force, where you know that nothing runs."
        )
    if not permission.replace and connection.execute(select(col(BusinessRow.id)).limit(1)).first() is not None:
        raise _in_use()


def _in_use() -> Conflict:
    return Conflict("The store holds a business already: make a backup of it, then restore with --replace.")
