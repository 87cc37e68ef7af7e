"""Customers' phones: who is on WhatsApp, who is online, who answers by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from boton.simulator.bodies import Fields

MAX_READ_AFTER_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """name: the push name that its messages bear. read_after_ms: it sends read receipts, so long after a delivery."""

    number: str
    name: str | None = None
    registered: bool = True
    online: bool = True
    auto_reply: str | None = None
    read_after_ms: int | None = None


_KNOWN = frozenset({"name", "registered", "online", "autoReply", "readAfterMs"})


def change_phone(phone: Phone, body: Mapping[str, Any]) -> Phone:
    """The phone as PUT /phones asks: what is not named stays, null switches off. Raises Invalid."""
    fields = Fields(body, _KNOWN)
    changed = replace(
        phone,
        registered=fields.flag("registered", phone.registered),
        online=fields.flag("online", phone.online),
    )
    if fields.has("name"):
        changed = replace(changed, name=fields.text_or_null("name", 100))
    if fields.has("autoReply"):
        changed = replace(changed, auto_reply=fields.text_or_null("autoReply"))
    if fields.has("readAfterMs"):
        changed = replace(changed, read_after_ms=fields.integer_or_null("readAfterMs", 0, MAX_READ_AFTER_MS))
    return changed


def to_body(phone: Phone) -> dict[str, Any]:
    return {
        "number": phone.number,
        "name": phone.name,
        "registered": phone.registered,
        "online": phone.online,
        "autoReply": phone.auto_reply,
        "readAfterMs": phone.read_after_ms,
    }


_COLUMNS = "number, name, registered, online, auto_reply, read_after_ms"


class Phones:
    """The table of phones. A number nobody has heard of is on WhatsApp and online."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def fetch(self, number: str) -> Phone:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM phones WHERE number = ?", (number,)).fetchone()
        return _to_phone(row) if row else Phone(number=number)

    def save(self, phone: Phone, place: int) -> None:
        """`place`: where the phone stands in the list of those last used, if it is new."""
        self._db.execute(
            "INSERT INTO phones (number, name, registered, online, auto_reply, read_after_ms, last_place)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (number) DO UPDATE SET name = ?2, registered = ?3,"
            " online = ?4, auto_reply = ?5, read_after_ms = ?6",
            (phone.number, phone.name, phone.registered, phone.online, phone.auto_reply, phone.read_after_ms, place),
        )

    def touch(self, number: str, place: int) -> None:
        """Something was written on that phone, or reached it."""
        self._db.execute(
            "INSERT INTO phones (number, registered, online, last_place) VALUES (?1, 1, 1, ?2)"
            " ON CONFLICT (number) DO UPDATE SET last_place = ?2",
            (number, place),
        )

    def list_recent(self, limit: int) -> Sequence[Phone]:
        """Those last used first."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM phones ORDER BY last_place DESC LIMIT ?",
            (limit,),
        )
        return [_to_phone(row) for row in rows]


def _to_phone(row: tuple[Any, ...]) -> Phone:
    number, name, registered, online, auto_reply, read_after_ms = row
    return Phone(
        number=number,
        name=name,
        registered=bool(registered),
        online=bool(online),
        auto_reply=auto_reply,
        read_after_ms=read_after_ms,
    )
