"""The messages between a customer's phone and a business, as the network keeps them."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

WAITING, SENT, DELIVERED, READ = "waiting", "sent", "delivered", "read"
"""waiting: the phone is offline, it has not left (or not reached) it. sent: on its way to a business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What somebody writes, before the network has it. at: milliseconds since 1970."""

    phone: str
    business: str
    from_phone: bool
    text: str
    type: str = "text"
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """A message in the file: `number` is its row, `id` what WhatsApp calls it."""

    number: int
    id: str
    letter: Letter


class Messages:
    """The table of messages, with the counters of the ledger and of the order on phones."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._place = max(self._highest("messages", "place"), self._highest("phones", "last_place"))
        self._seq = self._highest("messages", "seq")

    def next_place(self) -> int:
        self._place += 1
        return self._place

    def file(self, letter: Letter, status: str, place: int | None = None) -> Filed:
        """A new message; every message has an id of its own, a repeated attempt too."""
        id = "3EB0" + secrets.token_hex(9).upper()
        done = self._db.execute(
            "INSERT INTO messages (id, phone, business, from_phone, type, text, at, status, place)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (id, letter.phone, letter.business, letter.from_phone, letter.type, letter.text, letter.at, status, place),
        )
        assert done.lastrowid is not None
        return Filed(number=done.lastrowid, id=id, letter=letter)

    def record_delivery(self, filed: Filed, place: int, at: int, read_due: int | None) -> None:
        """It reached the phone: the ledger's next entry."""
        self._seq += 1
        self._db.execute(
            "UPDATE messages SET status = 'delivered', place = ?, seq = ?, delivered_at = ?, read_due = ?"
            " WHERE number = ?",
            (place, self._seq, at, read_due, filed.number),
        )

    def record_departure(self, filed: Filed, cursor: int) -> None:
        """It left the phone and stands in the business's journal."""
        self._db.execute(
            "UPDATE messages SET status = 'sent', cursor = ? WHERE number = ?",
            (cursor, filed.number),
        )

    def record_read(self, filed: Filed) -> None:
        self._db.execute("UPDATE messages SET status = 'read', read_due = NULL WHERE number = ?", (filed.number,))

    def list_waiting(self, phone: str, limit: int) -> Sequence[Filed]:
        """What an offline phone holds back or has not received, oldest first."""
        return self._list("phone = ? AND status = 'waiting' ORDER BY number LIMIT ?", (phone, limit))

    def list_to_read(self, now: int, limit: int) -> Sequence[Filed]:
        """Delivered messages whose reading is due, on phones that are online."""
        return self._list(f"read_due <= ? AND {_ONLINE} ORDER BY read_due LIMIT ?", (now, limit))

    def next_read(self) -> int | None:
        """When the next message is read, milliseconds since 1970."""
        row = self._db.execute(
            f"SELECT read_due FROM messages WHERE read_due IS NOT NULL AND {_ONLINE} ORDER BY read_due LIMIT 1"
        ).fetchone()
        return row[0] if row else None

    def list_of_phone(self, phone: str, limit: int) -> Sequence[dict[str, Any]]:
        """The newest `limit` that the phone wrote and received, in its order."""
        rows = self._db.execute(
            "SELECT m.id, m.phone, m.business, m.from_phone, m.type, m.text, m.at, m.status,"
            " m.cursor <= b.acknowledged FROM messages m LEFT JOIN businesses b ON b.phone = m.business"
            " WHERE m.phone = ? AND m.place IS NOT NULL ORDER BY m.place DESC LIMIT ?",
            (phone, limit),
        ).fetchall()
        return [_to_body(row) for row in reversed(rows)]

    def list_deliveries(self, after: int, limit: int) -> Sequence[dict[str, Any]]:
        """The ledger after that seq."""
        rows = self._db.execute(
            "SELECT seq, id, business, phone, text, delivered_at FROM messages WHERE seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        )
        names = ("seq", "id", "from", "to", "text", "timestamp")
        return [dict(zip(names, (*row[:5], to_timestamp(row[5])), strict=True)) for row in rows]

    @property
    def deliveries(self) -> int:
        """How many deliveries the ledger holds."""
        return self._seq

    def _list(self, where: str, values: tuple[Any, ...]) -> Sequence[Filed]:
        rows = self._db.execute(
            f"SELECT number, id, phone, business, from_phone, text, type, at FROM messages WHERE {where}",
            values,
        )
        return [_to_filed(row) for row in rows.fetchall()]

    def _highest(self, table: str, column: str) -> int:
        (highest,) = self._db.execute(f"SELECT max({column}) FROM {table}").fetchone()
        return int(highest or 0)


_ONLINE = "COALESCE((SELECT online FROM phones p WHERE p.number = messages.phone), 1)"


def to_timestamp(at: int) -> str:
    """Milliseconds since 1970 as ISO 8601 UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_filed(row: tuple[Any, ...]) -> Filed:
    number, id, phone, business, from_phone, text, type, at = row
    letter = Letter(phone=phone, business=business, from_phone=bool(from_phone), text=text, type=type, at=at)
    return Filed(number=number, id=id, letter=letter)


def _to_body(row: tuple[Any, ...]) -> dict[str, Any]:
    id, phone, business, from_phone, type, text, at, status, acknowledged = row
    return {
        "id": id,
        "from": phone if from_phone else business,
        "to": business if from_phone else phone,
        "type": type,
        "text": text,
        "timestamp": to_timestamp(at),
        "status": DELIVERED if from_phone and status == SENT and acknowledged else status,
    }
