"""What the sweeper looks at: unfinished rows whose next step is overdue, the lease, Temporal's identity."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import case, delete, func, literal, select, update
from sqlmodel import Session, col

from boton.domain.events import KEPT_FOR
from boton.domain.messages import Lane
from boton.domain.sends import SendCategory, SendStatus
from boton.ports import Overdue
from boton.store.columns import UtcDateTime
from boton.store.engine import Database
from boton.store.events import forget_before
from boton.store.expiring import expire_some, find_late
from boton.store.inserts import insert_or_ignore
from boton.store.meta import NAMESPACE_KEY
from boton.store.outages import forget_outages
from boton.store.retiring import find_left_behind, settle_left_behind
from boton.store.tables import (
    ChatRow,
    ConnectionRow,
    IdempotencyRow,
    LeaseRow,
    MetaRow,
    ReceiptRow,
    ReminderRow,
    SendRow,
)

log = logging.getLogger(__name__)

_LONG_OVERDUE = timedelta(hours=1)
_KINDS: tuple[tuple[str, Any], ...] = (
    ("connection", ConnectionRow),
    ("send", SendRow),
    ("chat", ChatRow),
    ("reminder", ReminderRow),
)


class SqlWorkStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def take_lease(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        return await self._db.write(lambda session: _take_lease(session, name, holder, now, until))

    async def settle_left_behind(self, now: datetime) -> None:
        if await self._db.read(lambda session: find_left_behind(session, now)):
            await self._db.write(lambda session: settle_left_behind(session, now))

    async def list_overdue(self, now: datetime, grace: timedelta, limit: int) -> Sequence[Overdue]:
        return await self._db.read(lambda session: _list_overdue(session, now, grace, limit))

    async def postpone(
        self, overdue: Sequence[Overdue], now: datetime, until: datetime, *, started: bool = True
    ) -> None:
        await self._db.write(lambda session: _postpone(session, overdue, now, until, started=started))

    async def expire_late(self, overdue: Sequence[Overdue], now: datetime) -> Sequence[Overdue]:
        ids = [one.id for one in overdue if one.kind == "send"]
        late = await self._db.read(lambda session: find_late(session, ids, now)) if ids else []
        over = {id for id in late if await self._try_expire(id, now)}
        return [one for one in overdue if one.kind != "send" or one.id not in over]

    async def _try_expire(self, send_id: str, now: datetime) -> bool:
        """What fails for one send, its workflow or a later round does: the others must not wait for it."""
        try:
            return await self._expire(send_id, now)
        except Exception as error:  # noqa: BLE001 - whatever the store's driver raises
            log.warning("late send not expired", extra={"send": send_id, "reason": type(error).__name__})
            return False

    async def _expire(self, send_id: str, now: datetime) -> bool:
        """In pieces, so that other writers need not wait for all of it; whether the send is over."""
        more, is_over = True, False
        while more:
            more, is_over = await self._db.write(partial(expire_some, send_id=send_id, now=now))
        return is_over

    async def note_namespace(self, namespace_id: str, now: datetime) -> bool:
        return await self._db.write(lambda session: _note_namespace(session, namespace_id, now))

    async def fetch_queue_age(self, now: datetime) -> float:
        return await self._db.read(lambda session: _fetch_queue_age(session, now))

    async def purge(self, now: datetime) -> None:
        before = now - KEPT_FOR
        while await self._db.write(lambda session: forget_before(session, before)):
            pass
        await self._db.write(lambda session: _purge(session, before))
        await self._db.write(lambda session: forget_outages(session, now))


def _take_lease(session: Session, name: str, holder: str, now: datetime, until: datetime) -> bool:
    dialect = session.get_bind().dialect
    session.execute(insert_or_ignore(dialect, LeaseRow), {"name": name, "holder": holder, "until": until})
    row = session.scalars(select(LeaseRow).where(col(LeaseRow.name) == name).with_for_update()).one()
    if row.holder != holder and row.until > now:
        return False
    row.holder, row.until = holder, until
    return True


def _list_overdue(session: Session, now: datetime, grace: timedelta, limit: int) -> list[Overdue]:
    found: list[Overdue] = []
    for kind, table in _KINDS:
        due_before = now if kind == "connection" else now - grace
        overdue = select(table).where(table.next_step_at < due_before)
        rows = session.scalars(overdue.order_by(table.next_step_at).limit(limit))
        found += [_to_overdue(kind, row) for row in rows]
    return found


def _to_overdue(kind: str, row: Any) -> Overdue:
    connection_id = row.id if kind == "connection" else getattr(row, "connection_id", "")
    return Overdue(
        kind=kind,
        id=row.id,
        business_id=row.business_id,
        connection_id=connection_id,
        lanes=tuple(Lane(lane) for lane in getattr(row, "lanes", "").split()),
        category=SendCategory(getattr(row, "category", SendCategory.TRANSACTIONAL)),
        is_over=kind == "send" and row.finished_at is not None,
    )


def _postpone(session: Session, overdue: Sequence[Overdue], now: datetime, until: datetime, *, started: bool) -> None:
    """What was finished or became due anew in the meantime is left as it is."""
    for kind, table in _KINDS:
        ids = [one.id for one in overdue if one.kind == kind]
        if not ids:
            continue
        these = update(table).where(table.id.in_(ids), table.next_step_at < now)
        if kind == "send" and started:
            later = case(
                (col(SendRow.finished_at).is_not(None), None),
                (col(SendRow.send_at) > until, col(SendRow.send_at)),
                else_=literal(until, UtcDateTime()),
            )
            these = these.values(next_step_at=later)
        else:
            these = these.values(next_step_at=until)
        session.execute(these.execution_options(synchronize_session=False))


def _note_namespace(session: Session, namespace_id: str, now: datetime) -> bool:
    row = session.get(MetaRow, NAMESPACE_KEY)
    if row is not None and row.value == namespace_id:
        return False
    if row is None:
        session.add(MetaRow(key=NAMESPACE_KEY, value=namespace_id))
        return False
    row.value = namespace_id
    for _, table in _KINDS:
        session.execute(
            update(table)
            .where(table.next_step_at.is_not(None))
            .values(next_step_at=now - _LONG_OVERDUE)
            .execution_options(synchronize_session=False)
        )
    return True


def _purge(session: Session, before: datetime) -> None:
    """Receipts that found no message in all this time belong to none of ours."""
    session.execute(delete(IdempotencyRow).where(col(IdempotencyRow.created_at) < before))
    session.execute(delete(ReceiptRow).where(col(ReceiptRow.at) < before))


def _fetch_queue_age(session: Session, now: datetime) -> float:
    due_at = func.coalesce(col(SendRow.send_at), col(SendRow.created_at), type_=UtcDateTime)
    moving = (col(SendRow.status) != SendStatus.PAUSED.value) & col(SendRow.finished_at).is_(None)
    oldest = session.execute(
        select(func.min(due_at, type_=UtcDateTime)).where(col(SendRow.next_step_at).is_not(None), moving)
    ).scalar_one()
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
