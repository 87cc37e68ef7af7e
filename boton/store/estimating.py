"""How long a send will take at the pace of its number: what the pacing rules want to know, read from the store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlmodel import Session, col

from boton.domain.messages import Lane, MessageKind, MessageStatus
from boton.domain.pacing import (
    Load,
    day_of,
    estimate_end,
    to_quiet_hours,
    to_zone,
    waits_in_quiet_hours,
)
from boton.domain.sends import Send, SendKind, SendStatus
from boton.store.numbers import Number, fetch_number
from boton.store.rows import to_send
from boton.store.tables import LaneDayRow, MessageRow, SendRow

_MOVING = frozenset({SendStatus.QUEUED, SendStatus.SCHEDULED, SendStatus.RUNNING})


def estimate(session: Session, number: Number, send: Send, left: Mapping[Lane, int], now: datetime) -> datetime | None:
    """When the last of `left` messages of a send will have left; None where its number is not paced."""
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
    """What was claimed today counts only for a send that starts today."""
    zone = to_zone(number.timezone)
    today = day_of(now, zone)
    day = session.get(LaneDayRow, (number.connection_id, today)) if day_of(start, zone) == today else None
    quiet = to_quiet_hours(number.quiet_hours, number.timezone)
    return Load(
        slow=left.get(Lane.SLOW, 0),
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
