"""The simulator's file: SQLite in WAL mode, owned by one process, one transaction for each thing that happens.

`synchronous=NORMAL`: what was acknowledged survives `kill -9` of the simulator (the promise made); the fsync of FULL
would only add the loss of power, against which a stand-in for a network needs no guard.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS phones (
    number TEXT PRIMARY KEY, name TEXT, registered INTEGER NOT NULL, online INTEGER NOT NULL,
    auto_reply TEXT, read_after_ms INTEGER, last_place INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS phones_by_last_place ON phones (last_place);

CREATE TABLE IF NOT EXISTS businesses (
    number INTEGER PRIMARY KEY, phone TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL, open INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL
);

-- phone: the customer's; from_phone: the customer wrote it. place: the order in which that phone shows it, NULL
-- until it arrived. seq: its number in the ledger. cursor: its number in the business's journal.
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, phone TEXT NOT NULL, business TEXT NOT NULL,
    from_phone INTEGER NOT NULL, type TEXT NOT NULL, text TEXT NOT NULL, at INTEGER NOT NULL, status TEXT NOT NULL,
    place INTEGER, seq INTEGER, delivered_at INTEGER, cursor INTEGER, read_due INTEGER
);
CREATE INDEX IF NOT EXISTS messages_by_place ON messages (phone, place);
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_seq ON messages (seq) WHERE seq IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages_waiting ON messages (phone, number) WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS messages_to_read ON messages (read_due) WHERE read_due IS NOT NULL;

-- whatsapp_id is NULL and barred 1: not sent, and never to be.
CREATE TABLE IF NOT EXISTS attempts (
    business TEXT NOT NULL, id TEXT NOT NULL, whatsapp_id TEXT, at INTEGER, barred INTEGER NOT NULL,
    PRIMARY KEY (business, id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS journal (
    cursor INTEGER PRIMARY KEY AUTOINCREMENT, business TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS journal_by_business ON journal (business, cursor);

CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Records:
    """The open file. Every statement runs on the event loop's thread: one is some 10 µs, a commit some 50."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error when the file is not a database, or another simulator has it open."""
        _create_private(path)
        self.db = sqlite3.connect(path, isolation_level=None, timeout=1.0, cached_statements=256)
        # Exclusive: counters live in memory, so a second process on the file would tear them.
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY"):
            self.db.execute(f"PRAGMA {pragma}").fetchall()
        self.db.executescript(_SCHEMA)
        self._start_journal()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. On return it is written; nothing may be awaited inside."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def close(self) -> None:
        self.db.close()

    def _start_journal(self) -> None:
        """Cursors of a new file begin at the clock's milliseconds: whoever kept a cursor of a deleted file, whose
        journal grew slower than that, does not skip what comes now."""
        with self.transaction():
            if self.db.execute("SELECT 1 FROM sqlite_sequence WHERE name = 'journal'").fetchone() is None:
                start = time.time_ns() // 1_000_000
                self.db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('journal', ?)", (start,))


def _create_private(path: Path) -> None:
    """The file for its owner only; SQLite gives the WAL beside it the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
