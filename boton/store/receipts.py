"""What proves that a message of ours arrived: its WhatsApp id, once it is known, and the receipts for it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlmodel import Session, col

from boton.domain.events import NewEvent
from boton.domain.gateway import ReceiptKind
from boton.domain.messages import MessageError, MessageKind, MessageStatus, may_become
from boton.store.steps import end_failed_opening, move, unshow_in_chat
from boton.store.tables import ChatRow, MessageRow, ReceiptRow

_RECEIPT_STATUS = {
    ReceiptKind.SENT: MessageStatus.SENT,
    ReceiptKind.DELIVERED: MessageStatus.DELIVERED,
    ReceiptKind.READ: MessageStatus.READ,
    ReceiptKind.REFUSED: MessageStatus.FAILED,
}
_REFUSED_LATER = MessageError(code="refused_later", detail="WhatsApp took the message and refused it afterwards")


def apply_receipt(session: Session, chat: ChatRow, row: MessageRow, kind: ReceiptKind, at: datetime) -> list[NewEvent]:
    """What a receipt tells of a message; one that comes late or twice changes nothing."""
    status = _RECEIPT_STATUS[kind]
    if not may_become(MessageStatus(row.status), status):
        return []
    if status is MessageStatus.FAILED:
        return move(row, status, at, _REFUSED_LATER) + end_failed_opening(session, chat, row, at)
    row.sent_at = row.sent_at or at
    return move(row, status, at)


def record_whatsapp_id(
    session: Session, chat: ChatRow, row: MessageRow, whatsapp_id: str, sent_at: datetime
) -> list[NewEvent]:
    """Notes under which id WhatsApp knows a message of a locked chat; receipts that came before it are applied."""
    if row.whatsapp_id is not None or not _make_free(session, chat, row, whatsapp_id):
        return []
    row.whatsapp_id = whatsapp_id
    row.sent_at = row.sent_at or sent_at
    session.flush()
    return _match_receipts(session, chat, row)


def _make_free(session: Session, chat: ChatRow, row: MessageRow, whatsapp_id: str) -> bool:
    """Whether the id is this message's alone. The phone may have shown the message before its id was known here, so
    that it was taken for one typed by a human: that one goes, with the takeover that it was.
    """
    other = session.scalars(
        select(MessageRow).where(
            col(MessageRow.connection_id) == row.connection_id,
            col(MessageRow.chat_id) == row.chat_id,
            col(MessageRow.whatsapp_id) == whatsapp_id,
        )
    ).one_or_none()
    if other is None or other.kind != MessageKind.PHONE:
        return other is None
    unshow_in_chat(session, chat, other)
    if chat.taken_over_at == other.at:
        chat.taken_over_at = chat.takeover_until = None
    session.delete(other)
    session.flush()
    return True


def _match_receipts(session: Session, chat: ChatRow, row: MessageRow) -> list[NewEvent]:
    """Applies the receipts that came before the message's WhatsApp id was known."""
    kept = session.scalars(
        select(ReceiptRow).where(
            col(ReceiptRow.connection_id) == row.connection_id,
            col(ReceiptRow.whatsapp_id) == row.whatsapp_id,
            col(ReceiptRow.chat_id) == row.chat_id,
        )
    ).all()
    events: list[NewEvent] = []
    for receipt in sorted(kept, key=lambda one: list(ReceiptKind).index(ReceiptKind(one.kind))):
        events += apply_receipt(session, chat, row, ReceiptKind(receipt.kind), receipt.at)
        session.delete(receipt)
    return events
