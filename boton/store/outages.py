"""When a connection was away: told by the times at which its link said `connected`, which it repeats all the while."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlmodel import Session, col

from boton.store.tables import ConnectionRow, LaneDayRow, OutageRow

KEPT_FOR = timedelta(days=60)
"""Longer than any send may wait for its connection."""

_UNNOTICED = timedelta(seconds=60)
"""Between two `connected` of a link that is well; what lasts longer is an outage, also when the link was killed."""


def note_connected(session: Session, connection: ConnectionRow, now: datetime) -> None:
    """The link says `connected`: an outage that went on until now is over."""
    last = _heard_of(connection)
    if connection.connected_at is not None and now <= last:
        return
    if now - last > _UNNOTICED:
        session.add(OutageRow(connection_id=connection.id, began_at=last, ended_at=now))
    connection.connected_at = now


def away_seconds(session: Session, connection: ConnectionRow, since: datetime, now: datetime) -> float:
    """For how many seconds between `since` and `now` the connection was away, the outage going on now included."""
    spans = [*_list_outages(session, connection.id, since, now), *_outage_now(connection, now)]
    away = (min(end, now) - max(begin, since) for begin, end in spans)
    return sum((length.total_seconds() for length in away if length > timedelta(0)), 0.0)


def forget_outages(session: Session, now: datetime) -> None:
    """Those that ended long ago, and the slow lane's days of that time."""
    before = now - KEPT_FOR
    session.execute(delete(OutageRow).where(col(OutageRow.ended_at) < before))
    session.execute(delete(LaneDayRow).where(col(LaneDayRow.last_at) < before))


def _list_outages(
    session: Session, connection_id: str, since: datetime, now: datetime
) -> Iterable[tuple[datetime, datetime]]:
    rows = session.execute(
        select(col(OutageRow.began_at), col(OutageRow.ended_at)).where(
            col(OutageRow.connection_id) == connection_id,
            col(OutageRow.began_at) < now,
            col(OutageRow.ended_at) > since,
        )
    )
    return [(began_at, ended_at) for began_at, ended_at in rows]


def _outage_now(connection: ConnectionRow, now: datetime) -> Sequence[tuple[datetime, datetime]]:
    last = _heard_of(connection)
    return [] if now - last <= _UNNOTICED else [(last, now)]


def _heard_of(connection: ConnectionRow) -> datetime:
    """When it was last connected; one that never was is away since it was made."""
    return connection.connected_at or connection.created_at
