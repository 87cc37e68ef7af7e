"""What the store knows of a number's pace: its configuration, its day in the slow lane, and why that is closed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlmodel import Session, col

from boton.domain.connections import Gateway
from boton.domain.messages import Lane, MessageKind
from boton.domain.pacing import (
    ClosingTimes,
    Closure,
    Pacing,
    Wait,
    WaitReason,
    close_lane,
    day_of,
    limit_on,
    next_day,
    quiet_until,
    to_pacing,
    to_quiet_hours,
    to_zone,
    waits_in_quiet_hours,
)
from boton.domain.sends import SendCategory, SendKind
from boton.ports import NumberPace, Preview
from boton.store.connections import own
from boton.store.inserts import insert_or_ignore
from boton.store.numbers import fetch_number
from boton.store.rows import to_closure
from boton.store.tables import BusinessRow, ConnectionRow, LaneDayRow, MessageRow, SendRow


def fetch_pace(session: Session, connection_id: str) -> NumberPace:
    """Raises NotFound."""
    pacing = fetch_number(session, connection_id).pacing
    newest = (
        select(col(LaneDayRow.last_at))
        .where(col(LaneDayRow.connection_id) == connection_id)
        .order_by(col(LaneDayRow.day).desc())
        .limit(1)
    )
    return NumberPace(pacing=pacing, slow_at=session.execute(newest).scalar_one_or_none())


def pacing_of(business: BusinessRow, connection: ConnectionRow) -> Pacing:
    return to_pacing(business.pacing, Gateway(connection.gateway))


# ---------------------------------------------------------------- why nothing may be claimed now


def find_quiet(business: BusinessRow, send: SendRow, now: datetime) -> Wait | None:
    """The quiet hours that a send has to wait for."""
    kind = MessageKind.OPENING if send.kind == SendKind.INSTRUCTION else MessageKind.TRANSACTIONAL
    if not waits_in_quiet_hours(kind, SendCategory(send.category), asked=send.respect_quiet_hours):
        return None
    until = quiet_until(to_quiet_hours(business.quiet_hours, business.timezone), now)
    return Wait(reason=WaitReason.QUIET_HOURS, until=until) if until else None


def find_closed(
    session: Session, business: BusinessRow, connection: ConnectionRow, pacing: Pacing, now: datetime
) -> Wait | None:
    """Why the slow lane takes nothing now: a refusal closed it, or its day is full."""
    if connection.slow_closed_until is not None and connection.slow_closed_until > now:
        return Wait(reason=WaitReason.SLOW_LANE_CLOSED, until=connection.slow_closed_until)
    limit = limit_on(pacing, connection.created_at, now)
    if limit is None:
        return None
    zone = to_zone(business.timezone)
    day = session.get(LaneDayRow, (connection.id, day_of(now, zone)))
    full = day is not None and day.claimed >= limit
    return Wait(reason=WaitReason.DAILY_LIMIT, until=next_day(now, zone)) if full else None


def count_in_day(session: Session, business: BusinessRow, connection: ConnectionRow, now: datetime) -> str:
    """One more message of the slow lane today; which day that is."""
    day = day_of(now, to_zone(business.timezone))
    key = {"connection_id": connection.id, "day": day}
    session.execute(insert_or_ignore(session.get_bind().dialect, LaneDayRow), {**key, "claimed": 0, "last_at": now})
    row = session.get_one(LaneDayRow, (connection.id, day), with_for_update=True, populate_existing=True)
    row.claimed, row.last_at = row.claimed + 1, now
    return day


def uncount_in_day(session: Session, row: MessageRow) -> None:
    """A message that was claimed never left: it gives back the place that it took, if it took one, so that none uses
    up the day while the phone is away.
    """
    if row.counted_day is None:
        return
    counted = (
        col(LaneDayRow.connection_id) == row.connection_id,
        col(LaneDayRow.day) == row.counted_day,
        col(LaneDayRow.claimed) > 0,
    )
    session.execute(
        update(LaneDayRow)
        .where(*counted)
        .values(claimed=LaneDayRow.claimed - 1)
        .execution_options(synchronize_session=False)
    )
    row.counted_day = None


# ---------------------------------------------------------------- closing


def close_slow_lane(
    session: Session,
    connection_id: str,
    epoch: int,
    code: str,
    until: datetime | None,
    times: ClosingTimes,
    now: datetime,
) -> Closure:
    """Raises StaleEpoch."""
    row = own(session, connection_id, epoch, for_update=True)
    closure = close_lane(to_closure(row), code, until, times, now)
    row.slow_closed_code, row.slow_closed_at = closure.code, closure.at
    row.slow_closed_until, row.slow_closures = closure.until, closure.count
    return closure


def to_preview(row: MessageRow) -> Preview:
    return Preview(
        message_id=row.id, chat_id=row.chat_id, jid=row.jid, kind=MessageKind(row.kind), length=len(row.text or "")
    )


def is_paced(pacing: Pacing) -> bool:
    """Whether the slow lane's messages are counted."""
    return not pacing.is_unpaced(Lane.SLOW)
