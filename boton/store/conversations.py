"""Instruction-led dialogues as the API tells them; cancelled by whoever asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlmodel import Session, col

from boton.domain.conversations import Conversation, ConversationStatus
from boton.domain.events import NewEvent
from boton.domain.messages import CONVERSATION_CANCELLED, MessageStatus
from boton.domain.sends import SendStatus
from boton.errors import Conflict, NotFound
from boton.ports import CancelledConversation, Page
from boton.store.aliases import find_chat_id
from boton.store.dialogues import next_step
from boton.store.ending import end_if_over
from boton.store.engine import Database
from boton.store.events import append_events
from boton.store.rows import to_conversation
from boton.store.staleness import may_take_back, take_back
from boton.store.steps import end_conversation, lock_chat, move
from boton.store.tables import ChatRow, ConversationRow, MessageRow, SendRow, TurnRow


class SqlConversationStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def list_conversations(
        self, business_id: str, page: Page, *, status: ConversationStatus | None = None, jid: str | None = None
    ) -> tuple[Sequence[Conversation], int]:
        return await self._db.read(lambda session: _list(session, business_id, page, status, jid))

    async def fetch_conversation(self, business_id: str, conversation_id: str) -> Conversation:
        return await self._db.read(lambda session: _tell(session, _get(session, business_id, conversation_id)))

    async def cancel_conversation(self, business_id: str, conversation_id: str, now: datetime) -> CancelledConversation:
        return await self._db.write(lambda session: _cancel(session, business_id, conversation_id, now))


def _get(session: Session, business_id: str, conversation_id: str) -> ConversationRow:
    row = session.get(ConversationRow, conversation_id)
    if row is None or row.business_id != business_id:
        raise NotFound("conversation", conversation_id)
    return row


def _tell(session: Session, row: ConversationRow) -> Conversation:
    return to_conversation(row, session.get_one(ChatRow, row.chat_id).jid)


def _list(
    session: Session, business_id: str, page: Page, status: ConversationStatus | None, jid: str | None
) -> tuple[list[Conversation], int]:
    wanted: list[ColumnElement[bool]] = [col(ConversationRow.business_id) == business_id]
    if status is not None:
        wanted.append(col(ConversationRow.status) == status.value)
    if jid is not None:
        wanted.append(col(ConversationRow.chat_id) == find_chat_id(session, business_id, [jid]))
    total = session.execute(select(func.count()).select_from(ConversationRow).where(*wanted)).scalar_one()
    newest = (
        select(ConversationRow, col(ChatRow.jid))
        .join(ChatRow, col(ChatRow.id) == col(ConversationRow.chat_id))
        .where(*wanted)
        .order_by(col(ConversationRow.created_at).desc(), col(ConversationRow.id).desc())
        .limit(page.page_size)
        .offset(page.page * page.page_size)
    )
    return [to_conversation(row, jid) for row, jid in session.execute(newest)], total


# ---------------------------------------------------------------- cancelling


def _cancel(session: Session, business_id: str, conversation_id: str, now: datetime) -> CancelledConversation:
    """What is on its way stays as it is. Locks are taken in the order send, chat, message."""
    row = _get(session, business_id, conversation_id)
    send = _lock_send(session, row)
    chat = lock_chat(session, row.chat_id)
    session.refresh(row)
    if row.ended_at is not None and row.status != ConversationStatus.CANCELLED:
        raise Conflict(f"Conversation {row.id} has ended as {row.status}: it cannot be cancelled any more.")
    events = end_conversation(session, chat, row.id, ConversationStatus.CANCELLED, None, now)
    events += _cancel_queued(session, chat, row, now)
    if send is not None and send.status in {SendStatus.PAUSED, SendStatus.RUNNING, SendStatus.QUEUED}:
        events += end_if_over(session, [send], now)
    chat.next_step_at = next_step(session, chat, now)
    session.flush()
    append_events(session, events)
    return CancelledConversation(conversation=_tell(session, row), chat_id=chat.id)


def _lock_send(session: Session, row: ConversationRow) -> SendRow | None:
    """That of its opening: with the last one of its messages it is over."""
    if row.send_id is None:
        return None
    mine = select(SendRow).where(col(SendRow.id) == row.send_id).with_for_update(key_share=True)
    return session.scalars(mine.execution_options(populate_existing=True)).one_or_none()


def _cancel_queued(session: Session, chat: ChatRow, conversation: ConversationRow, now: datetime) -> list[NewEvent]:
    """Its opening, and what the bot had ready to say; what a reply was to answer is answered without the goal."""
    turn = session.get(TurnRow, chat.turn_id) if chat.turn_id else None
    if turn is not None and turn.conversation_id == conversation.id and may_take_back(session, turn):
        take_back(session, chat, turn, now)
    queued = select(MessageRow).where(
        col(MessageRow.chat_id) == conversation.chat_id,
        col(MessageRow.conversation_id) == conversation.id,
        col(MessageRow.status) == MessageStatus.QUEUED.value,
    )
    rows = session.scalars(
        queued.order_by(col(MessageRow.id)).with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    cancelled = MessageStatus.CANCELLED
    return [event for row in rows for event in move(row, cancelled, now, CONVERSATION_CANCELLED)]
