"""Rows of reminders and their firings, and the domain objects they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, col

from boton.domain.messages import MessageStatus
from boton.domain.reminders import SHOWN_FIRINGS, Firing, FiringStatus, Planned, Reminder, ReminderStatus, Timing
from boton.errors import NotFound
from boton.store.tables import FiringRow, MessageRow, ReminderRow

Told = tuple[FiringRow, str | None]
"""A firing, and the status of the message that it fired."""

_AFTERWARDS = {
    MessageStatus.EXPIRED.value: FiringStatus.EXPIRED,
    MessageStatus.CANCELLED.value: FiringStatus.CANCELLED,
}
"""What has fired, but whose message never left."""


def lock_reminder(session: Session, reminder_id: str) -> ReminderRow:
    """The row, locked until the transaction ends; after those of chats, before nothing else. Raises NotFound."""
    row = session.scalars(
        select(ReminderRow)
        .where(col(ReminderRow.id) == reminder_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        raise NotFound("reminder", reminder_id)
    return row


def fetch_firings(session: Session, reminder_id: str) -> list[Told]:
    """In order; the newest, where there are many."""
    newest = (
        select(FiringRow, col(MessageRow.status))
        .outerjoin(MessageRow, col(MessageRow.id) == col(FiringRow.message_id))
        .where(col(FiringRow.reminder_id) == reminder_id)
        .order_by(col(FiringRow.at).desc())
        .limit(SHOWN_FIRINGS + 1)
    )
    return [(row, status) for row, status in reversed(session.execute(newest).all())]


def fetch_scheduled(session: Session, reminder_id: str) -> Sequence[FiringRow]:
    """The firings to come, in order."""
    return session.scalars(
        select(FiringRow)
        .where(col(FiringRow.reminder_id) == reminder_id, col(FiringRow.status) == FiringStatus.SCHEDULED.value)
        .order_by(col(FiringRow.at))
        .execution_options(populate_existing=True)
    ).all()


def planned_rows(reminder_id: str, planned: Iterable[Planned]) -> list[dict[str, Any]]:
    return [
        {
            "reminder_id": reminder_id,
            "at": one.at,
            "status": FiringStatus.SCHEDULED.value,
            "expires_at": one.expires_at,
        }
        for one in planned
    ]


def to_reminder(row: ReminderRow, jid: str, firings: Iterable[Told]) -> Reminder:
    """`jid`: the chat's, which the row does not hold."""
    return Reminder(
        id=row.id,
        business_id=row.business_id,
        chat_id=row.chat_id,
        to=row.recipient or jid,
        jid=jid,
        message=row.message,
        instruction=row.instruction,
        status=ReminderStatus(row.status),
        timing=to_timing(row),
        reference=row.reference,
        cancel_on_reply=row.cancel_on_reply,
        expire_after_minutes=row.expire_after_minutes,
        respect_quiet_hours=row.respect_quiet_hours,
        next_at=row.next_at,
        hold=row.hold,
        created_at=row.created_at,
        ended_at=row.ended_at,
        firings=tuple(_to_firing(*one) for one in firings),
    )


def to_timing(row: ReminderRow) -> Timing:
    return Timing(
        starts_at=row.starts_at,
        every=row.every,
        timezone=row.timezone,
        event_at=row.event_at,
        minutes=tuple(row.minutes or ()),
    )


def from_timing(timing: Timing) -> dict[str, Any]:
    """As the columns of ReminderRow hold it."""
    return {
        "starts_at": timing.starts_at,
        "every": timing.every,
        "timezone": timing.timezone,
        "event_at": timing.event_at,
        "minutes": list(timing.minutes) or None,
    }


def _to_firing(row: FiringRow, message_status: str | None) -> Firing:
    status = _AFTERWARDS.get(message_status or "", FiringStatus(row.status))
    return Firing(at=row.at, status=status, message_id=row.message_id, send_id=row.send_id)
