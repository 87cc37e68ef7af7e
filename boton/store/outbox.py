"""Claim, send, record: the store's part of principle 2. One transaction before the wire is touched, one after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import and_, func, select
from sqlmodel import Session, col

from boton.domain.conversations import ConversationStatus
from boton.domain.events import EventType, NewEvent
from boton.domain.gateway import Attempt
from boton.domain.messages import (
    UNFINISHED,
    ClaimFacts,
    MessageError,
    MessageKind,
    MessageStatus,
    forbids,
    may_become,
)
from boton.domain.sends import SendCategory, SendStatus
from boton.errors import NotFound, StaleEpoch
from boton.ids import Prefix, new_id
from boton.ports import Idle, Result
from boton.store.chats import set_flags
from boton.store.connections import own
from boton.store.engine import Database
from boton.store.events import append_events
from boton.store.receipts import record_whatsapp_id
from boton.store.steps import (
    end_conversation,
    end_failed_opening,
    lock_chat,
    lock_message,
    move,
    show_in_chat,
    unshow_in_chat,
)
from boton.store.tables import IN_FLIGHT, ChatRow, ConversationRow, MessageRow, SendRow

_SETTLED_AT_ONCE = 100
"""Messages that guards forbid are settled on the way to the next claim, this many in one transaction."""

_OPENINGS_AT_ONCE = 10
_IN_FLIGHT_AGAIN = timedelta(seconds=2)
_ASKED_AGAIN = 100
_TOO_LATE = MessageError(code="not_sent", detail="it turned out, too late to send it, that it never left")


class SqlOutboxStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def advance_send(
        self, send_id: str, connection_id: str, epoch: int, *, record: Result | None, now: datetime
    ) -> Attempt | Idle:
        return await self._db.write(lambda session: _advance(session, send_id, connection_id, epoch, record, now))

    async def claim_message(self, message_id: str, connection_id: str, epoch: int, now: datetime) -> Attempt | None:
        return await self._db.write(lambda session: _claim_message(session, message_id, connection_id, epoch, now))

    async def record_result(self, result: Result, now: datetime) -> None:
        await self._db.write(lambda session: _record_alone(session, result, now))

    async def list_left_in_flight(self, connection_id: str, epoch: int) -> Sequence[Attempt]:
        return await self._db.read(lambda session: _list_left_in_flight(session, connection_id, epoch))


# ---------------------------------------------------------------- claim


def _advance(
    session: Session, send_id: str, connection_id: str, epoch: int, record: Result | None, now: datetime
) -> Attempt | Idle:
    try:
        own(session, connection_id, epoch)
    except StaleEpoch:
        step: Attempt | Idle = Idle(why="not_owner")
        events = _record(session, record, now) if record else []
    else:
        send = _lock_send(session, send_id, connection_id)
        events = _record(session, record, now) if record else []
        step = _next_step(session, send, epoch, now, events)
    session.flush()
    append_events(session, events)
    return step


def _lock_send(session: Session, send_id: str, connection_id: str) -> SendRow:
    """Not FOR SHARE: the first claim and the last one write this row, and two that share it would dead-lock then."""
    row = session.scalars(
        select(SendRow)
        .where(col(SendRow.id) == send_id, col(SendRow.connection_id) == connection_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        raise NotFound("send", send_id)
    return row


def _next_step(session: Session, send: SendRow, epoch: int, now: datetime, events: list[NewEvent]) -> Attempt | Idle:
    match SendStatus(send.status):
        case SendStatus.PAUSED:
            return Idle(why="paused")
        case SendStatus.FINISHED | SendStatus.CANCELLED:
            return Idle(why="done")
    if send.send_at is not None and send.send_at > now:
        return Idle(why="wait", until=send.send_at)
    for _ in range(_SETTLED_AT_ONCE):
        row = _next_queued(session, send.id)
        if row is None:
            return _finish(session, send, now, events)
        if row.text is None:
            return Idle(why="compose", message_ids=_unwritten(session, send.id))
        attempt = _claim(session, row, epoch, now, send, events)
        session.flush()
        if attempt is not None:
            _mark_running(send, now)
            return attempt
    return Idle(why="more")


def _next_queued(session: Session, send_id: str) -> MessageRow | None:
    return session.scalars(
        select(MessageRow)
        .where(col(MessageRow.send_id) == send_id, col(MessageRow.status) == MessageStatus.QUEUED.value)
        .order_by(col(MessageRow.position))
        .limit(1)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _unwritten(session: Session, send_id: str) -> tuple[str, ...]:
    ids = session.scalars(
        select(col(MessageRow.id))
        .where(
            col(MessageRow.send_id) == send_id,
            col(MessageRow.status) == MessageStatus.QUEUED.value,
            col(MessageRow.text).is_(None),
        )
        .order_by(col(MessageRow.position))
        .limit(_OPENINGS_AT_ONCE)
    )
    return tuple(ids)


def _mark_running(send: SendRow, now: datetime) -> None:
    if send.status != SendStatus.RUNNING.value:
        send.status = SendStatus.RUNNING.value
        send.started_at = send.started_at or now


def _finish(session: Session, send: SendRow, now: datetime, events: list[NewEvent]) -> Idle:
    """Nothing is queued: the send is finished, unless an attempt is still in flight."""
    in_flight = session.scalars(
        select(col(MessageRow.id))
        .where(
            col(MessageRow.send_id) == send.id,
            col(MessageRow.status).in_([status.value for status in UNFINISHED]),
        )
        .limit(1)
    ).one_or_none()
    if in_flight is not None:
        return Idle(why="wait", until=now + _IN_FLIGHT_AGAIN)
    send.status, send.finished_at, send.next_step_at = SendStatus.FINISHED.value, now, None
    events.append(_finished_event(session, send, now))
    return Idle(why="done")


def _finished_event(session: Session, send: SendRow, now: datetime) -> NewEvent:
    counted = session.execute(
        select(col(MessageRow.status), func.count())
        .where(col(MessageRow.send_id) == send.id)
        .group_by(col(MessageRow.status))
    )
    counts = {row[0]: row[1] for row in counted}
    data = {"sendId": send.id, "total": send.total, "counts": counts}
    return NewEvent(business_id=send.business_id, type=EventType.SEND_FINISHED, at=now, data=data)


def _claim_message(session: Session, message_id: str, connection_id: str, epoch: int, now: datetime) -> Attempt | None:
    own(session, connection_id, epoch)
    row = session.get(MessageRow, message_id)
    if row is None or row.connection_id != connection_id:
        return None
    events: list[NewEvent] = []
    attempt = _claim(session, row, epoch, now, None, events)
    session.flush()
    append_events(session, events)
    return attempt


def _claim(
    session: Session, row: MessageRow, epoch: int, now: datetime, send: SendRow | None, events: list[NewEvent]
) -> Attempt | None:
    """`queued → sending` under the guards of the message's kind; None when it is not queued any more, or when a guard
    forbade it, which settles it.
    """
    chat = lock_chat(session, row.chat_id)
    lock_message(session, row.id)
    if row.status != MessageStatus.QUEUED:
        return None
    refusal = forbids(MessageKind(row.kind), _facts(chat, row, send, now), now)
    if refusal is not None:
        events += move(row, refusal.status, now, refusal.error)
        if row.kind == MessageKind.OPENING:
            events += end_conversation(session, chat, row.conversation_id, ConversationStatus.CANCELLED, None, now)
        return None
    events += move(row, MessageStatus.SENDING, now)
    row.attempt_id, row.epoch, row.at = new_id(Prefix.ATTEMPT), epoch, now
    if row.kind == MessageKind.OPENING:
        _open_conversation(session, chat, row)
    show_in_chat(chat, row)
    chat.known = True
    return _to_attempt(row)


def _facts(chat: ChatRow, row: MessageRow, send: SendRow | None, now: datetime) -> ClaimFacts:
    return ClaimFacts(
        untouchable=chat.untouchable,
        held_by_human=chat.takeover_until is not None and chat.takeover_until > now,
        taken_over_at=chat.taken_over_at,
        bot_enabled=chat.bot_enabled,
        opted_out=chat.opted_out,
        marketing=send is not None and send.category == SendCategory.MARKETING,
        accepted_at=row.created_at,
        expires_at=row.expires_at,
    )


def _open_conversation(session: Session, chat: ChatRow, row: MessageRow) -> None:
    """The bot is on in this chat from its opening on, and an older takeover is over."""
    set_flags(session, chat, bot_enabled=True)
    chat.taken_over_at = chat.takeover_until = None
    chat.conversation_id = row.conversation_id
    conversation = session.get(ConversationRow, row.conversation_id)
    if conversation is not None and conversation.status == ConversationStatus.OPENING:
        conversation.status = ConversationStatus.WAITING.value


def _to_attempt(row: MessageRow) -> Attempt:
    assert row.attempt_id is not None
    assert row.epoch is not None
    return Attempt(
        id=row.attempt_id,
        message_id=row.id,
        kind=MessageKind(row.kind),
        epoch=row.epoch,
        jid=row.jid,
        text=row.text or "",
        claimed_at=row.at,
    )


# ---------------------------------------------------------------- record


def _record_alone(session: Session, result: Result, now: datetime) -> None:
    events = _record(session, result, now)
    session.flush()
    append_events(session, events)


def _record(session: Session, result: Result, now: datetime) -> list[NewEvent]:
    """`sending → …`. A result of an attempt that is no longer the message's, or that is recorded, changes nothing."""
    found = session.get(MessageRow, result.attempt.message_id)
    if found is None:
        return []
    chat = lock_chat(session, found.chat_id)
    row = lock_message(session, found.id)
    if row is None or row.attempt_id != result.attempt.id:
        return []
    events: list[NewEvent] = []
    if row.status == MessageStatus.UNCONFIRMED and result.is_due_again:
        events += move(row, MessageStatus.FAILED, now, _TOO_LATE)
    elif may_become(MessageStatus(row.status), result.status):
        events += move(row, result.status, now, result.error)
        if result.is_due_again:
            _take_back(session, chat, row, now)
    events += end_failed_opening(session, chat, row, now)
    if result.sent is not None:
        events += record_whatsapp_id(session, chat, row, result.sent.whatsapp_id, result.sent.at)
    return events


def _take_back(session: Session, chat: ChatRow, row: MessageRow, now: datetime) -> None:
    """The message never left: it is due again, and nobody saw it."""
    row.attempt_id, row.at = None, row.created_at
    unshow_in_chat(session, chat, row)
    if row.turn_id is not None:
        chat.next_step_at = now


def _list_left_in_flight(session: Session, connection_id: str, epoch: int) -> list[Attempt]:
    mine = and_(col(MessageRow.connection_id) == connection_id, IN_FLIGHT)
    sending = select(MessageRow).where(
        mine, col(MessageRow.status) == MessageStatus.SENDING.value, col(MessageRow.epoch) < epoch
    )
    unconfirmed = (
        select(MessageRow)
        .where(mine, col(MessageRow.status) == MessageStatus.UNCONFIRMED.value)
        .order_by(col(MessageRow.at).desc())
        .limit(_ASKED_AGAIN)
    )
    rows = [*session.scalars(sending), *session.scalars(unconfirmed)]
    return [_to_attempt(row) for row in sorted(rows, key=lambda row: (row.at, row.id))]
