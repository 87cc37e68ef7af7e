"""What a restore does to the store: nothing unfinished goes on by itself, and no link of the time since is believed.
Its parts, narrowed down to one connection, are also what becomes of a number that is given up.

The store does not know what happened after the backup was made: what it takes for queued may have arrived long ago.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision
from boton.domain.connections import ConnectionStatus
from boton.domain.events import NewEvent
from boton.domain.holds import RESTORED
from boton.domain.messages import MessageError, MessageStatus
from boton.domain.reminders import ReminderStatus
from boton.domain.sends import SendStatus
from boton.store.events import append_events
from boton.store.meta import BACKUP_KEY, NAMESPACE_KEY, RESTORED_KEY
from boton.store.steps import move
from boton.store.tables import (
    DRAFTED,
    DUE,
    IN_FLIGHT,
    PENDING,
    UNFINISHED,
    ChatRow,
    ConnectionRow,
    ConversationRow,
    FollowUpRow,
    LeaseRow,
    MessageRow,
    MetaRow,
    PairingRow,
    ReminderRow,
    SendRow,
    TallyRow,
    TurnRow,
)

Those = ColumnElement[bool]
"""Narrows down what is held; without any it is all there is."""

_IN_FLIGHT = MessageError(code=RESTORED, detail="it was being sent when the backup was made; it is not sent again")
_DRAFT = MessageError(code=RESTORED, detail="the bot had it ready when the backup was made; resumed, it writes anew")


def hold_everything(session: Session, now: datetime) -> None:
    """One transaction on a store that nobody else has open."""
    hold_sends(session, RESTORED)
    hold_reminders(session, RESTORED)
    suspend_answers(session)
    _rest_chats(session)
    cancel_follow_ups(session, now)
    take_back_drafts(session, _DRAFT, now)
    _outrank(session, now)
    _forget_the_running(session)
    events = leave_in_flight(session, _IN_FLIGHT, now)
    session.flush()
    append_events(session, events)


def hold_sends(session: Session, why: str, *those: Those) -> None:
    """What was held for another reason keeps it."""
    hold = func.coalesce(col(SendRow.hold), why)
    nothing = dict.fromkeys(("waiting", "waiting_until", "next_step_at"))
    held = {"status": SendStatus.PAUSED.value, "hold": hold, **nothing}
    session.execute(_all(update(SendRow).where(UNFINISHED, *those).values(held)))


def hold_reminders(session: Session, why: str, *those: Those) -> None:
    """Likewise."""
    scheduled = col(ReminderRow.status) == ReminderStatus.SCHEDULED.value
    values = {"hold": func.coalesce(col(ReminderRow.hold), why), "next_step_at": None}
    session.execute(_all(update(ReminderRow).where(scheduled, *those).values(values)))


def suspend_answers(session: Session, *those: Those) -> None:
    """Of messages that are the bot's to answer."""
    suspended = {"answer": AnswerDecision.SUSPENDED.value}
    session.execute(_all(update(MessageRow).where(DUE, *those).values(suspended)))


def _rest_chats(session: Session) -> None:
    """A conversation's time runs out all the same."""
    session.execute(_all(update(ChatRow).where(col(ChatRow.next_step_at).is_not(None)).values(next_step_at=None)))
    ends = select(col(ConversationRow.deadline_at)).where(
        col(ConversationRow.id) == col(ChatRow.conversation_id), col(ConversationRow.ended_at).is_(None)
    )
    in_dialogue = col(ChatRow.conversation_id).is_not(None)
    session.execute(_all(update(ChatRow).where(in_dialogue).values(next_step_at=ends.scalar_subquery())))


def cancel_follow_ups(session: Session, now: datetime, *those: Those) -> None:
    """Who knows what the customer has said since."""
    session.execute(_all(update(FollowUpRow).where(PENDING, *those).values(status="cancelled", ended_at=now)))


def take_back_drafts(session: Session, why: MessageError, now: datetime, *those: Those) -> None:
    """A draft is written anew if at all: who knows what the customer has read since."""
    for draft in session.scalars(select(MessageRow).where(DRAFTED, *those)).all():
        move(draft, MessageStatus.CANCELLED, now, why)
        turn = session.get(TurnRow, draft.turn_id) if draft.turn_id else None
        if turn is not None:
            _free(session, turn)


def _free(session: Session, turn: TurnRow) -> None:
    """What the turn answered waits for an answer again, and for another turn."""
    trigger = session.get(MessageRow, turn.trigger_id)
    if trigger is not None and trigger.answer == AnswerDecision.ANSWERED:
        trigger.answer = AnswerDecision.SUSPENDED.value
        turn.trigger_id = f"{turn.trigger_id}~{turn.id}"


def leave_in_flight(session: Session, why: MessageError, now: datetime, *those: Those) -> list[NewEvent]:
    """A link asks the gateway what became of it: sent or failed, never queued again. The events that tell it."""
    sending = select(MessageRow).where(IN_FLIGHT, col(MessageRow.status) == MessageStatus.SENDING.value, *those)
    locked = sending.order_by(col(MessageRow.id)).with_for_update(key_share=True)
    return [event for row in session.scalars(locked).all() for event in move(row, MessageStatus.UNCONFIRMED, now, why)]


def _outrank(session: Session, now: datetime) -> None:
    """The clock is ahead of every epoch and every `seq` that was given out since the backup: links of that time own
    nothing any more, are connected no more, and whoever reads events misses none.
    """
    seconds, milliseconds = int(now.timestamp()), int(now.timestamp() * 1000)
    for connection in session.scalars(select(ConnectionRow)):
        connection.epoch = max(connection.epoch, seconds)
        connection.answers_from = now
        if connection.status == ConnectionStatus.CONNECTED:
            connection.status = ConnectionStatus.CONNECTING.value
    for tally in session.scalars(select(TallyRow)):
        tally.event_seq = max(tally.event_seq, milliseconds)


def _forget_the_running(session: Session) -> None:
    """Temporal counts as a new one, whatever it still runs; the mark of a backup becomes the mark of a restore."""
    session.execute(delete(LeaseRow))
    session.execute(delete(PairingRow))
    session.execute(_all(update(MetaRow).where(col(MetaRow.key) == NAMESPACE_KEY).values(value="")))
    session.execute(delete(MetaRow).where(col(MetaRow.key) == RESTORED_KEY))
    session.execute(_all(update(MetaRow).where(col(MetaRow.key) == BACKUP_KEY).values(key=RESTORED_KEY)))


def _all(statement: Any) -> Any:
    return statement.execution_options(synchronize_session=False)
