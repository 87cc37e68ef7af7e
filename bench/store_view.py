"""A look at a stack's SQLite file from outside, read-only: times as the store has them, without asking the API."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.progress import wait_for

_POLL = 0.005


@dataclass(frozen=True, slots=True)
class SendTimes:
    """From the first claim to the last record."""

    started: datetime
    finished: datetime

    @property
    def seconds(self) -> float:
        return (self.finished - self.started).total_seconds()


class StoreView:
    """Opens the file anew for each look, and so never keeps the writers' log from being folded back."""

    def __init__(self, file: Path) -> None:
        self._address = f"{file.as_uri()}?mode=ro"

    def claimed_at(self, send_id: str) -> datetime:
        """When the first message of the send was claimed; waits for it."""
        query = "SELECT min(at) FROM message WHERE send_id = ? AND status NOT IN ('queued', 'cancelled', 'expired')"
        return _moment(wait_for(lambda: self._first(query, send_id), 60, "a claim", every=_POLL))

    def finished(self, send_id: str, seconds: float = 60, *, every: float = _POLL) -> SendTimes:
        """Once the send is finished, every phone has its message, and said so. seconds: how long this may take."""
        under_way = "SELECT count(*) FROM message WHERE send_id = ? AND status IN ('queued', 'sending', 'sent')"
        done = "SELECT finished_at FROM send WHERE id = ?"
        wait_for(lambda: self._first(done, send_id), seconds, "a send to finish", every=every)
        wait_for(lambda: self._first(under_way, send_id) == 0, seconds, "its receipts", every=every)
        return self.send_times(send_id)

    def send_times(self, send_id: str) -> SendTimes:
        """Of a finished send."""
        started, finished = (f"SELECT {name} FROM send WHERE id = ?" for name in ("started_at", "finished_at"))
        return SendTimes(_moment(self._first(started, send_id)), _moment(self._first(finished, send_id)))

    def is_finished(self, send_id: str) -> bool:
        return self._first("SELECT finished_at FROM send WHERE id = ?", send_id) is not None

    def count(self, table: str, where: str = "1") -> int:
        """Rows of a table, with a condition that is ours."""
        return int(str(self._first(f"SELECT count(*) FROM {table} WHERE {where}")))

    def text(self, query: str) -> str:
        """The first value of a query that is ours."""
        return str(self._first(query))

    def _first(self, query: str, *values: str) -> object:
        with closing(sqlite3.connect(self._address, uri=True, timeout=30)) as connection:
            found = connection.execute(query, values).fetchone()
        return None if found is None else found[0]


def _moment(stored: object) -> datetime:
    return datetime.fromisoformat(str(stored)).replace(tzinfo=UTC)
