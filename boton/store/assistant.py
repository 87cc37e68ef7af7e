"""How the language model does, for `/status`: one fact for the whole installation, written when it changes."""

from __future__ import annotations

import json
from datetime import datetime

from sqlmodel import Session

from boton.domain.conversations import Assistant
from boton.store.engine import Database
from boton.store.tables import MetaRow

_KEY = "assistant"


class SqlAssistantStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def note_assistant(self, problem: str | None, now: datetime) -> None:
        if (await self.fetch_assistant()).problem != problem:
            await self._db.write(lambda session: _note(session, problem, now))

    async def fetch_assistant(self) -> Assistant:
        return await self._db.read(_fetch)


def _note(session: Session, problem: str | None, now: datetime) -> None:
    value = json.dumps({"problem": problem, "since": now.isoformat()})
    session.merge(MetaRow(key=_KEY, value=value))


def _fetch(session: Session) -> Assistant:
    row = session.get(MetaRow, _KEY)
    if row is None:
        return Assistant()
    stored = json.loads(row.value)
    return Assistant(problem=stored["problem"], since=datetime.fromisoformat(stored["since"]))
