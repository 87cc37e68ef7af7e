"""The number over which a business sends, and what its pace depends on, read as columns: an acceptance waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, select
from sqlmodel import Session, col

from boton.domain.connections import Gateway
from boton.domain.pacing import Pacing, to_pacing
from boton.errors import Conflict, NotFound, StaleEpoch
from boton.store.asking import ask
from boton.store.tables import BusinessRow, ConnectionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A connection, with what its business says of times."""

    connection_id: str
    pacing: Pacing
    linked_at: datetime
    closed_until: datetime | None
    timezone: str | None
    quiet_hours: dict[str, Any] | None


def fetch_active(session: Session, business_id: str) -> Number:
    """The one over which this business sends now. Raises Conflict when it has none."""
    number = _fetch(session, _ACTIVE, business_id)
    if number is None:
        raise Conflict("This business has no connected phone: link one (POST /api/v1/connection), then send again.")
    return number


def fetch_number(session: Session, connection_id: str) -> Number:
    """Raises NotFound."""
    number = _fetch(session, _ONE, connection_id)
    if number is None:
        raise NotFound("connection", connection_id)
    return number


def own_number(session: Session, connection_id: str, epoch: int) -> Number:
    """The same, locked as `connections.own` locks it for a claim. Raises NotFound, StaleEpoch."""
    row = ask(session, _OWNED, id=connection_id).one_or_none()
    if row is None:
        raise NotFound("connection", connection_id)
    if row.epoch != epoch or not row.active:
        raise StaleEpoch(connection_id, epoch)
    return _to_number(row)


def find_active_id(session: Session, business_id: str) -> str | None:
    """The connection that the business has now."""
    ours = (col(ConnectionRow.business_id) == business_id, col(ConnectionRow.active))
    id: str | None = session.execute(select(col(ConnectionRow.id)).where(*ours).limit(1)).scalar_one_or_none()
    return id


def over(session: Session, connection_id: str) -> str:
    """Over which connection something new is said in a dialogue that was held over this one: the present one, if this
    one is gone.
    """
    active, business_id = ask(session, _WHOSE, id=connection_id).one()
    return connection_id if active else find_active_id(session, business_id) or connection_id


_NUMBERS = select(
    col(ConnectionRow.id),
    col(ConnectionRow.epoch),
    col(ConnectionRow.active),
    col(ConnectionRow.gateway),
    col(ConnectionRow.created_at),
    col(ConnectionRow.slow_closed_until),
    col(BusinessRow.timezone),
    col(BusinessRow.pacing),
    col(BusinessRow.quiet_hours),
).join(BusinessRow, col(BusinessRow.id) == col(ConnectionRow.business_id))
"""Statements are built once: building those of an acceptance took a third of its time (measured)."""

_WHOSE = select(col(ConnectionRow.active), col(ConnectionRow.business_id)).where(
    col(ConnectionRow.id) == bindparam("id")
)
_ONE = _NUMBERS.where(col(ConnectionRow.id) == bindparam("id"))
_OWNED = _ONE.with_for_update(key_share=True, read=True, of=ConnectionRow)
_ACTIVE = (
    _NUMBERS.where(col(ConnectionRow.business_id) == bindparam("id"), col(ConnectionRow.active))
    .order_by(col(ConnectionRow.id))
    .limit(1)
)


def _fetch(session: Session, statement: Select[Any], id: str) -> Number | None:
    row = ask(session, statement, id=id).one_or_none()
    return None if row is None else _to_number(row)


def _to_number(row: Row[*tuple[Any, ...]]) -> Number:
    return Number(
        connection_id=row.id,
        pacing=to_pacing(row.pacing, Gateway(row.gateway)),
        linked_at=row.created_at,
        closed_until=row.slow_closed_until,
        timezone=row.timezone,
        quiet_hours=row.quiet_hours,
    )
