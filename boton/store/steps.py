"""The steps of one message, as every part of the store takes them: one place writes a message's status."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, or_, select
from sqlmodel import Session, col

from boton.domain.conversations import ConversationOutcome, ConversationStatus
from boton.domain.events import EventType, NewEvent
from boton.domain.messages import (
    REPORTED,
    Direction,
    MessageError,
    MessageKind,
    MessageStatus,
    check_transition,
)
from boton.store.engine import Overtaken
from boton.store.follow_ups import cancel_planned
from boton.store.tables import ChatRow, ConversationRow, MessageRow


def _locking(statement: Select[Any]) -> Select[Any]:
    return statement.with_for_update(key_share=True).execution_options(populate_existing=True)


_CHAT = _locking(select(ChatRow).where(col(ChatRow.id) == bindparam("id")))
_CHATS = _locking(
    select(ChatRow).where(col(ChatRow.id).in_(bindparam("ids", expanding=True))).order_by(col(ChatRow.id))
)
_MESSAGE = _locking(select(MessageRow).where(col(MessageRow.id) == bindparam("id")))
_MESSAGES = _locking(
    select(MessageRow).where(col(MessageRow.id).in_(bindparam("ids", expanding=True))).order_by(col(MessageRow.id))
)
"""What every turn and every claim asks for is built once, here and elsewhere in the store: building a statement takes
SQLAlchemy longer than running it (measured).
"""


def lock_chat(session: Session, chat_id: str) -> ChatRow:
    """The chat's row, locked until the transaction ends: takeover, flags and claims of one chat take turns. Raises
    Overtaken when it has become part of another since it was read of.
    """
    row = find_locked(session, chat_id)
    if row is None:
        raise Overtaken
    return row


def find_locked(session: Session, chat_id: str) -> ChatRow | None:
    """The same; None: there is no such chat any more."""
    row: ChatRow | None = session.scalars(_CHAT, {"id": chat_id}).one_or_none()
    return row


def lock_message(session: Session, message_id: str) -> MessageRow | None:
    row: MessageRow | None = session.scalars(_MESSAGE, {"id": message_id}).one_or_none()
    return row


def lock_chats(session: Session, chat_ids: Iterable[str]) -> dict[str, ChatRow]:
    """Several chats, as `lock_chat` locks one; in the order of their ids, in which others lock them too. Raises
    Overtaken.
    """
    ids = set(chat_ids)
    rows = {row.id: row for row in session.scalars(_CHATS, {"ids": list(ids)})}
    if len(rows) < len(ids):
        raise Overtaken
    return rows


def lock_ahead(session: Session, chats: ColumnElement[bool]) -> None:
    """Locks all the chats of a transaction that takes them one by one, in the order of their ids: taken as they come,
    it could wait for another that waits for it. SQLite has one writer, and locks no rows.
    """
    if session.get_bind().dialect.name != "sqlite":
        ids = select(col(ChatRow.id)).where(chats).order_by(col(ChatRow.id))
        session.execute(ids.with_for_update(key_share=True))


def lock_messages(session: Session, message_ids: Iterable[str]) -> dict[str, MessageRow]:
    """Several messages, as `lock_message` locks one."""
    return {row.id: row for row in session.scalars(_MESSAGES, {"ids": list(set(message_ids))})}


def move(row: MessageRow, status: MessageStatus, now: datetime, error: MessageError | None = None) -> list[NewEvent]:
    """Takes one step of the state machine; the event that tells it, where there is one. Raises IllegalTransition."""
    check_transition(MessageStatus(row.status), status)
    row.status = status.value
    row.error_code = error.code if error else None
    row.error_detail = error.detail if error else None
    return [_status_event(row, now)] if status in REPORTED else []


def _status_event(row: MessageRow, now: datetime) -> NewEvent:
    data: dict[str, Any] = {"messageId": row.id, "jid": row.jid, "status": row.status, "text": row.text or ""}
    optional = {"sendId": row.send_id, "reference": row.reference, "conversationId": row.conversation_id}
    data |= {name: value for name, value in optional.items() if value is not None}
    if row.error_code is not None:
        data["error"] = {"code": row.error_code, "detail": row.error_detail}
    return NewEvent(business_id=row.business_id, type=EventType.MESSAGE_STATUS, at=now, data=data)


def show_in_chat(chat: ChatRow, row: MessageRow) -> None:
    """Counts a message in its chat, and makes it the chat's last one unless a newer one is there."""
    chat.message_count += 1
    if chat.last_at is None or row.at >= chat.last_at:
        _make_last(chat, row)
    chat.active_at = max(chat.active_at, row.at)


def unshow_in_chat(session: Session, chat: ChatRow, row: MessageRow) -> None:
    """Takes a message that was not sent after all out of its chat's count. What has an attempt was shown."""
    session.flush()
    chat.message_count -= 1
    newest = session.scalars(
        select(MessageRow)
        .where(
            col(MessageRow.chat_id) == chat.id,
            or_(col(MessageRow.status) == MessageStatus.RECEIVED.value, col(MessageRow.attempt_id).is_not(None)),
            col(MessageRow.id) != row.id,
        )
        .order_by(col(MessageRow.at).desc(), col(MessageRow.id).desc())
        .limit(1)
    ).one_or_none()
    if newest is None:
        chat.last_text = chat.last_direction = chat.last_at = None
    else:
        _make_last(chat, newest)


def _make_last(chat: ChatRow, row: MessageRow) -> None:
    chat.last_text = row.text or ""
    chat.last_direction = Direction(row.direction).value
    chat.last_at = row.at


def end_conversation(
    session: Session,
    chat: ChatRow,
    conversation_id: str | None,
    status: ConversationStatus,
    outcome: ConversationOutcome | None,
    now: datetime,
    summary: str | None = None,
) -> list[NewEvent]:
    """Ends a conversation of a locked chat, unless it has ended; the event that tells it. What the bot promised to
    write is written after a goal that was reached too.
    """
    conversation = session.get(ConversationRow, conversation_id) if conversation_id else None
    if conversation is None or conversation.ended_at is not None:
        return []
    told = close_conversation(chat, conversation, status, outcome, now, summary)
    cancel_planned(session, [conversation.id], now, promises=status is not ConversationStatus.DONE)
    return [told]


def close_conversation(
    chat: ChatRow,
    conversation: ConversationRow,
    status: ConversationStatus,
    outcome: ConversationOutcome | None,
    now: datetime,
    summary: str | None = None,
) -> NewEvent:
    """The same for one that has not ended; what is planned for it is the caller's to cancel."""
    conversation.status, conversation.outcome = status.value, outcome.value if outcome else None
    conversation.ended_at, conversation.summary = now, summary
    if chat.conversation_id == conversation.id:
        chat.conversation_id = None
    data: dict[str, Any] = {"conversationId": conversation.id, "jid": chat.jid, "status": status.value}
    data |= {"outcome": conversation.outcome, "summary": summary, "reference": conversation.reference}
    return NewEvent(business_id=chat.business_id, type=EventType.CONVERSATION_ENDED, at=now, data=data)


def end_failed_opening(session: Session, chat: ChatRow, row: MessageRow, now: datetime) -> list[NewEvent]:
    """A conversation whose opening has failed is over; of any other message this changes nothing."""
    if row.kind != MessageKind.OPENING or row.status != MessageStatus.FAILED:
        return []
    done, outcome = ConversationStatus.DONE, ConversationOutcome.ERROR
    return end_conversation(session, chat, row.conversation_id, done, outcome, now)
