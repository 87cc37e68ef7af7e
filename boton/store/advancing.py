"""The next step of one send in one lane: what is claimed, or why nothing is. The send and its number are locked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, or_, select
from sqlmodel import Session, col

from boton.domain.events import NewEvent
from boton.domain.gateway import Attempt
from boton.domain.messages import UNFINISHED, Lane, MessageStatus
from boton.domain.pacing import Pacing, Wait, WaitReason
from boton.domain.sends import SendCategory, SendKind, SendStatus
from boton.ports import Idle, Result
from boton.store import pace
from boton.store.claims import claim, settle_forbidden
from boton.store.ending import cancel_queued, end_if_over, expire_queued
from boton.store.expiring import expires_from, find_expired
from boton.store.steps import lock_ahead, lock_chats, lock_messages
from boton.store.tables import BusinessRow, ChatRow, ConnectionRow, MessageRow, SendRow

_SETTLED_AT_ONCE = 100
"""Messages that guards forbid are settled on the way to the next claim, this many in one transaction."""

_OPENINGS_AT_ONCE = 10
_IN_FLIGHT_AGAIN = timedelta(seconds=2)
_REFUSED_AGAIN = timedelta(seconds=30)
_GOING_ON = timedelta(minutes=1)
"""A send of which something was claimed goes on by itself for so long: until then the sweeper lets it be."""

_OTHER_LANE_AGAIN = timedelta(minutes=10)
"""A send that waits in one lane may have work in the other: the sweeper looks at it sooner."""

_WHOLE = frozenset({WaitReason.SCHEDULED, WaitReason.QUIET_HOURS})
"""What a send waits for in all its lanes."""


def next_step(
    session: Session,
    connection: ConnectionRow,
    send: SendRow,
    lane: Lane,
    room: int,
    now: datetime,
    events: list[NewEvent],
    *,
    refused: bool,
    flows: bool,
) -> Sequence[Attempt] | Idle:
    """At most `room` attempts, or why there are none. With no room only what ends the send is looked at. refused: the
    number just was, for a message that is due again. flows: there are none where the lane is paced.
    """
    match SendStatus(send.status):
        case SendStatus.PAUSED:
            events += end_if_over(session, [send], now)
            return Idle(why="paused" if send.finished_at is None else "done")
        case SendStatus.FINISHED:
            return Idle(why="done")
        case SendStatus.CANCELLED:
            _, told = cancel_queued(session, [send], now, _SETTLED_AT_ONCE)
            events += told
            return _end(session, send, lane, now, events)
    if send.send_at is not None and send.send_at > now:
        scheduled = Wait(reason=WaitReason.SCHEDULED, until=send.send_at)
        return _wait(session, connection, send, lane, scheduled, now)
    if send.status == SendStatus.SCHEDULED:
        send.status = SendStatus.QUEUED.value
    if (expired := find_expired(session, connection, send, now)) is not None:
        _, told = expire_queued(session, send, expired, now, _SETTLED_AT_ONCE)
        events += told
        return _end(session, send, lane, now, events)
    if refused and (wait := _after_refusal(session, connection, send, lane, now)) is not None:
        return _wait(session, connection, send, lane, wait, now)
    if room == 0:
        return _end(session, send, lane, now, events)
    business = session.get_one(BusinessRow, connection.business_id)
    pacing = pace.pacing_of(business, connection)
    if flows and not pacing.is_unpaced(lane):
        return Idle(why="paced")
    return _claim_some(_Step(session, connection, business, send, lane, now, events, pacing), room)


@dataclass(slots=True)
class _Step:
    """What one transaction looks at."""

    session: Session
    connection: ConnectionRow
    business: BusinessRow
    send: SendRow
    lane: Lane
    now: datetime
    events: list[NewEvent]
    pacing: Pacing


# ---------------------------------------------------------------- nothing to claim


def _after_refusal(
    session: Session, connection: ConnectionRow, send: SendRow, lane: Lane, now: datetime
) -> Wait | None:
    """The fast lane stays open, but is not hammered: a send's next try there comes later than at once."""
    closed_until = connection.slow_closed_until
    if lane is Lane.SLOW or closed_until is None or closed_until <= now:
        return None
    session.flush()
    if not _is_left(session, send, lane.value, MessageStatus.QUEUED):
        return None
    return Wait(reason=WaitReason.SLOW_LANE_CLOSED, until=min(closed_until, now + _REFUSED_AGAIN))


def _wait(session: Session, connection: ConnectionRow, send: SendRow, lane: Lane, wait: Wait, now: datetime) -> Idle:
    """Says in the send what it waits for, and the sweeper when to look again; sooner where the other lane goes on, or
    where it may be too late before that: while no link runs for the number only the sweeper tells it.
    """
    until = wait.until if send.expires_at is None else min(wait.until, send.expires_at)
    if wait.reason in _WHOLE or _speaks(send, lane):
        send.waiting, send.waiting_until = wait.reason.value, until
    others = [other for other in send.lanes.split() if other != lane.value]
    goes_on = wait.reason not in _WHOLE and any(_is_left(session, send, other, *UNFINISHED) for other in others)
    others_again = now + _OTHER_LANE_AGAIN if goes_on else None
    late_from = expires_from(session, connection, send, now)
    send.next_step_at = min(filter(None, (until, others_again, late_from)))
    return Idle(why="wait", until=until, reason=wait.reason.value)


def _speaks(send: SendRow, lane: Lane) -> bool:
    """Whether it is this lane that says what the send waits for: the slow one, where there is one."""
    return lane is Lane.SLOW or send.lanes == Lane.FAST


def _end(session: Session, send: SendRow, lane: Lane, now: datetime, events: list[NewEvent]) -> Idle:
    """Nothing is claimed now: `more`, while something is queued in this lane; `done`, when nothing is left at all."""
    session.flush()
    if _is_left(session, send, lane.value, MessageStatus.QUEUED):
        return Idle(why="more")
    if _is_left(session, send, lane.value, MessageStatus.SENDING):
        return Idle(why="wait", until=now + _IN_FLIGHT_AGAIN, reason=WaitReason.IN_FLIGHT.value)
    events += end_if_over(session, [send], now)
    return Idle(why="lane_done" if send.finished_at is None else "done")


def _is_left(session: Session, send: SendRow, lane: str, *statuses: MessageStatus) -> bool:
    """Whether a message of the send in this lane has one of these statuses."""
    left = select(col(MessageRow.id)).where(
        col(MessageRow.send_id) == send.id,
        col(MessageRow.lane) == lane,
        col(MessageRow.status).in_([status.value for status in statuses]),
    )
    return session.execute(left.limit(1)).first() is not None


# ---------------------------------------------------------------- claiming


def _claim_some(step: _Step, room: int) -> Sequence[Attempt] | Idle:
    wait, only_known = _find_wait(step)
    if wait is not None and not only_known:
        return _wait_or_end(step, wait)
    attempts: list[Attempt] = []
    room = 1 if step.lane is Lane.SLOW and pace.is_paced(step.pacing) else room
    for row, chat in _lock_queued(step, room, only_known=only_known):
        if settle_forbidden(
            step.session, chat, row, step.now, step.events, step.send, step.pacing.unanswered_marketing
        ):
            continue
        idle = _find_obstacle(step, row, chat)
        if idle is not None:
            return _going(step, attempts) or idle
        _count(step, row, chat)
        attempts.append(claim(step.session, chat, row, step.connection.epoch, step.now, step.events, step.send))
    if going := _going(step, attempts):
        return going
    if wait is not None and not _has_known(step):
        return _wait_or_end(step, wait)
    return _end(step.session, step.send, step.lane, step.now, step.events)


def _wait_or_end(step: _Step, wait: Wait) -> Idle:
    """Waits only where something is queued in the lane still: the last message of a send may close it."""
    step.session.flush()
    if step.session.execute(_queued(step, 1, only_known=False)).first() is not None:
        return _wait(step.session, step.connection, step.send, step.lane, wait, step.now)
    return _end(step.session, step.send, step.lane, step.now, step.events)


def _find_wait(step: _Step) -> tuple[Wait | None, bool]:
    """What the lane waits for, and whether messages to contacts that are known by now may go all the same."""
    if (quiet := pace.find_quiet(step.business, step.send, step.now)) is not None:
        return quiet, False
    if step.lane is Lane.FAST:
        return None, False
    closed = pace.find_closed(step.session, step.business, step.connection, step.pacing, step.now)
    return closed, closed is not None and _is_transactional(step.send) and _has_known(step)


def _is_transactional(send: SendRow) -> bool:
    return send.kind == SendKind.MESSAGE and send.category == SendCategory.TRANSACTIONAL


def _has_known(step: _Step) -> bool:
    if not _is_transactional(step.send):
        return False
    return step.session.execute(_queued(step, 1, only_known=True)).first() is not None


def _queued(step: _Step, limit: int, *, only_known: bool) -> Select[str, str]:
    """The lane's next messages, and their chats."""
    statement = _next_of(step.send, step.lane)
    if only_known:
        statement = statement.join(ChatRow, col(ChatRow.id) == col(MessageRow.chat_id)).where(col(ChatRow.known))
    return statement.limit(limit)


def _next_of(send: SendRow, lane: Lane) -> Select[str, str]:
    queued = select(col(MessageRow.id), col(MessageRow.chat_id)).where(
        col(MessageRow.send_id) == send.id,
        col(MessageRow.lane) == lane.value,
        col(MessageRow.status) == MessageStatus.QUEUED.value,
    )
    return queued.order_by(col(MessageRow.position))


def lock_in_order(session: Session, send: SendRow, lane: Lane, record: Sequence[Result], room: int) -> None:
    """The chats of the results and those of the claims that follow."""
    if not record or room == 0:
        return
    ended = [result.attempt.message_id for result in record]
    of_results = select(col(MessageRow.chat_id)).where(col(MessageRow.id).in_(ended))
    chats = _next_of(send, lane).with_only_columns(col(MessageRow.chat_id)).limit(room)
    lock_ahead(session, or_(col(ChatRow.id).in_(of_results), col(ChatRow.id).in_(chats)))


def _lock_queued(step: _Step, room: int, *, only_known: bool) -> list[tuple[MessageRow, ChatRow]]:
    """The lane's next queued messages with their chats, locked: chats first."""
    found = step.session.execute(_queued(step, room, only_known=only_known)).all()
    chats = lock_chats(step.session, [chat_id for _, chat_id in found])
    rows = lock_messages(step.session, [id for id, _ in found])
    queued = (rows[id] for id, _ in found if rows[id].status == MessageStatus.QUEUED)
    return [(row, chats[row.chat_id]) for row in queued]


def _find_obstacle(step: _Step, row: MessageRow, chat: ChatRow) -> Idle | None:
    """What must be done before this message can be claimed: its recipient looked up, its text written."""
    is_first = step.lane is Lane.SLOW and not (chat.known or chat.registered)
    if is_first and step.pacing.check_recipients:
        return Idle(why="check", message_ids=(row.id,), jid=row.jid)
    if row.text is None:
        return Idle(why="compose", message_ids=_unwritten(step))
    return None


def _unwritten(step: _Step) -> tuple[str, ...]:
    """The model is asked for one opening a slot, or for some at once where nothing is paced."""
    limit = 1 if pace.is_paced(step.pacing) else _OPENINGS_AT_ONCE
    unwritten = _queued(step, limit, only_known=False).where(col(MessageRow.text).is_(None))
    return tuple(row[0] for row in step.session.execute(unwritten))


def _count(step: _Step, row: MessageRow, chat: ChatRow) -> None:
    """A message of the slow lane counts in its day, unless its recipient is a known contact by now."""
    is_cold = step.lane is Lane.SLOW and not (chat.known and _is_transactional(step.send))
    if is_cold and pace.is_paced(step.pacing):
        row.counted_day = pace.count_in_day(step.session, step.business, step.connection, step.now)


def _going(step: _Step, attempts: list[Attempt]) -> list[Attempt]:
    """The attempts; with one at least the send is running."""
    send = step.send
    if attempts:
        if send.status != SendStatus.RUNNING:
            send.status, send.started_at = SendStatus.RUNNING.value, send.started_at or step.now
        if send.waiting in _WHOLE or _speaks(send, step.lane):
            send.waiting = send.waiting_until = None
        due = send.next_step_at
        if due is None or not step.now + _GOING_ON / 2 <= due <= step.now + _OTHER_LANE_AGAIN:
            send.next_step_at = step.now + _GOING_ON
    return attempts
