"""How long a send will take at the pace of its number: what the pacing rules want to know, read from the store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlmodel import Session, col

from boton.domain.messages import Lane, MessageKind, MessageStatus
from boton.domain.pacing import (
    Load,
    day_of,
    estimate_end,
    rank_of,
    to_quiet_hours,
    to_zone,
    waits_in_quiet_hours,
)
from boton.domain.sends import Send, SendCategory, SendKind, SendStatus
from boton.store.numbers import Number, fetch_number
from boton.store.rows import to_send
from boton.store.tables import UNFINISHED, LaneDayRow, MessageRow, SendRow

_MOVING = frozenset({SendStatus.QUEUED, SendStatus.SCHEDULED, SendStatus.RUNNING})
_WAITING = (SendStatus.QUEUED.value, SendStatus.RUNNING.value)
_LOOKED_AT = 1000
"""Other sends, when it is asked how much goes before one: more would keep an acceptance waiting."""


def estimate(session: Session, number: Number, send: Send, left: Mapping[Lane, int], now: datetime) -> datetime | None:
    """When the last of `left` messages of a send will have left, with what goes before it in the slow lane; None where
    its number is not paced.
    """
    if all(number.pacing.is_unpaced(lane) for lane, count in left.items() if count):
        return None
    start = max(now, send.send_at or now)
    return estimate_end(number.pacing, _load(session, number, send, left, now, start), start)


def estimate_rest(session: Session, send: SendRow, now: datetime) -> datetime | None:
    """The same for what is queued of a send that goes on by itself; None where it does not."""
    if send.status not in _MOVING:
        return None
    queued = session.execute(
        select(col(MessageRow.lane), func.count())
        .where(
            col(MessageRow.send_id) == send.id,
            col(MessageRow.lane).in_(send.lanes.split()),
            col(MessageRow.status) == MessageStatus.QUEUED.value,
        )
        .group_by(col(MessageRow.lane))
    )
    number = fetch_number(session, send.connection_id)
    return estimate(session, number, to_send(send), {Lane(lane): count for lane, count in queued}, now)


def _load(
    session: Session, number: Number, send: Send, left: Mapping[Lane, int], now: datetime, start: datetime
) -> Load:
    """What was claimed today counts only in the slow lane and for a send that starts today, what waits now for one that
    starts now.
    """
    zone = to_zone(number.timezone)
    today = day_of(now, zone)
    quiet = to_quiet_hours(number.quiet_hours, number.timezone)
    slow = left.get(Lane.SLOW, 0)
    day = session.get(LaneDayRow, (number.connection_id, today)) if slow and day_of(start, zone) == today else None
    return Load(
        slow=slow + _count_before(session, number, send, slow) if slow and start == now else slow,
        fast=left.get(Lane.FAST, 0),
        claimed_today=day.claimed if day else 0,
        linked_at=number.linked_at,
        zone=zone,
        quiet=quiet if _waits_in_quiet_hours(send) else None,
        closed_until=number.closed_until,
    )


def _waits_in_quiet_hours(send: Send) -> bool:
    kind = MessageKind.OPENING if send.kind is SendKind.INSTRUCTION else MessageKind.TRANSACTIONAL
    return waits_in_quiet_hours(kind, send.category, asked=send.respect_quiet_hours)


def _count_before(session: Session, number: Number, send: Send, left: int) -> int:
    """How many messages of other sends leave in the slow lane before the last of this one's: equals take turns."""
    others = (
        select(col(SendRow.category), col(SendRow.total), func.count())
        .join(MessageRow, col(MessageRow.send_id) == col(SendRow.id))
        .where(
            col(SendRow.id).in_(_list_others(number, send)),
            col(MessageRow.lane) == Lane.SLOW.value,
            col(MessageRow.status) == MessageStatus.QUEUED.value,
        )
        .group_by(col(SendRow.id), col(SendRow.category), col(SendRow.total))
    )
    mine = rank_of(Lane.SLOW, send.category, send.total)
    ranked = [(rank_of(Lane.SLOW, SendCategory(kind), total), count) for kind, total, count in session.execute(others)]
    return sum(count if rank < mine else min(count, left) for rank, count in ranked if rank <= mine)


def _list_others(number: Number, send: Send) -> Select[str]:
    return (
        select(col(SendRow.id))
        .where(
            col(SendRow.connection_id) == number.connection_id,
            UNFINISHED,
            col(SendRow.status).in_(_WAITING),
            col(SendRow.id) != send.id,
        )
        .order_by(col(SendRow.id))
        .limit(_LOOKED_AT)
    )
