"""The next step of one send in one lane: what is claimed, or why nothing is. The send and its number are locked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select
from sqlmodel import Session, col

from boton.domain.events import NewEvent
from boton.domain.gateway import Attempt
from boton.domain.messages import UNFINISHED, Lane, MessageError, MessageStatus
from boton.domain.pacing import Pacing, Wait, WaitReason
from boton.domain.sends import SendCategory, SendKind, SendStatus
from boton.ports import Idle
from boton.store import pace
from boton.store.claims import claim
from boton.store.ending import cancel_queued, end_if_over, expire_queued
from boton.store.outages import away_seconds
from boton.store.steps import lock_chats, lock_messages
from boton.store.tables import BusinessRow, ChatRow, ConnectionRow, MessageRow, SendRow

_SETTLED_AT_ONCE = 100
"""Messages that guards forbid are settled on the way to the next claim, this many in one transaction."""

_OPENINGS_AT_ONCE = 10
_IN_FLIGHT_AGAIN = timedelta(seconds=2)
_OTHER_LANE_AGAIN = timedelta(minutes=10)
"""A send that waits in one lane may have work in the other: the sweeper looks at it sooner."""

_EXPIRED = MessageError(code="expired", detail="it was not sent before its expiresAt")
_AWAY = MessageError(code="expired", detail="the phone was away for longer than sendTtlHours")


def next_step(
    session: Session,
    connection: ConnectionRow,
    send: SendRow,
    lane: Lane,
    room: int,
    now: datetime,
    events: list[NewEvent],
) -> Sequence[Attempt] | Idle:
    """At most `room` attempts, or why there are none. With no room only what ends the send is looked at."""
    match SendStatus(send.status):
        case SendStatus.PAUSED:
            return Idle(why="paused")
        case SendStatus.FINISHED:
            return Idle(why="done")
        case SendStatus.CANCELLED:
            _, told = cancel_queued(session, send, now, _SETTLED_AT_ONCE)
            events += told
            return _end(session, send, lane, now, events)
    if send.send_at is not None and send.send_at > now:
        return _wait(send, lane, Wait(reason=WaitReason.SCHEDULED, until=send.send_at), now)
    if (expired := _find_expired(session, connection, send, now)) is not None:
        _, told = expire_queued(session, send, expired, now, _SETTLED_AT_ONCE)
        events += told
        return _end(session, send, lane, now, events)
    if room == 0:
        return _end(session, send, lane, now, events)
    business = session.get_one(BusinessRow, connection.business_id)
    pacing = pace.pacing_of(business, connection)
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


def _find_expired(session: Session, connection: ConnectionRow, send: SendRow, now: datetime) -> MessageError | None:
    """Why it is too late for all that is left. The time to live counts only while the connection was away."""
    if send.expires_at is not None and send.expires_at <= now:
        return _EXPIRED
    due = max(send.created_at, send.send_at or send.created_at)
    if send.ttl_seconds is None or (now - due).total_seconds() <= send.ttl_seconds:
        return None
    return _AWAY if away_seconds(session, connection, due, now) > send.ttl_seconds else None


def _wait(send: SendRow, lane: Lane, wait: Wait, now: datetime) -> Idle:
    """Says in the send what it waits for, and the sweeper when to look again; sooner where another lane may go on."""
    until = wait.until if send.expires_at is None else min(wait.until, send.expires_at)
    if lane is Lane.SLOW or send.lanes == Lane.FAST:
        send.waiting = wait.reason.value
    is_shared = " " in send.lanes and wait.reason is not WaitReason.SCHEDULED
    send.next_step_at = min(until, now + _OTHER_LANE_AGAIN) if is_shared else until
    return Idle(why="wait", until=until, reason=wait.reason.value)


def _end(session: Session, send: SendRow, lane: Lane, now: datetime, events: list[NewEvent]) -> Idle:
    """Nothing is claimed now: `more`, while something is queued in this lane; `done`, when nothing is left at all."""
    session.flush()
    left = {
        (row[0], row[1])
        for row in session.execute(
            select(col(MessageRow.lane), col(MessageRow.status))
            .where(
                col(MessageRow.send_id) == send.id,
                col(MessageRow.lane).in_(send.lanes.split()),
                col(MessageRow.status).in_([status.value for status in UNFINISHED]),
            )
            .distinct()
        )
    }
    if (lane.value, MessageStatus.QUEUED.value) in left:
        return Idle(why="more")
    if (lane.value, MessageStatus.SENDING.value) in left:
        return Idle(why="wait", until=now + _IN_FLIGHT_AGAIN, reason=WaitReason.IN_FLIGHT.value)
    if left:
        return Idle(why="lane_done")
    events += end_if_over(session, send, now)
    return Idle(why="done")


# ---------------------------------------------------------------- claiming


def _claim_some(step: _Step, room: int) -> Sequence[Attempt] | Idle:
    wait, only_known = _find_wait(step)
    if wait is not None and not only_known:
        return _wait(step.send, step.lane, wait, step.now)
    attempts: list[Attempt] = []
    for row, chat in _lock_queued(step, room, only_known=only_known):
        idle = _find_obstacle(step, row, chat)
        if idle is not None:
            return _going(step, attempts) or idle
        attempt = claim(
            step.session,
            chat,
            row,
            step.connection.epoch,
            step.now,
            step.events,
            step.send,
            step.pacing.unanswered_marketing,
        )
        if attempt is not None:
            attempts.append(attempt)
            _count(step, chat)
    if going := _going(step, attempts):
        return going
    if wait is not None and not _has_known(step):
        return _wait(step.send, step.lane, wait, step.now)
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
    statement = select(col(MessageRow.id), col(MessageRow.chat_id)).where(
        col(MessageRow.send_id) == step.send.id,
        col(MessageRow.lane) == step.lane.value,
        col(MessageRow.status) == MessageStatus.QUEUED.value,
    )
    if only_known:
        statement = statement.join(ChatRow, col(ChatRow.id) == col(MessageRow.chat_id)).where(col(ChatRow.known))
    return statement.order_by(col(MessageRow.position)).limit(limit)


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


def _count(step: _Step, chat: ChatRow) -> None:
    """A message of the slow lane counts in its day, unless its recipient is a known contact by now."""
    is_cold = step.lane is Lane.SLOW and not (chat.known and _is_transactional(step.send))
    if is_cold and pace.is_paced(step.pacing):
        pace.count_in_day(step.session, step.business, step.connection, step.now)


def _going(step: _Step, attempts: list[Attempt]) -> list[Attempt]:
    """The attempts; with one at least the send is running."""
    send = step.send
    if attempts:
        if send.status != SendStatus.RUNNING:
            send.status, send.started_at = SendStatus.RUNNING.value, send.started_at or step.now
        if send.waiting is not None and (step.lane is Lane.SLOW or send.lanes == Lane.FAST):
            send.waiting = None
        if send.next_step_at is None or send.next_step_at > step.now:
            send.next_step_at = step.now
    return attempts
