"""What the library told, on disk before anything else happens with it; and which of our messages WhatsApp has.

The library acknowledges a message to WhatsApp no later than it tells us, so what is not on disk here is lost for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Engine, String, bindparam, delete, select, text
from sqlalchemy import Connection as SqlConnection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError

from boton.domain.gateway import Sent
from boton.whatsapp.own_tables import EVENTS, OURS, UNREAD

_PROOFS_KEPT = timedelta(days=7)
_EVENTS_KEPT = timedelta(hours=1)
_UNREAD_KEPT = timedelta(days=30)
_TRIM_EVERY_MS = 60_000
_TRIES = 240
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event as the library gave it. seq grows, also where an earlier journal was lost: it is at least the time of
    day, in milliseconds.
    """

    seq: int
    code: int
    payload: bytes


class Journal:
    """One number's. Everything blocks, for milliseconds; `append` for up to two minutes where the store is away."""

    def __init__(self, engine: Engine, connection_id: str) -> None:
        self._engine = engine
        self._connection_id = connection_id
        self._last = 0
        self._trimmed = 0
        self._insert: Callable[..., Any] = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert

    def append(self, code: int, payload: bytes, proved: Sequence[str] = (), at: datetime | None = None) -> None:
        """On disk when it returns. proved: ids of ours that the event proves to have reached WhatsApp."""
        self._insist(lambda sql: self._append(sql, code, payload, proved, at or datetime.now(UTC)))

    def read(self, seq: int, limit: int) -> Sequence[RawEvent]:
        """From that event on, oldest first."""
        with self._engine.connect() as sql:
            rows = sql.execute(_READ, {"id": self._connection_id, "seq": seq, "limit": limit})
            return [RawEvent(row.seq, row.code, bytes(row.payload)) for row in rows]

    def trim(self, seq: int, now: datetime) -> None:
        """The store has what was before that event. It is kept for an hour more, in case the store loses it again."""
        before = min(seq, _to_ms(now - _EVENTS_KEPT))
        if before - self._trimmed < _TRIM_EVERY_MS:
            return
        with self._engine.begin() as sql:
            sql.execute(_TRIM, {"of": self._connection_id, "before": before})
        self._trimmed = before

    def set_aside(self, event: RawEvent) -> None:
        """Nobody can read it yet: kept for a month, for a version that can. It is forgotten here like any other."""
        row = {"connection_id": self._connection_id, "seq": event.seq, "code": event.code, "payload": event.payload}
        with self._engine.begin() as sql:
            sql.execute(self._insert(UNREAD).values(**row).on_conflict_do_nothing())

    def take_up(self, is_readable: Callable[[RawEvent], bool]) -> None:
        """What was set aside and can be read by now is told once more, as if it had just come in."""
        with self._engine.connect() as sql:
            rows = sql.execute(_UNREAD, {"id": self._connection_id}).all()
        aside = [RawEvent(row.seq, row.code, bytes(row.payload)) for row in rows]
        for event in filter(is_readable, aside):
            with self._engine.begin() as sql:
                self._append(sql, event.code, event.payload, (), datetime.now(UTC))
                sql.execute(_TAKE_UP, {"of": self._connection_id, "that": event.seq})

    def drop(self, seqs: Sequence[int]) -> None:
        """Events that say nothing."""
        if seqs:
            with self._engine.begin() as sql:
                ours = EVENTS.c.connection_id == self._connection_id
                sql.execute(delete(EVENTS).where(ours, EVENTS.c.seq.in_(seqs)))

    def note_sent(self, attempt_id: str, message_id: str, at: datetime | None = None) -> None:
        """Which id an attempt has; with `at`, that WhatsApp has it."""
        self._insist(lambda sql: self._prove(sql, message_id, at, attempt_id))

    def find_sent(self, message_id: str) -> Sent | None:
        """The proof that WhatsApp has a message of ours."""
        row = self._find(message_id)
        if row is None or row.at_ms is None:
            return None
        return Sent(whatsapp_id=message_id, at=datetime.fromtimestamp(row.at_ms / 1000, UTC))

    def find_attempt(self, message_id: str) -> str | None:
        row = self._find(message_id)
        return None if row is None else row.attempt_id

    def forget_old(self, now: datetime) -> None:
        """Proofs of a week ago, and what nobody could read for a month."""
        with self._engine.begin() as sql:
            these = {"of": self._connection_id, "before": _to_ms(now - _PROOFS_KEPT)}
            sql.execute(_FORGET_PROOFS, these)
            sql.execute(_FORGET_UNREAD, these | {"before": _to_ms(now - _UNREAD_KEPT)})

    def _find(self, message_id: str) -> Any:
        with self._engine.connect() as sql:
            return sql.execute(_FIND, {"of": self._connection_id, "message": message_id}).one_or_none()

    def _append(self, sql: SqlConnection, code: int, payload: bytes, proved: Sequence[str], at: datetime) -> None:
        floor = max(self._last + 1, _to_ms(at))
        values = {"id": self._connection_id, "floor": floor, "code": code, "payload": payload}
        self._last = sql.execute(_APPEND, values).scalar_one()
        for message_id in proved:
            self._prove(sql, message_id, at)

    def _prove(self, sql: SqlConnection, message_id: str, at: datetime | None, attempt_id: str | None = None) -> None:
        told = {"attempt_id": attempt_id, "at_ms": None if at is None else _to_ms(at)}
        known = {key: value for key, value in told.items() if value is not None}
        insert = self._insert(OURS).values(connection_id=self._connection_id, message_id=message_id, **told)
        if attempt_id is None:
            sql.execute(insert.on_conflict_do_update(index_elements=_KEY, set_=known, where=OURS.c.at_ms.is_(None)))
        else:
            sql.execute(insert.on_conflict_do_update(index_elements=_KEY, set_=known))

    def _insist(self, write: Callable[[SqlConnection], None]) -> None:
        """Tries for a while: what cannot be written down now is lost."""
        for left in reversed(range(_TRIES)):
            try:
                with self._engine.begin() as sql:
                    return write(sql)
            except (OperationalError, InterfaceError, IntegrityError):
                if not left:
                    raise
            time.sleep(_PAUSE)
        return None


def _to_ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


_KEY = ["connection_id", "message_id"]
_READ = (
    select(EVENTS.c.seq, EVENTS.c.code, EVENTS.c.payload)
    .where(EVENTS.c.connection_id == bindparam("id"), EVENTS.c.seq >= bindparam("seq"))
    .order_by(EVENTS.c.seq)
    .limit(bindparam("limit"))
)
_TRIM = delete(EVENTS).where(EVENTS.c.connection_id == bindparam("of"), EVENTS.c.seq < bindparam("before"))
_UNREAD = (
    select(UNREAD.c.seq, UNREAD.c.code, UNREAD.c.payload)
    .where(UNREAD.c.connection_id == bindparam("id"))
    .order_by(UNREAD.c.seq)
)
_TAKE_UP = delete(UNREAD).where(UNREAD.c.connection_id == bindparam("of"), UNREAD.c.seq == bindparam("that"))
_FORGET_PROOFS = delete(OURS).where(OURS.c.connection_id == bindparam("of"), OURS.c.at_ms < bindparam("before"))
_FORGET_UNREAD = delete(UNREAD).where(UNREAD.c.connection_id == bindparam("of"), UNREAD.c.seq < bindparam("before"))
_FIND = select(OURS.c.attempt_id, OURS.c.at_ms).where(
    OURS.c.connection_id == bindparam("of"), OURS.c.message_id == bindparam("message")
)
_APPEND = text(
    "INSERT INTO boton_events (connection_id, seq, code, payload) "
    "SELECT :id, CASE WHEN coalesce(max(seq), 0) >= :floor THEN max(seq) + 1 ELSE :floor END, :code, :payload "
    "FROM boton_events WHERE connection_id = :id RETURNING seq"
).bindparams(bindparam("id", type_=String), bindparam("floor", type_=BigInteger))
