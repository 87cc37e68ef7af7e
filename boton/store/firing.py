"""A reminder fires: once for each planned time, as a send of its own, in the transaction that marks it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlmodel import Session, col

from boton.domain.events import EventType, NewEvent
from boton.domain.pacing import QuietHours, to_quiet_hours
from boton.domain.planning import follow
from boton.domain.reminders import FiringStatus, ReminderStatus, Timing, to_planned
from boton.domain.sends import NewRecipient, NewSend, Send, SendCategory, SendKind
from boton.errors import Conflict, NotFound
from boton.ports import Advanced
from boton.store.accepting import KnownChat
from boton.store.asking import ask
from boton.store.events import append_events
from boton.store.numbers import Number, fetch_active
from boton.store.reminder_rows import fetch_scheduled, lock_reminder, planned_rows, to_timing
from boton.store.sends import prepare_send, store_send
from boton.store.tables import BusinessRow, ChatRow, ConnectionRow, FiringRow, ReminderRow

_CONNECTION_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a reminder, and what follows if it is so still. missed: a recurrence's times that are due
    beside the planned one; following: its next time to come.
    """

    timing: Timing
    next_at: datetime | None
    missed: tuple[datetime, ...] = ()
    following: datetime | None = None


def look(session: Session, reminder_id: str, now: datetime) -> Sight:
    """Raises NotFound."""
    row = session.get(ReminderRow, reminder_id)
    if row is None:
        raise NotFound("reminder", reminder_id)
    timing = to_timing(row)
    if row.next_at is None or row.next_at > now:
        return Sight(timing, row.next_at)
    missed, following = follow(timing, _quiet_hours(session, row), row.next_at, now)
    return Sight(timing, row.next_at, missed, following)


def advance(session: Session, reminder_id: str, sight: Sight, now: datetime) -> Advanced | None:
    """Fires what is due. None: it was moved since it was seen. Raises NotFound."""
    ask(session, _NUMBER, id=reminder_id)
    row = lock_reminder(session, reminder_id)
    if row.status != ReminderStatus.SCHEDULED or row.hold is not None:
        row.next_step_at = None
        return Advanced(state="done" if row.hold is None else "held")
    if (to_timing(row), row.next_at) != (sight.timing, sight.next_at):
        return None
    if row.next_at is None or row.next_at > now:
        return _go_on(session, row, now)
    return _fire_due(session, row, sight, now)


_NUMBER = (
    select(col(ConnectionRow.id))
    .join(ReminderRow, col(ReminderRow.business_id) == col(ConnectionRow.business_id))
    .where(col(ReminderRow.id) == bindparam("id"), col(ConnectionRow.active))
    .with_for_update(key_share=True, of=ConnectionRow)
)
"""The number is locked before the reminder: whoever gives it up has it when it comes for the reminders, and lost every
deadlock while many fired (measured). One firing after another: those who share a lock let nobody in between (giving the
number up took 7 s, until all had fired: measured).
"""


def _fire_due(session: Session, row: ReminderRow, sight: Sight, now: datetime) -> Advanced:
    """Of several that are due the newest fires, unless it is too late for it too; a connection is waited for."""
    due = _due(session, row, sight, now)
    newest = due[-1] if due and _is_in_time(due[-1], now) else None
    number = _find_number(session, row)
    if newest is not None and number is None:
        row.next_step_at = now + _CONNECTION_AGAIN
        return Advanced(state="wait", until=row.next_step_at)
    for firing in due:
        firing.status = FiringStatus.EXPIRED.value
    session.add_all(due)
    if sight.following is not None:
        session.add(_to_row(row, sight.following))
    if newest is None or number is None:
        return _go_on(session, row, now)
    send = _fire(session, row, number, newest, now)
    advanced = replace(_go_on(session, row, now), send=send)
    append_events(session, [_fired_event(session, row, newest, now)])
    return advanced


def _is_in_time(firing: FiringRow, now: datetime) -> bool:
    return firing.expires_at is None or now < firing.expires_at


def _due(session: Session, row: ReminderRow, sight: Sight, now: datetime) -> list[FiringRow]:
    """In order; those that were missed are not in the store yet. None, where an older plan names what has fired."""
    planned = [firing for firing in fetch_scheduled(session, row.id) if firing.at <= now]
    return planned + [_to_row(row, at) for at in sight.missed]


def _to_row(row: ReminderRow, at: datetime) -> FiringRow:
    planned = to_planned(at, to_timing(row), timedelta(minutes=row.expire_after_minutes))
    (values,) = planned_rows(row.id, [planned])
    return FiringRow(**values)


def _go_on(session: Session, row: ReminderRow, now: datetime) -> Advanced:
    """Sets the next firing to come; with none the reminder has finished."""
    session.flush()
    scheduled = fetch_scheduled(session, row.id)
    row.next_at = row.next_step_at = scheduled[0].at if scheduled else None
    if row.next_at is None:
        row.status, row.ended_at = ReminderStatus.FINISHED.value, now
    session.flush()
    return Advanced(state="done" if row.next_at is None else "wait", until=row.next_at)


# ---------------------------------------------------------------- one firing


def _fire(session: Session, row: ReminderRow, number: Number, firing: FiringRow, now: datetime) -> Send:
    chat = session.get_one(ChatRow, row.chat_id, populate_existing=True)
    known = KnownChat(id=chat.id, jid=chat.jid, known=chat.known)
    prepared = prepare_send(session, _to_send(row, chat, firing, now), number, {chat.jid: known})
    store_send(session, prepared)
    answer = prepared.answer
    row.connection_id = number.connection_id
    firing.status, firing.send_id = FiringStatus.FIRED.value, answer.send.id
    firing.message_id = answer.recipients[0].message_id
    return answer.send


def _to_send(row: ReminderRow, chat: ChatRow, firing: FiringRow, now: datetime) -> NewSend:
    text = row.message if row.message is not None else row.instruction or ""
    recipient = NewRecipient(to=row.recipient or chat.jid, jid=chat.jid, text=text, reference=row.reference)
    return NewSend(
        business_id=row.business_id,
        kind=SendKind.INSTRUCTION if row.message is None else SendKind.MESSAGE,
        category=SendCategory.TRANSACTIONAL,
        recipients=(recipient,),
        rejected=(),
        accepted_at=now,
        expires_at=firing.expires_at,
        respect_quiet_hours=row.respect_quiet_hours,
        reminder_id=row.id,
    )


def _fired_event(session: Session, row: ReminderRow, firing: FiringRow, now: datetime) -> NewEvent:
    data = {
        "reminderId": row.id,
        "jid": session.get_one(ChatRow, row.chat_id).jid,
        "reference": row.reference,
        "messageId": firing.message_id,
        "sendId": firing.send_id,
        "at": firing.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    return NewEvent(business_id=row.business_id, type=EventType.REMINDER_FIRED, at=now, data=data)


def _find_number(session: Session, row: ReminderRow) -> Number | None:
    try:
        return fetch_active(session, row.business_id)
    except Conflict:
        return None


def _quiet_hours(session: Session, row: ReminderRow) -> QuietHours | None:
    """Those that it respects."""
    business = session.get_one(BusinessRow, row.business_id)
    return to_quiet_hours(business.quiet_hours, business.timezone) if row.respect_quiet_hours else None
