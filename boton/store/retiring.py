"""A number that its business gives up: nothing more is claimed for it, and what was queued for it is held."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlmodel import Session, col

from boton.domain.connections import ConnectionStatus
from boton.domain.events import NewEvent
from boton.domain.holds import SWITCHED
from boton.domain.messages import MessageError, MessageStatus
from boton.store import holding
from boton.store.connections import change_status
from boton.store.ending import lock_sends_ahead
from boton.store.events import append_events
from boton.store.numbers import fetch_active
from boton.store.steps import lock_ahead
from boton.store.tables import (
    DRAFTED,
    DUE,
    IN_FLIGHT,
    UNFINISHED,
    ChatRow,
    ConnectionRow,
    ConversationRow,
    FollowUpRow,
    MessageRow,
    PairingRow,
    ReminderRow,
    SendRow,
)

_MOVED_AT_ONCE = 500
_RECORDED_WITHIN = timedelta(minutes=3)
"""A link that was told to end has ended by then, and so has what it sent."""

_CHANGED_LATELY = timedelta(minutes=10)

_DRAFT = MessageError(code=SWITCHED, detail="the business went to another number; resumed, the bot writes it anew")
_IN_FLIGHT = MessageError(code=SWITCHED, detail="it was being sent when the business went to another number")


def retire(session: Session, row: ConnectionRow, reason: str, now: datetime) -> list[NewEvent]:
    """Ends a connection, locked FOR UPDATE by the caller, which keeps every claim waiting; the events that tell it.
    Its workflow is due: it ends the link.
    """
    row.active, row.next_step_at = False, now
    row.epoch += 1
    pairing = session.get(PairingRow, row.id)
    if pairing is not None:
        session.delete(pairing)
    events = change_status(row, ConnectionStatus.STOPPED, reason, now)
    session.flush()
    _hold_queue(session, row, now)
    return events


def _hold_queue(session: Session, row: ConnectionRow, now: datetime) -> None:
    """Sends, reminders, and what the bot owes, as after a restore; what is on its way is its link's to record. Locked
    in the order in which claims lock. It owes answers also to what came over the numbers before this one.
    """
    of_send = col(SendRow.connection_id) == row.id
    of_message = _LEFT & (col(MessageRow.business_id) == row.business_id)
    lock_sends_ahead(session, of_send & UNFINISHED)
    lock_ahead(session, col(ChatRow.id).in_(_chats_owed(of_message)))
    holding.hold_sends(session, SWITCHED, of_send)
    holding.hold_reminders(session, SWITCHED, col(ReminderRow.connection_id) == row.id)
    holding.suspend_answers(session, of_message)
    dialogues = select(col(ConversationRow.id)).where(col(ConversationRow.connection_id) == row.id)
    holding.cancel_follow_ups(session, now, col(FollowUpRow.conversation_id).in_(dialogues))
    take_back_drafts(session, now, of_message)


def _chats_owed(of_message: ColumnElement[bool]) -> ColumnElement[str]:
    return select(col(MessageRow.chat_id)).where(of_message, or_(DUE, DRAFTED)).scalar_subquery()


def take_back_drafts(session: Session, now: datetime, *those: ColumnElement[bool]) -> None:
    """Drafts that wait on a number that is gone, in chats locked by the caller: what they answer is held."""
    holding.take_back_drafts(session, _DRAFT, now, *those)


def find_left_behind(session: Session, now: datetime) -> bool:
    """Whether there is something for `settle_left_behind`. Reminders are looked through only after a change."""
    sends = select(col(SendRow.id)).where(UNFINISHED, *_unheld(SendRow))
    lost = select(col(MessageRow.id)).where(IN_FLIGHT, *_lost(now))
    changed = _GONE.where(col(ConnectionRow.status_at) > now - _CHANGED_LATELY)
    reminders = select(col(ReminderRow.id)).where(col(ReminderRow.ended_at).is_(None), *_unheld(ReminderRow))
    if any(_any(session, rows) for rows in (sends, lost, select(col(MessageRow.id)).where(DRAFTED, _LEFT))):
        return True
    return _any(session, changed) and _any(session, reminders)


def _any(session: Session, rows: Select[str]) -> bool:
    return session.execute(rows.limit(1)).first() is not None


def settle_left_behind(session: Session, now: datetime) -> None:
    """Of numbers that are gone: holds sends and reminders that were accepted at that moment, and replies that came
    back to it; and says of what their links have never recorded that nobody knows what became of it.
    """
    holding.hold_sends(session, SWITCHED, *_unheld(SendRow))
    holding.hold_reminders(session, SWITCHED, *_unheld(ReminderRow))
    lock_ahead(session, col(ChatRow.id).in_(select(col(MessageRow.chat_id)).where(DRAFTED, _LEFT).scalar_subquery()))
    take_back_drafts(session, now, _LEFT)
    events = holding.leave_in_flight(session, _IN_FLIGHT, now, *_lost(now))
    session.flush()
    append_events(session, events)


def _unheld(row: type[SendRow] | type[ReminderRow]) -> tuple[ColumnElement[bool], ...]:
    return col(row.connection_id).in_(_GONE), col(row.hold).is_(None)


def _lost(now: datetime) -> tuple[ColumnElement[bool], ...]:
    sending = col(MessageRow.status) == MessageStatus.SENDING.value
    return sending, col(MessageRow.connection_id).in_(_GONE), col(MessageRow.at) < now - _RECORDED_WITHIN


_GONE = select(col(ConnectionRow.id)).where(~col(ConnectionRow.active))
_LEFT = col(MessageRow.connection_id).in_(_GONE)


# ---------------------------------------------------------------- going on over another number


def move_some(session: Session, sends: Sequence[SendRow]) -> bool:
    """Moves halted sends of a business, locked by the caller, from numbers that are gone to its present one, some
    messages at a time; whether there are more. Raises Conflict when the business has none.
    """
    left = [send for send in sends if not session.get_one(ConnectionRow, send.connection_id).active]
    if not left:
        return False
    number = fetch_active(session, left[0].business_id).connection_id
    queued = (
        select(col(MessageRow.id))
        .where(
            col(MessageRow.send_id).in_([send.id for send in left]),
            col(MessageRow.status) == MessageStatus.QUEUED.value,
            col(MessageRow.connection_id) != number,
        )
        .order_by(col(MessageRow.id))
        .limit(_MOVED_AT_ONCE)
    )
    ids = session.scalars(queued).all()
    _move(session, ids, number)
    if len(ids) == _MOVED_AT_ONCE:
        return True
    for send in left:
        send.connection_id = number
    return False


def _move(session: Session, message_ids: Sequence[str], number: str) -> None:
    """With the conversations that they are to open."""
    these = col(MessageRow.id).in_(message_ids)
    opened = select(col(MessageRow.conversation_id)).where(these, col(MessageRow.conversation_id).is_not(None))
    for statement in (
        update(ConversationRow).where(col(ConversationRow.id).in_(opened)).values(connection_id=number),
        update(MessageRow).where(these).values(connection_id=number),
    ):
        session.execute(statement.execution_options(synchronize_session=False))
