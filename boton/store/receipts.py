"""What proves that a message of ours arrived: its WhatsApp id, once it is known, and the receipts for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlmodel import Session, col

from boton.domain.events import NewEvent
from boton.domain.gateway import Receipt, ReceiptKind
from boton.domain.messages import MessageError, MessageKind, MessageStatus, may_become
from boton.store.steps import end_failed_opening, lock_chats, move, unshow_in_chat
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


@dataclass(frozen=True, slots=True)
class Known:
    """A message of a locked chat, and under which id WhatsApp knows it since when."""

    chat: ChatRow
    row: MessageRow
    whatsapp_id: str
    sent_at: datetime


def record_whatsapp_ids(session: Session, known: Sequence[Known]) -> list[NewEvent]:
    """Notes under which ids WhatsApp knows messages of one connection; receipts that came before are applied."""
    new = [one for one in known if one.row.whatsapp_id is None]
    if not new:
        return []
    session.flush()
    taken = _find_taken(session, new)
    for one in new:
        other = taken.get((one.row.chat_id, one.whatsapp_id))
        if other is None or _make_free(session, one.chat, other):
            one.row.whatsapp_id = one.whatsapp_id
            one.row.sent_at = one.row.sent_at or one.sent_at
    session.flush()
    return _match_receipts(session, new)


def _find_taken(session: Session, new: Sequence[Known]) -> dict[tuple[str, str], MessageRow]:
    """Messages that bear these ids already, by chat and id."""
    rows = session.scalars(
        select(MessageRow).where(
            col(MessageRow.connection_id) == new[0].row.connection_id,
            col(MessageRow.chat_id).in_({one.row.chat_id for one in new}),
            col(MessageRow.whatsapp_id).in_([one.whatsapp_id for one in new]),
        )
    )
    return {(row.chat_id, row.whatsapp_id or ""): row for row in rows}


def _make_free(session: Session, chat: ChatRow, other: MessageRow) -> bool:
    """Whether the id is free now. The phone may have shown the message before its id was known here, so that it was
    taken for one typed by a human: that one goes, with the takeover that it was.
    """
    if other.kind != MessageKind.PHONE:
        return False
    unshow_in_chat(session, chat, other)
    if chat.taken_over_at == other.at:
        chat.taken_over_at = chat.takeover_until = None
    session.delete(other)
    session.flush()
    return True


def _match_receipts(session: Session, new: Sequence[Known]) -> list[NewEvent]:
    """Applies the receipts that came before the messages' WhatsApp ids were known."""
    kept = session.scalars(
        select(ReceiptRow).where(
            col(ReceiptRow.connection_id) == new[0].row.connection_id,
            col(ReceiptRow.whatsapp_id).in_([one.whatsapp_id for one in new]),
        )
    ).all()
    known = {(one.row.chat_id, one.row.whatsapp_id): one for one in new}
    events: list[NewEvent] = []
    for receipt in _in_order(kept):
        found = known.get((receipt.chat_id, receipt.whatsapp_id))
        if found is not None:
            events += apply_receipt(session, found.chat, found.row, ReceiptKind(receipt.kind), receipt.at)
            session.delete(receipt)
    return events


def _in_order(kept: Iterable[ReceiptRow]) -> list[ReceiptRow]:
    return sorted(kept, key=lambda one: list(ReceiptKind).index(ReceiptKind(one.kind)))


# ---------------------------------------------------------------- receipts that come in


def record_receipts(
    session: Session, connection_id: str, receipts: Sequence[Receipt], chat_ids: Mapping[str, str]
) -> list[NewEvent]:
    """Receipts prove what became of messages; those whose message is not known yet are kept for it. chat_ids: of the
    customers that are known, by JID.
    """
    told = [(receipt, chat_ids[receipt.jid]) for receipt in receipts if receipt.jid in chat_ids]
    chats = lock_chats(session, {chat_id for _, chat_id in told})
    rows = _lock_rows(session, connection_id, told)
    events: list[NewEvent] = []
    for receipt, chat_id in told:
        for whatsapp_id in receipt.whatsapp_ids:
            row = rows.get((chat_id, whatsapp_id))
            if row is not None:
                events += apply_receipt(session, chats[chat_id], row, receipt.kind, receipt.at)
            else:
                _keep(session, connection_id, chat_id, whatsapp_id, receipt)
    session.flush()
    return events


def _lock_rows(
    session: Session, connection_id: str, told: Sequence[tuple[Receipt, str]]
) -> dict[tuple[str, str], MessageRow]:
    """The messages that receipts tell of, by chat and WhatsApp id: by one of them alone none is known."""
    rows = session.scalars(
        select(MessageRow)
        .where(
            col(MessageRow.connection_id) == connection_id,
            col(MessageRow.chat_id).in_({chat_id for _, chat_id in told}),
            col(MessageRow.whatsapp_id).in_({id for receipt, _ in told for id in receipt.whatsapp_ids}),
        )
        .order_by(col(MessageRow.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return {(row.chat_id, row.whatsapp_id or ""): row for row in rows}


def _keep(session: Session, connection_id: str, chat_id: str, whatsapp_id: str, receipt: Receipt) -> None:
    session.merge(
        ReceiptRow(
            connection_id=connection_id,
            whatsapp_id=whatsapp_id,
            kind=receipt.kind.value,
            chat_id=chat_id,
            at=receipt.at,
        )
    )


# ---------------------------------------------------------------- two chats that become one


def move_receipts(session: Session, chat: ChatRow, other_id: str) -> list[NewEvent]:
    """What is kept for a chat that has become part of this one, which is locked: applied where its message is there."""
    kept = session.scalars(select(ReceiptRow).where(col(ReceiptRow.chat_id).in_([chat.id, other_id]))).all()
    ids = {receipt.whatsapp_id for receipt in kept}
    rows = session.scalars(
        select(MessageRow).where(col(MessageRow.chat_id) == chat.id, col(MessageRow.whatsapp_id).in_(ids))
    )
    messages = {(row.connection_id, row.whatsapp_id): row for row in rows}
    events: list[NewEvent] = []
    for receipt in _in_order(kept):
        row = messages.get((receipt.connection_id, receipt.whatsapp_id))
        if row is not None:
            events += apply_receipt(session, chat, row, ReceiptKind(receipt.kind), receipt.at)
        elif receipt.chat_id == other_id:
            session.merge(ReceiptRow(**{**receipt.model_dump(), "chat_id": chat.id}))
        if row is not None or receipt.chat_id == other_id:
            session.delete(receipt)
    session.flush()
    return events
