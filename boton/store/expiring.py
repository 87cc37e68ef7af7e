"""What is too late to be sent: the rule, and the sweeper's way to tell it while no link of the number runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlmodel import Session, col

from boton.domain.messages import MessageError
from boton.domain.sends import SendStatus
from boton.store.ending import SETTLED_AT_ONCE, end_if_over, expire_queued, lock_sends
from boton.store.events import append_events
from boton.store.outages import away_seconds
from boton.store.tables import ConnectionRow, SendRow

_EXPIRED = MessageError(code="expired", detail="it was not sent before its expiresAt")
_AWAY = MessageError(code="expired", detail="the phone was away for longer than sendTtlHours")
_HALTED = frozenset({SendStatus.PAUSED, SendStatus.CANCELLED, SendStatus.FINISHED})


def find_expired(session: Session, connection: ConnectionRow, send: SendRow, now: datetime) -> MessageError | None:
    """Why it is too late for all that is left of a send that is due. The time to live counts only while the connection
    was away.
    """
    if send.expires_at is not None and send.expires_at <= now:
        return _EXPIRED
    due = _due(send)
    if send.ttl_seconds is None or (now - due).total_seconds() <= send.ttl_seconds:
        return None
    return _AWAY if away_seconds(session, connection, due, now) > send.ttl_seconds else None


def expires_from(session: Session, connection: ConnectionRow, send: SendRow, now: datetime) -> datetime | None:
    """The first moment at which it may be too late: if the connection is away from now on. None: it never is."""
    moments = [] if send.expires_at is None else [send.expires_at]
    if send.ttl_seconds is not None:
        due = _due(send)
        left = send.ttl_seconds - away_seconds(session, connection, due, now)
        moments.append(max(due, now) + timedelta(seconds=max(0.0, left)))
    return min(moments, default=None)


def _due(send: SendRow) -> datetime:
    """From when on it waits for its connection."""
    return max(filter(None, (send.created_at, send.send_at, send.resumed_at)))


# ---------------------------------------------------------------- without a link


def find_late(session: Session, send_ids: Sequence[str], now: datetime) -> list[str]:
    """Those of these sends for which it is too late."""
    sends = session.scalars(select(SendRow).where(col(SendRow.id).in_(send_ids)).order_by(col(SendRow.id)))
    return [send.id for send in sends if _find_late(session, send, now) is not None]


def expire_some(session: Session, send_id: str, now: datetime) -> tuple[bool, bool]:
    """Expires a piece of what is queued of a send, if it is too late for it; whether there is more to do, and whether
    the send is over.
    """
    (send,) = lock_sends(session, col(SendRow.id) == send_id)
    error = _find_late(session, send, now)
    if error is None:
        return False, send.finished_at is not None
    count, events = expire_queued(session, send, error, now, SETTLED_AT_ONCE)
    events += end_if_over(session, [send], now)
    session.flush()
    append_events(session, events)
    return count == SETTLED_AT_ONCE, send.finished_at is not None


def _find_late(session: Session, send: SendRow, now: datetime) -> MessageError | None:
    """A halted send is left alone, and one whose time has not come."""
    if send.status in _HALTED or (send.send_at is not None and send.send_at > now):
        return None
    return find_expired(session, session.get_one(ConnectionRow, send.connection_id), send, now)
