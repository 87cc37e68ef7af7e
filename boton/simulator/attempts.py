"""What became of each attempt to send: sent, barred for good, or never seen."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """What became of an attempt. at: milliseconds since 1970; both None where it was barred unsent."""

    whatsapp_id: str | None
    at: int | None
    barred: bool


class Attempts:
    """What became of each attempt of a business; it decides nothing by itself and drops no repeat."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def find(self, business: str, attempt: str) -> AttemptRecord | None:
        row = self._db.execute(
            "SELECT whatsapp_id, at, barred FROM attempts WHERE business = ? AND id = ?", (business, attempt)
        ).fetchone()
        return AttemptRecord(whatsapp_id=row[0], at=row[1], barred=bool(row[2])) if row else None

    def record_sent(self, business: str, attempt: str, whatsapp_id: str, at: int) -> None:
        """A repeat keeps the first id: both were delivered, and the ledger tells."""
        self._db.execute(
            "INSERT INTO attempts (business, id, whatsapp_id, at, barred) VALUES (?, ?, ?, ?, 0)"
            " ON CONFLICT DO NOTHING",
            (business, attempt, whatsapp_id, at),
        )

    def bar(self, business: str, attempt: str) -> None:
        self._db.execute(
            "INSERT INTO attempts (business, id, barred) VALUES (?, ?, 1) ON CONFLICT DO NOTHING", (business, attempt)
        )
