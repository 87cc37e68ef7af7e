"""Businesses' sessions: one open at a time, that of the highest epoch."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from boton.errors import ConnectionAway, SessionReplaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """epoch: the highest ever opened. acknowledged: the gateway has everything up to that cursor."""

    phone: str
    epoch: int = -1
    open: bool = False
    acknowledged: int = 0


class Sessions:
    """At most one open session for each business phone: that of the highest epoch."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def fetch(self, phone: str) -> Session:
        row = self._db.execute(
            "SELECT phone, epoch, open, acknowledged FROM businesses WHERE phone = ?", (phone,)
        ).fetchone()
        return _to_session(row) if row else Session(phone=phone)

    def list_all(self, limit: int) -> Sequence[Session]:
        """In the order in which they were first opened."""
        rows = self._db.execute(
            "SELECT phone, epoch, open, acknowledged FROM businesses ORDER BY number LIMIT ?", (limit,)
        )
        return [_to_session(row) for row in rows]

    def open(self, phone: str, epoch: int) -> None:
        """Closes the sessions of lower epochs. Raises SessionReplaced when there was a higher one."""
        _check_epoch(self.fetch(phone), epoch)
        self._db.execute(
            "INSERT INTO businesses (phone, epoch, open, acknowledged) VALUES (?1, ?2, 1, 0)"
            " ON CONFLICT (phone) DO UPDATE SET epoch = ?2, open = 1",
            (phone, epoch),
        )

    def close(self, phone: str, epoch: int) -> None:
        """Of another epoch: nothing happens."""
        self._db.execute("UPDATE businesses SET open = 0 WHERE phone = ? AND epoch = ?", (phone, epoch))

    def check(self, phone: str, epoch: int) -> Session:
        """The open session of this epoch. Raises SessionReplaced, or ConnectionAway when it is not open."""
        session = self.fetch(phone)
        _check_epoch(session, epoch)
        if not session.open or session.epoch != epoch:
            raise ConnectionAway("There is no open session of this epoch: open one first.")
        return session

    def acknowledge(self, phone: str, cursor: int) -> None:
        self._db.execute("UPDATE businesses SET acknowledged = ? WHERE phone = ?", (cursor, phone))


def _check_epoch(session: Session, epoch: int) -> None:
    if epoch < session.epoch:
        raise SessionReplaced(f"Epoch {epoch} is closed: epoch {session.epoch} has opened.")


def _to_session(row: tuple[Any, ...]) -> Session:
    phone, epoch, is_open, acknowledged = row
    return Session(phone=phone, epoch=epoch, open=bool(is_open), acknowledged=acknowledged)
