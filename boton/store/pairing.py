"""A phone that is being linked, as the pairing process tells it; and what a connection's workflow does next.

Every start of the pairing process raises the epoch, as every start of a link does: an older one changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlmodel import Session, col

from boton.domain.connections import Connection, ConnectionStatus
from boton.domain.linking import Next, Pairing, is_same_phone, next_of, why_not_linked
from boton.errors import NotFound, StaleEpoch
from boton.store.connections import LOOKED_AT_AGAIN, change_status, own
from boton.store.engine import Database
from boton.store.events import append_events
from boton.store.linking import is_taken, is_to_be_unlinked
from boton.store.rows import to_connection, to_pairing
from boton.store.tables import ConnectionRow, LaneDayRow, PairingRow

_OTHER_PHONE = (
    "Another phone than the expected one was linked, and is not used. If BOTON is still among that phone's linked "
    "devices, remove it there. To link another number, name it: POST /api/v1/connection with its phone."
)
_TAKEN = (
    "This phone belongs to another active connection, which keeps it. End that one first, then link again; the newest "
    "BOTON among the phone's linked devices may be removed."
)


class SqlPairingStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def advance_connection(self, connection_id: str, now: datetime) -> tuple[Next, Connection]:
        return await self._db.write(lambda session: _advance(session, connection_id, now))

    async def begin_pairing(self, connection_id: str) -> tuple[int, Pairing]:
        return await self._db.write(lambda session: _begin(session, connection_id))

    async def record_step(
        self, connection_id: str, epoch: int, *, qr: str | None, code: str | None, expires_at: datetime, now: datetime
    ) -> None:
        await self._db.write(lambda session: _record_step(session, connection_id, epoch, qr, code, expires_at, now))

    async def finish_pairing(self, connection_id: str, epoch: int, phone: str, now: datetime) -> str | None:
        return await self._db.write(lambda session: _finish(session, connection_id, epoch, phone, now))

    async def fail_pairing(self, connection_id: str, epoch: int, reason: str, now: datetime) -> None:
        await self._db.write(lambda session: _fail_own(session, connection_id, epoch, reason, now))

    async def check_epoch(self, connection_id: str, epoch: int) -> None:
        await self._db.read(lambda session: _check(session, connection_id, epoch))


def _advance(session: Session, connection_id: str, now: datetime) -> tuple[Next, Connection]:
    row = _lock(session, connection_id)
    step = next_of(to_connection(row))
    pairing = session.get(PairingRow, connection_id)
    if step is Next.PAIR and (trouble := why_not_linked(to_pairing(pairing) if pairing else None)) is not None:
        _fail(session, row, trouble, now)
        step = Next.WAIT
    if step is Next.DONE and is_to_be_unlinked(row, now):
        step = Next.UNLINK
    row.next_step_at = None if step is Next.DONE else now + LOOKED_AT_AGAIN
    return step, to_connection(row)


def _lock(session: Session, connection_id: str) -> ConnectionRow:
    these = select(ConnectionRow).where(col(ConnectionRow.id) == connection_id).with_for_update(key_share=True)
    row = session.scalars(these.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NotFound("connection", connection_id)
    return row


def _begin(session: Session, connection_id: str) -> tuple[int, Pairing]:
    row = session.get(ConnectionRow, connection_id, with_for_update=True, populate_existing=True)
    pairing = session.get(PairingRow, connection_id, populate_existing=True)
    if row is None or not row.active or row.status != ConnectionStatus.LINKING or pairing is None:
        raise NotFound("phone to be linked for connection", connection_id)
    row.epoch += 1
    pairing.tries += 1
    pairing.qr = pairing.code = pairing.expires_at = None
    return row.epoch, to_pairing(pairing)


def _check(session: Session, connection_id: str, epoch: int) -> None:
    ours = select(col(ConnectionRow.id)).where(
        col(ConnectionRow.id) == connection_id, col(ConnectionRow.epoch) == epoch, col(ConnectionRow.active)
    )
    if session.execute(ours).first() is None:
        raise StaleEpoch(connection_id, epoch)


def _record_step(
    session: Session,
    connection_id: str,
    epoch: int,
    qr: str | None,
    code: str | None,
    expires_at: datetime,
    now: datetime,
) -> None:
    row = own(session, connection_id, epoch, for_update=True)
    pairing = session.get_one(PairingRow, connection_id)
    pairing.qr, pairing.code, pairing.expires_at = qr, code, expires_at
    events = change_status(row, ConnectionStatus.LINKING, to_pairing(pairing).next_step(now), now)
    session.flush()
    append_events(session, events)


def _finish(session: Session, connection_id: str, epoch: int, phone: str, now: datetime) -> str | None:
    """Why this phone is not taken; None: it is linked."""
    row = own(session, connection_id, epoch, for_update=True)
    expected = row.phone or session.get_one(PairingRow, connection_id).phone
    trouble = _TAKEN if is_taken(session, row, phone) else None
    if expected and not is_same_phone(expected, phone):
        trouble = _OTHER_PHONE
    if trouble is not None:
        _fail(session, row, trouble, now)
        return trouble
    if not row.phone:
        _inherit(session, row, phone)
    row.phone, row.linked_at = phone, now
    _end(session, row, ConnectionStatus.CONNECTING, None, now)
    return None


def _inherit(session: Session, row: ConnectionRow, phone: str) -> None:
    """A number that the business had before keeps its age, its refusals and its day: a new link is no new number."""
    same = (col(ConnectionRow.business_id) == row.business_id, col(ConnectionRow.gateway) == row.gateway)
    earlier = select(ConnectionRow).where(*same, col(ConnectionRow.id) != row.id, ~col(ConnectionRow.active))
    for old in session.scalars(earlier.order_by(col(ConnectionRow.id))).all():
        if old.phone and is_same_phone(old.phone, phone):
            row.created_at = min(row.created_at, old.created_at)
            row.slow_closed_at, row.slow_closed_until = old.slow_closed_at, old.slow_closed_until
            row.slow_closed_code, row.slow_closures = old.slow_closed_code, old.slow_closures
            days = update(LaneDayRow).where(col(LaneDayRow.connection_id) == old.id).values(connection_id=row.id)
            session.execute(days.execution_options(synchronize_session=False))
            old.phone = ""


def _fail_own(session: Session, connection_id: str, epoch: int, reason: str, now: datetime) -> None:
    _fail(session, own(session, connection_id, epoch, for_update=True), reason, now)


def _fail(session: Session, row: ConnectionRow, reason: str, now: datetime) -> None:
    _end(session, row, ConnectionStatus.STOPPED, reason, now)


def _end(session: Session, row: ConnectionRow, status: ConnectionStatus, reason: str | None, now: datetime) -> None:
    session.execute(delete(PairingRow).where(col(PairingRow.connection_id) == row.id))
    row.next_step_at = now
    events = change_status(row, status, reason, now)
    session.flush()
    append_events(session, events)
