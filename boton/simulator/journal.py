"""The journal of each business phone: what its session is to learn."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any


class Journal:
    """What a business's session is to learn, in order, kept for good."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def append(self, business: str, body: dict[str, Any]) -> int:
        """The event's cursor."""
        done = self._db.execute(
            "INSERT INTO journal (business, body) VALUES (?, ?)", (business, json.dumps(body, ensure_ascii=False))
        )
        assert done.lastrowid is not None
        return done.lastrowid

    def read(self, business: str, after: int, limit: int) -> Sequence[tuple[int, str]]:
        """(cursor, body as JSON) after that cursor."""
        return self._db.execute(
            "SELECT cursor, body FROM journal WHERE business = ? AND cursor > ? ORDER BY cursor LIMIT ?",
            (business, after, limit),
        ).fetchall()
