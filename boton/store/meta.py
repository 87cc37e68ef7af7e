"""Single facts about this store."""

from __future__ import annotations

from sqlmodel import Session

from boton.store.engine import Database
from boton.store.inserts import insert_or_ignore
from boton.store.tables import MetaRow

NAMESPACE_KEY = "temporal_namespace_id"
BACKUP_KEY = "backup_at"
"""Of `meta`, in a backup: when it was made. A store does not have it."""

RESTORED_KEY = "restored_from"
"""Of `meta`: when the backup was made that this store was restored from."""

BACKUP_KEY = "backup_at"
"""In a backup: when it was made. A store does not have it."""

RESTORED_KEY = "restored_from"
"""When the backup was made that this store was restored from."""


class SqlMetaStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, key: str) -> str | None:
        return await self._db.read(lambda session: _get(session, key))

    async def put_if_absent(self, key: str, value: str) -> str:
        """What is stored under this key: `value`, unless something was there already."""
        return await self._db.write(lambda session: _put_if_absent(session, key, value))


def _get(session: Session, key: str) -> str | None:
    row = session.get(MetaRow, key)
    return None if row is None else row.value


def _put_if_absent(session: Session, key: str, value: str) -> str:
    session.execute(insert_or_ignore(session.get_bind().dialect, MetaRow), {"key": key, "value": value})
    stored = _get(session, key)
    assert stored is not None
    return stored
