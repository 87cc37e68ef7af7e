"""How attempts ended: `sending → …`, with the id under which WhatsApp knows what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlmodel import Session, col

from boton.domain.events import NewEvent
from boton.domain.messages import SPOKEN_BY_THE_BOT, MessageError, MessageKind, MessageStatus, may_become
from boton.domain.sends import SendCategory
from boton.ports import Result
from boton.store.dialogues import settle_drafts, unopen_dialogue
from boton.store.pace import uncount_in_day
from boton.store.receipts import Known, record_whatsapp_ids
from boton.store.retiring import take_back_drafts
from boton.store.steps import end_failed_opening, lock_chats, lock_messages, move, unshow_in_chat
from boton.store.tables import ChatRow, ConnectionRow, MessageRow, SendRow

_TOO_LATE = MessageError(code="not_sent", detail="it turned out, too late to send it, that it never left")
_REFUSALS = 3
"""Times that WhatsApp may refuse the number for one message before the message fails."""


def record_results(session: Session, results: Sequence[Result], now: datetime) -> list[NewEvent]:
    """A result of an attempt that is no longer the message's, or that is recorded already, changes nothing."""
    ids = [result.attempt.message_id for result in results]
    if not ids:
        return []
    chat_ids = session.scalars(select(col(MessageRow.chat_id)).where(col(MessageRow.id).in_(ids))).all()
    chats = lock_chats(session, chat_ids)
    rows = lock_messages(session, ids)
    events: list[NewEvent] = []
    known: list[Known] = []
    for result in results:
        row = rows.get(result.attempt.message_id)
        if row is not None and row.attempt_id == result.attempt.id:
            chat = chats[row.chat_id]
            events += _record(session, chat, row, result, now)
            if result.sent is not None:
                chat.known = True
                known.append(Known(chat, row, result.sent.whatsapp_id, result.sent.at))
    return events + record_whatsapp_ids(session, known)


def _record(session: Session, chat: ChatRow, row: MessageRow, result: Result, now: datetime) -> list[NewEvent]:
    events: list[NewEvent] = []
    status, error = _read(row, result)
    if may_become(MessageStatus(row.status), status):
        events += move(row, status, now, error)
        if status is MessageStatus.QUEUED:
            _take_back(session, chat, row, now)
        if status in {MessageStatus.QUEUED, MessageStatus.FAILED}:
            _forget_unanswered(session, chat, row)
        if row.send_id is None and status is not MessageStatus.QUEUED:
            settle_drafts(session, chat, now)
    return events + end_failed_opening(session, chat, row, now)


def _read(row: MessageRow, result: Result) -> tuple[MessageStatus, MessageError | None]:
    """What the result means for its message. What was unconfirmed and never left is too late to be sent; what the
    number was refused for too often fails.
    """
    if not result.is_due_again:
        return result.status, result.error
    if row.status == MessageStatus.UNCONFIRMED:
        return MessageStatus.FAILED, _TOO_LATE
    row.refusals += result.refused
    if row.refusals >= _REFUSALS:
        return MessageStatus.FAILED, result.error
    return MessageStatus.QUEUED, None


def _take_back(session: Session, chat: ChatRow, row: MessageRow, now: datetime) -> None:
    """The message never left: it is due again, and nobody saw it. A reply is not, once its number was given up."""
    uncount_in_day(session, row)
    row.attempt_id, row.at = None, row.created_at
    unshow_in_chat(session, chat, row)
    if row.kind == MessageKind.OPENING:
        unopen_dialogue(session, chat, row, now)
    if row.send_id is None:
        chat.next_step_at = now
        if not session.get_one(ConnectionRow, row.connection_id).active:
            take_back_drafts(session, now, col(MessageRow.id) == row.id)


def _forget_unanswered(session: Session, chat: ChatRow, row: MessageRow) -> None:
    """The customer did not get it after all: it is none that they leave unanswered."""
    if row.kind in SPOKEN_BY_THE_BOT:
        chat.bot_unanswered = max(0, chat.bot_unanswered - 1)
    send = session.get(SendRow, row.send_id) if row.send_id else None
    if send is not None and send.category == SendCategory.MARKETING:
        chat.marketing_unanswered = max(0, chat.marketing_unanswered - 1)
