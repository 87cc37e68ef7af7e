"""Events: appended in the transaction of what they tell, read in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlmodel import Session, col

from boton.domain.events import EventPage, NewEvent
from boton.errors import EventsGone
from boton.ids import Prefix, new_id
from boton.store.asking import ask
from boton.store.bulk import insert_rows
from boton.store.engine import Database
from boton.store.inserts import insert_into, table_of
from boton.store.rows import to_event
from boton.store.tables import EventRow, TallyRow

_FORGOTTEN_AT_ONCE = 2000


_TALLY = table_of(TallyRow)
_RESERVE = (
    update(_TALLY)
    .where(_TALLY.c.business_id == bindparam("id"))
    .values(event_seq=_TALLY.c.event_seq + bindparam("count"))
    .returning(_TALLY.c.event_seq)
)


def append_events(session: Session, events: Sequence[NewEvent]) -> None:
    """Gives events their place in their business's order. Must be a transaction's last statements.

    The business's tally row is locked from here to the commit, so that `seq` grows in commit order and a reader who
    has seen N has seen everything up to N.
    """
    by_business: dict[str, list[NewEvent]] = defaultdict(list)
    for event in events:
        by_business[event.business_id].append(event)
    for business_id in sorted(by_business):
        last = _reserve(session, business_id, len(by_business[business_id]))
        first = last - len(by_business[business_id]) + 1
        rows = [_to_row(event, seq) for seq, event in enumerate(by_business[business_id], start=first)]
        insert_rows(session, insert_into(EventRow), rows)


def _reserve(session: Session, business_id: str, count: int) -> int:
    last: int = ask(session, _RESERVE, id=business_id, count=count).scalar_one()
    return last


def _to_row(event: NewEvent, seq: int) -> dict[str, Any]:
    return {
        "business_id": event.business_id,
        "seq": seq,
        "id": new_id(Prefix.EVENT),
        "type": event.type.value,
        "at": event.at,
        "data": event.data,
    }


class SqlEventStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def fetch_last_seq(self, business_id: str) -> int:
        return await self._db.read(lambda session: _fetch_last_seq(session, business_id))

    async def list_events(self, business_id: str, after: int, limit: int) -> EventPage:
        return await self._db.read(lambda session: _list(session, business_id, after, limit))


def _list(session: Session, business_id: str, after: int, limit: int) -> EventPage:
    newest = session.execute(
        select(col(TallyRow.event_seq)).where(col(TallyRow.business_id) == business_id)
    ).scalar_one_or_none()
    # After `newest`: an event written between the two must not look like one that is gone.
    oldest = session.execute(
        select(func.min(col(EventRow.seq))).where(col(EventRow.business_id) == business_id)
    ).scalar_one()
    first_kept = oldest if oldest is not None else (newest or 0) + 1
    if after < first_kept - 1:
        raise EventsGone(after, first_kept)
    rows = session.scalars(
        select(EventRow)
        .where(col(EventRow.business_id) == business_id, col(EventRow.seq) > after)
        .order_by(col(EventRow.seq))
        .limit(limit + 1)
    ).all()
    events = tuple(to_event(row) for row in rows[:limit])
    return EventPage(events=events, last_seq=events[-1].seq if events else after, has_more=len(rows) > limit)


def forget_before(session: Session, moment: datetime) -> bool:
    """Deletes the oldest events of each business up to its first one that is not older than `moment`, so that no hole
    is left in the order; some thousands at a time. Whether there are more.
    """
    business_ids = session.scalars(select(col(TallyRow.business_id))).all()
    return any(_forget(session, business_id, moment) for business_id in business_ids)


def _forget(session: Session, business_id: str, moment: datetime) -> bool:
    ours = col(EventRow.business_id) == business_id
    seqs = select(col(EventRow.seq)).where(ours).order_by(col(EventRow.seq)).limit(1)
    oldest = session.execute(seqs).scalar_one_or_none()
    if oldest is None:
        return False
    first_kept = session.execute(seqs.where(col(EventRow.at) >= moment)).scalar_one_or_none()
    end: int = oldest + _FORGOTTEN_AT_ONCE
    if first_kept is not None:
        end = min(end, first_kept)
    session.execute(delete(EventRow).where(ours, col(EventRow.seq) < end))
    return bool(end == oldest + _FORGOTTEN_AT_ONCE)


def _fetch_last_seq(session: Session, business_id: str) -> int:
    last: int | None = session.execute(
        select(col(TallyRow.event_seq)).where(col(TallyRow.business_id) == business_id)
    ).scalar_one_or_none()
    return last or 0
