"""Reminders: accepted in one transaction, told, moved and cancelled. What fires is in `firing`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlmodel import Session, col

from boton.domain.reminders import NewReminder, Reminder, ReminderStatus
from boton.domain.sends import SendKind
from boton.errors import NotFound
from boton.ids import Prefix, new_id
from boton.ports import AcceptedReminder, Advanced, CancelledReminder, IdempotencyKey, Page, ReminderPatch
from boton.store.aliases import ensure_chats, find_chat_id
from boton.store.contacts import introduce
from boton.store.engine import Database
from boton.store.firing import advance, look
from boton.store.idempotency import claim_key, find_answer
from boton.store.moving import cancel_reminder, change_reminder
from boton.store.numbers import fetch_active
from boton.store.reminder_rows import fetch_firings, from_timing, planned_rows, to_reminder
from boton.store.tables import ChatRow, FiringRow, ReminderRow

Answer = Callable[[Reminder], dict[str, Any]]


class SqlReminderStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def accept_reminder(
        self, new: NewReminder, to_answer: Answer, *, idempotency: IdempotencyKey | None = None
    ) -> AcceptedReminder:
        return await self._db.write(lambda session: _accept(session, new, to_answer, idempotency))

    async def find_accepted(self, business_id: str, idempotency: IdempotencyKey) -> dict[str, Any] | None:
        return await self._db.read(lambda session: find_answer(session, business_id, idempotency))

    async def fetch_reminder(self, business_id: str, reminder_id: str) -> Reminder:
        return await self._db.read(lambda session: _fetch(session, business_id, reminder_id))

    async def list_reminders(
        self, business_id: str, page: Page, *, status: ReminderStatus | None = None, jid: str | None = None
    ) -> tuple[Sequence[Reminder], int]:
        return await self._db.read(lambda session: _list(session, business_id, page, status, jid))

    async def note_started(self, reminder_id: str) -> None:
        await self._db.write(lambda session: _note_started(session, reminder_id))

    async def change_reminder(
        self, business_id: str, reminder_id: str, patch: ReminderPatch, now: datetime
    ) -> Reminder:
        await self._db.write(lambda session: change_reminder(session, business_id, reminder_id, patch, now))
        return await self.fetch_reminder(business_id, reminder_id)

    async def cancel_reminder(self, business_id: str, reminder_id: str, now: datetime) -> CancelledReminder:
        return await self._db.write(lambda session: cancel_reminder(session, business_id, reminder_id, now))

    async def advance_reminder(self, reminder_id: str, now: datetime) -> Advanced:
        """What follows a recurrence's firing is worked out before the row is locked: that may take a while."""
        advanced = None
        while advanced is None:
            advanced = await self._try_to_advance(reminder_id, now)
        return advanced

    async def _try_to_advance(self, reminder_id: str, now: datetime) -> Advanced | None:
        sight = await self._db.read(lambda session: look(session, reminder_id, now))
        return await self._db.write(lambda session: advance(session, reminder_id, sight, now))


# ---------------------------------------------------------------- accepting


def _accept(
    session: Session, new: NewReminder, to_answer: Answer, idempotency: IdempotencyKey | None
) -> AcceptedReminder:
    connection_id = fetch_active(session, new.business_id).connection_id
    chat = _chat(session, new)
    values = _values(new, connection_id, chat.id)
    firings = planned_rows(values["id"], new.plan.firings)
    reminder = to_reminder(ReminderRow(**values), chat.jid, [(FiringRow(**one), None) for one in firings])
    answer = to_answer(reminder)
    if idempotency is not None and not claim_key(session, new.business_id, idempotency, 201, answer, new.accepted_at):
        return AcceptedReminder(answer=find_answer(session, new.business_id, idempotency) or answer)
    session.execute(insert(ReminderRow), values)
    session.execute(insert(FiringRow), firings)
    return AcceptedReminder(answer=answer, reminder=reminder)


def _chat(session: Session, new: NewReminder) -> ChatRow:
    jid = new.recipient.jid
    chat_id = ensure_chats(session, new.business_id, [jid], new.accepted_at)[jid]
    if new.recipient.known:
        introduce(session, [chat_id], new.accepted_at)
    return session.get_one(ChatRow, chat_id, populate_existing=True)


def _values(new: NewReminder, connection_id: str, chat_id: str) -> dict[str, Any]:
    opens = new.kind is SendKind.INSTRUCTION
    next_at = new.plan.firings[0].at
    return {
        "id": new_id(Prefix.REMINDER),
        "business_id": new.business_id,
        "connection_id": connection_id,
        "chat_id": chat_id,
        "message": None if opens else new.recipient.text,
        "instruction": new.recipient.text if opens else None,
        "status": ReminderStatus.SCHEDULED.value,
        "recipient": new.recipient.to,
        "reference": new.recipient.reference,
        "cancel_on_reply": new.cancel_on_reply,
        "expire_after_minutes": new.expire_after_minutes,
        "respect_quiet_hours": new.respect_quiet_hours,
        "next_at": next_at,
        "created_at": new.accepted_at,
        "next_step_at": new.accepted_at,
        **from_timing(new.timing),
    }


def _note_started(session: Session, reminder_id: str) -> None:
    """Only as it was accepted: since then it may have been moved, held, looked at or have fired."""
    untouched = (
        col(ReminderRow.id) == reminder_id,
        col(ReminderRow.status) == ReminderStatus.SCHEDULED.value,
        col(ReminderRow.next_step_at) == col(ReminderRow.created_at),
    )
    session.execute(
        update(ReminderRow)
        .where(*untouched)
        .values(next_step_at=ReminderRow.next_at)
        .execution_options(synchronize_session=False)
    )


# ---------------------------------------------------------------- telling


def _fetch(session: Session, business_id: str, reminder_id: str) -> Reminder:
    row = session.get(ReminderRow, reminder_id)
    if row is None or row.business_id != business_id:
        raise NotFound("reminder", reminder_id)
    return _tell(session, row)


def _tell(session: Session, row: ReminderRow) -> Reminder:
    return to_reminder(row, session.get_one(ChatRow, row.chat_id).jid, fetch_firings(session, row.id))


def _list(
    session: Session, business_id: str, page: Page, status: ReminderStatus | None, jid: str | None
) -> tuple[list[Reminder], int]:
    wanted = [col(ReminderRow.business_id) == business_id]
    if status is not None:
        wanted.append(col(ReminderRow.status) == status.value)
    if jid is not None:
        wanted.append(col(ReminderRow.chat_id) == (find_chat_id(session, business_id, (jid,)) or ""))
    total = session.execute(select(func.count()).select_from(ReminderRow).where(*wanted)).scalar_one()
    newest = (
        select(ReminderRow)
        .where(*wanted)
        .order_by(col(ReminderRow.created_at).desc(), col(ReminderRow.id).desc())
        .limit(page.page_size)
        .offset(page.page * page.page_size)
    )
    return [_tell(session, row) for row in session.scalars(newest).all()], total
