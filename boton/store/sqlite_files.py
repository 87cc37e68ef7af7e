"""SQLite files as wholes: copied while others write, verified, taken out of WAL mode, put in another's place."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from boton.errors import BotonError

_LOCKED = {"SQLITE_BUSY", "SQLITE_LOCKED"}
_SIDE_FILES = ("-wal", "-shm", "-journal")


class FileDamaged(BotonError):
    """SQLite finds the file inconsistent."""

    code = "file_damaged"


class StoreInUse(BotonError):
    """Another process has the store open."""

    code = "store_in_use"


@contextmanager
def open_file(file: Path, options: str) -> Iterator[sqlite3.Connection]:
    """A connection to a file that exists; `options` of SQLite's URI, like `mode=rw`."""
    with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?{options}", uri=True)) as connection:
        yield connection


def copy_pages(source: Path, target: Path, options: str) -> None:
    """One consistent copy, in SQLite's own way: in WAL mode those who write to the source do not wait for it."""
    with open_file(source, options) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)


def verify(file: Path) -> None:
    """Raises FileDamaged unless everything is where SQLite expects it."""
    try:
        with open_file(file, "mode=ro") as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()
            lost = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError:
        found = lost = None
    if found != ("ok",) or lost is not None:
        raise FileDamaged("What was copied is damaged: look at the disk, and for another backup.")


def make_whole(file: Path) -> None:
    """Everything in the one file, no journal beside it, on disk. Raises StoreInUse while anybody has it open."""
    with open_file(file, "mode=rw") as connection:
        try:
            mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname not in _LOCKED:
                raise
            mode = "locked"
    if mode != "delete":
        raise StoreInUse(f"Another process has {file} open: stop everything of BOTON that runs on it.")
    fsync(file)


def put_in_place(new: Path, file: Path, aside: Path | None) -> None:
    """`new` becomes `file`; what was there is called `aside` from then on. Whoever looks finds one of the two.

    Raises StoreInUse, and OSError where the folder knows no links.
    """
    if aside is not None:
        _settle(file)
        os.link(file, aside)
        for suffix in _SIDE_FILES:  # of a damaged store: beside the new one, they would be taken for its own
            if _beside(file, suffix).exists():
                os.replace(_beside(file, suffix), _beside(aside, suffix))
    os.replace(new, file)
    fsync(file.parent)


def _settle(file: Path) -> None:
    try:
        make_whole(file)
    except sqlite3.DatabaseError:  # damaged: it is moved aside as it is, with all its files
        return


def remove(file: Path) -> None:
    """The file with all that SQLite puts beside it, where there is any."""
    for suffix in ("", *_SIDE_FILES):
        _beside(file, suffix).unlink(missing_ok=True)


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def fsync(path: Path) -> None:
    """What was written to a file, or to a folder's list of names, is on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
