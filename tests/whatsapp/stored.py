"""What the store holds of played numbers, read past the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, create_engine, func, select
from sqlmodel import Session, col

from boton.domain.messages import Direction
from boton.store.engine import driver_url
from boton.store.tables import ConnectionRow, MessageRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A message, as the API would list it. number: the customer's."""

    number: str
    text: str
    status: str
    whatsapp_id: str | None


class PlayedStore:
    """address: of the store; nothing is written to it. For one thread."""

    def __init__(self, address: str) -> None:
        self._engine = create_engine(driver_url(address))

    def close(self) -> None:
        self._engine.dispose()

    def read_epochs(self) -> dict[str, tuple[int, bool]]:
        """Each connection's epoch, and whether it is connected."""
        columns = col(ConnectionRow.id), col(ConnectionRow.epoch), col(ConnectionRow.status)
        with Session(self._engine) as session:
            return {id: (epoch, status == "connected") for id, epoch, status in session.execute(select(*columns))}

    def list_messages(self, connection_id: str, direction: Direction) -> Sequence[Stored]:
        """In the order in which a chat shows them."""
        these = self._of(connection_id, direction)
        query = select(MessageRow).where(*these).order_by(col(MessageRow.at), col(MessageRow.id))
        with Session(self._engine) as session:
            return [
                Stored(
                    number=row.jid.partition("@")[0],
                    text=row.text or "",
                    status=row.status,
                    whatsapp_id=row.whatsapp_id,
                )
                for row in session.scalars(query)
            ]

    def count(self, connection_id: str, direction: Direction, *statuses: str) -> int:
        """With one of these statuses."""
        where = (*self._of(connection_id, direction), col(MessageRow.status).in_(statuses))
        with Session(self._engine) as session:
            return session.scalar(select(func.count()).select_from(MessageRow).where(*where)) or 0

    def _of(self, connection_id: str, direction: Direction) -> tuple[ColumnElement[bool], ...]:
        ours: Any = col(MessageRow.connection_id) == connection_id
        return ours, col(MessageRow.direction) == direction.value
