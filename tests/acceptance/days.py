"""Days pass while a stack is stopped."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from tests.acceptance.stack import Stack

AWAY_DAYS = 3


def days_pass(stack: Stack, tables: Collection[str] = ()) -> None:
    """The store of a stopped stack as if it had been stopped for days: every time in it lies so much further back.

    tables: only in these.
    """
    with sqlite3.connect(stack.data_dir / "boton.db") as store:
        for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not tables or table in tables:
                _move_back(store, table)
    store.close()


def _move_back(store: sqlite3.Connection, table: str) -> None:
    columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})") if row[2] == "DATETIME"]
    assert columns or table not in {"send", "message", "connection"}
    for column in columns:
        store.execute(
            f"UPDATE {table} SET {column} = strftime('%Y-%m-%d %H:%M:%f', {column}, '-{AWAY_DAYS} days') || '000'"
            f" WHERE {column} IS NOT NULL"
        )
