"""Connections: who owns a phone number, and how it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from boton.domain.connections import NEEDS_A_PERSON, Connection, ConnectionStatus, Gateway
from boton.domain.events import EventType, NewEvent
from boton.errors import Conflict, NotFound, StaleEpoch
from boton.ids import Prefix, new_id
from boton.store.engine import Database
from boton.store.events import append_events
from boton.store.outages import note_connected
from boton.store.rows import to_connection, to_pairing
from boton.store.tables import ConnectionRow, PairingRow

LOOKED_AT_AGAIN = timedelta(hours=1)
"""By the sweeper, where nothing has happened: its workflow may be lost."""

_CLOCKS_APART = timedelta(minutes=5)
"""What is due sooner is no such look but something asked for just now, perhaps on a machine whose clock is ahead."""


class SqlConnectionStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def create_connection(self, business_id: str, gateway: Gateway, phone: str, now: datetime) -> Connection:
        try:
            return await self._db.write(lambda session: _create(session, business_id, gateway, phone, now))
        except IntegrityError as error:
            raise Conflict("This phone belongs to another active connection; end that one first.") from error

    async def fetch_connection(self, connection_id: str) -> Connection:
        return await self._db.read(lambda session: to_connection(_get(session, connection_id)))

    async def fetch_active_connection(self, business_id: str) -> Connection | None:
        rows = await self._db.read(lambda session: _list_active(session, business_id))
        return rows[0] if rows else None

    async def open_slow_lane(self, business_id: str, now: datetime) -> Connection:
        return await self._db.write(lambda session: _open_slow_lane(session, business_id, now))

    async def list_active_connections(self) -> Sequence[Connection]:
        return await self._db.read(lambda session: _list_active(session, None))

    async def raise_epoch(self, connection_id: str, now: datetime) -> int:
        return await self._db.write(lambda session: _raise_epoch(session, connection_id, now))

    async def record_status(
        self, connection_id: str, epoch: int, status: ConnectionStatus, reason: str | None, now: datetime
    ) -> None:
        await self._db.write(lambda session: _record_status(session, connection_id, epoch, status, reason, now))


def own(session: Session, connection_id: str, epoch: int, *, for_update: bool = False) -> ConnectionRow:
    """The connection's row, locked against a new epoch until the transaction ends. Raises StaleEpoch.

    Locks are taken in the order connection, send, chat, message. A claim's is FOR KEY SHARE, beside which the cursor
    and the status can be written: with FOR SHARE the claims of a few bulks kept what came in waiting until they were
    done (11 s: measured). So whatever ends an ownership must lock FOR UPDATE first.
    """
    row: ConnectionRow | None = session.scalars(_OWN[for_update], {"id": connection_id}).one_or_none()
    if row is None:
        raise NotFound("connection", connection_id)
    if row.epoch != epoch or not row.active:
        raise StaleEpoch(connection_id, epoch)
    return row


_ONE = select(ConnectionRow).where(col(ConnectionRow.id) == bindparam("id"))
_OWN = {write: _ONE.with_for_update(key_share=True, read=not write) for write in (False, True)}


def change_status(row: ConnectionRow, status: ConnectionStatus, reason: str | None, now: datetime) -> list[NewEvent]:
    """Sets a connection's status and its time; the event that tells it, unless nothing changed."""
    row.status_at = now
    if (row.status, row.reason) == (status.value, reason):
        return []
    row.status, row.reason = status.value, reason
    if status is ConnectionStatus.LOGGED_OUT:
        row.linked_at = None
    data = {"connectionId": row.id, "status": status.value, "reason": reason, "gateway": row.gateway}
    return [NewEvent(business_id=row.business_id, type=EventType.CONNECTION_CHANGED, at=now, data=data)]


def _settle_request(session: Session, row: ConnectionRow, wanted: PairingRow, now: datetime) -> list[NewEvent]:
    """Somebody has asked for this number: a phone that turns out to have lost its device is linked anew, without being
    asked for again. It is over once the number is connected, or cannot be for another reason.
    """
    if row.status == ConnectionStatus.LOGGED_OUT:
        wanted.asked_at = now
        return change_status(row, ConnectionStatus.LINKING, to_pairing(wanted).next_step(now), now)
    if row.status == ConnectionStatus.CONNECTED or row.status in NEEDS_A_PERSON:
        session.delete(wanted)
    return []


def _create(session: Session, business_id: str, gateway: Gateway, phone: str, now: datetime) -> Connection:
    row = ConnectionRow(
        id=new_id(Prefix.CONNECTION),
        business_id=business_id,
        gateway=gateway.value,
        phone=phone,
        status=ConnectionStatus.CONNECTING.value,
        status_at=now,
        created_at=now,
        next_step_at=now,
        linked_at=now,
    )
    session.add(row)
    session.flush()
    return to_connection(row)


def _get(session: Session, connection_id: str) -> ConnectionRow:
    row = session.get(ConnectionRow, connection_id)
    if row is None:
        raise NotFound("connection", connection_id)
    return row


def _list_active(session: Session, business_id: str | None) -> list[Connection]:
    statement = select(ConnectionRow).where(col(ConnectionRow.active)).order_by(col(ConnectionRow.id))
    if business_id is not None:
        statement = statement.where(col(ConnectionRow.business_id) == business_id)
    return [to_connection(row) for row in session.scalars(statement)]


def _open_slow_lane(session: Session, business_id: str, now: datetime) -> Connection:
    """How often it was closed in a row stays, so that a refusal right after closes it for longer."""
    ours = select(ConnectionRow).where(col(ConnectionRow.business_id) == business_id, col(ConnectionRow.active))
    row = session.scalars(ours.order_by(col(ConnectionRow.id)).limit(1).with_for_update(key_share=True)).one_or_none()
    if row is None:
        raise Conflict("This business has no connected phone: link one (POST /api/v1/connection) first.")
    if row.slow_closed_until is not None and row.slow_closed_until > now:
        row.slow_closed_until = now
    return to_connection(row)


def _raise_epoch(session: Session, connection_id: str, now: datetime) -> int:
    session.execute(select(col(ConnectionRow.id)).where(col(ConnectionRow.id) == connection_id).with_for_update())
    epoch: int | None = session.execute(
        update(ConnectionRow)
        .where(col(ConnectionRow.id) == connection_id, col(ConnectionRow.active))
        .values(epoch=ConnectionRow.epoch + 1)
        .returning(col(ConnectionRow.epoch))
    ).scalar_one_or_none()
    if epoch is None:
        raise NotFound("active connection", connection_id)
    row = _get(session, connection_id)
    append_events(session, change_status(row, ConnectionStatus.CONNECTING, None, now))
    return epoch


def _put_off_look(row: ConnectionRow, now: datetime) -> None:
    """Who is connected is held, so its workflow is not lost: a look each hour would fill the history of a number that
    stays up for half a year.
    """
    if row.next_step_at is not None and row.next_step_at > now + _CLOCKS_APART:
        row.next_step_at = now + LOOKED_AT_AGAIN


def _record_status(
    session: Session, connection_id: str, epoch: int, status: ConnectionStatus, reason: str | None, now: datetime
) -> None:
    row = own(session, connection_id, epoch, for_update=True)
    wanted = session.get(PairingRow, connection_id) if status.value != row.status else None
    events = change_status(row, status, reason, now)
    if wanted is not None:
        events += _settle_request(session, row, wanted, now)
    if status is ConnectionStatus.CONNECTED:
        note_connected(session, row, now)
        _put_off_look(row, now)
    session.flush()
    append_events(session, events)
