"""How a reminder is moved, cancelled by a client, and cancelled by a customer's reply."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, select, update
from sqlmodel import Session, col

from boton.domain.messages import MessageStatus
from boton.domain.reminders import FiringStatus, Plan, ReminderStatus, to_planned
from boton.domain.sends import UNFINISHED_SENDS
from boton.errors import Conflict, NotFound
from boton.ports import CancelledReminder, ReminderPatch
from boton.store.asking import ask
from boton.store.inserts import insert_or_ignore
from boton.store.reminder_rows import (
    fetch_firings,
    fetch_scheduled,
    from_timing,
    lock_reminder,
    planned_rows,
    to_reminder,
    to_timing,
)
from boton.store.tables import ChatRow, FiringRow, MessageRow, ReminderRow, SendRow


def change_reminder(session: Session, business_id: str, reminder_id: str, patch: ReminderPatch, now: datetime) -> None:
    """Changes what was given. Raises NotFound, Conflict when it has ended."""
    row = _lock(session, business_id, reminder_id)
    if row.status != ReminderStatus.SCHEDULED:
        raise Conflict(f"Reminder {row.id} is {row.status}: make a new one.")
    for name, value in patch.values.items():
        setattr(row, name, value)
    if patch.timing is not None:
        for name, value in from_timing(patch.timing).items():
            setattr(row, name, value)
    session.flush()
    if patch.plan is not None:
        _replan(session, row, patch.plan, now)
    elif "expire_after_minutes" in patch.values:
        _set_ends(session, row)


def cancel_reminder(session: Session, business_id: str, reminder_id: str, now: datetime) -> CancelledReminder:
    """Cancels what has not fired; the sends that have fired and are queued still are the caller's to cancel.

    Cancelling twice changes nothing. Raises NotFound, Conflict when it has finished and nothing of it is queued.
    """
    row = _lock(session, business_id, reminder_id)
    queued = _queued_sends(session, row.id)
    if row.status == ReminderStatus.FINISHED and not queued:
        raise Conflict(f"Reminder {row.id} has finished: there is nothing left to cancel.")
    if row.status != ReminderStatus.CANCELLED:
        _cancel(session, row, now)
    session.flush()
    jid = session.get_one(ChatRow, row.chat_id).jid
    return CancelledReminder(reminder=to_reminder(row, jid, fetch_firings(session, row.id)), queued_sends=queued)


_NOT_NEEDED = (
    select(col(ReminderRow.id))
    .where(
        col(ReminderRow.chat_id) == bindparam("chat_id"),
        col(ReminderRow.status) == ReminderStatus.SCHEDULED.value,
        col(ReminderRow.cancel_on_reply),
        col(ReminderRow.created_at) < bindparam("at"),
    )
    .order_by(col(ReminderRow.id))
)


def cancel_on_reply(session: Session, chat_id: str, at: datetime, now: datetime) -> None:
    """The customer wrote at that time, in a locked chat: what was made before and is not needed then is cancelled."""
    for reminder_id in ask(session, _NOT_NEEDED, chat_id=chat_id, at=at).scalars().all():
        row = lock_reminder(session, reminder_id)
        if row.status == ReminderStatus.SCHEDULED:
            _cancel(session, row, now)


def _lock(session: Session, business_id: str, reminder_id: str) -> ReminderRow:
    row = lock_reminder(session, reminder_id)
    if row.business_id != business_id:
        raise NotFound("reminder", reminder_id)
    return row


def _replan(session: Session, row: ReminderRow, plan: Plan, now: datetime) -> None:
    """A time at which it has fired already stays as it is. Its workflow looks now, and again at the new time."""
    scheduled = col(FiringRow.status) == FiringStatus.SCHEDULED.value
    session.execute(delete(FiringRow).where(col(FiringRow.reminder_id) == row.id, scheduled))
    session.execute(insert_or_ignore(session.get_bind().dialect, FiringRow), planned_rows(row.id, plan.firings))
    row.next_at = plan.firings[0].at
    row.next_step_at = None if row.hold is not None else now


def _set_ends(session: Session, row: ReminderRow) -> None:
    expire_after = timedelta(minutes=row.expire_after_minutes)
    for firing in fetch_scheduled(session, row.id):
        firing.expires_at = to_planned(firing.at, to_timing(row), expire_after).expires_at


def _cancel(session: Session, row: ReminderRow, now: datetime) -> None:
    """`next_step_at`: its workflow is to end."""
    session.execute(
        update(FiringRow)
        .where(col(FiringRow.reminder_id) == row.id, col(FiringRow.status) == FiringStatus.SCHEDULED.value)
        .values(status=FiringStatus.CANCELLED.value)
        .execution_options(synchronize_session=False)
    )
    row.status, row.ended_at = ReminderStatus.CANCELLED.value, now
    row.next_at = row.hold = None
    row.next_step_at = now


def _queued_sends(session: Session, reminder_id: str) -> tuple[str, ...]:
    """What it has fired and has not left yet."""
    unfinished = select(col(SendRow.id)).where(
        col(SendRow.reminder_id) == reminder_id, col(SendRow.status).in_([status.value for status in UNFINISHED_SENDS])
    )
    ids = session.scalars(unfinished.order_by(col(SendRow.id))).all()
    queued = select(col(MessageRow.send_id)).where(
        col(MessageRow.send_id).in_(ids), col(MessageRow.status) == MessageStatus.QUEUED.value
    )
    still = set(session.scalars(queued)) if ids else set()
    return tuple(id for id in ids if id in still)
