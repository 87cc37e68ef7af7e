"""Queued messages of the bot in one chat, outside of any send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlmodel import Session, col

from boton.domain.messages import Direction, Lane, MessageError, MessageKind, MessageStatus, Sender
from boton.ids import Prefix, new_id
from boton.store.bulk import insert_rows
from boton.store.columns import storable
from boton.store.inserts import insert_into
from boton.store.steps import move
from boton.store.tables import DRAFTED, ChatRow, MessageRow, TurnRow

_ANSWERED = MessageError(code="answered", detail="the customer wrote before it left")


_WAITING = (
    select(MessageRow)
    .where(
        col(MessageRow.chat_id) == bindparam("chat_id"),
        DRAFTED,
        col(MessageRow.kind) == MessageKind.FOLLOW_UP.value,
        col(MessageRow.turn_id).is_not(None),
    )
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)


def drop_follow_ups(session: Session, chat: ChatRow, now: datetime) -> None:
    """The customer has written: a follow-up that waits to be sent asks for what is there. A promise stays."""
    for row in session.scalars(_WAITING, {"chat_id": chat.id}):
        move(row, MessageStatus.CANCELLED, now, _ANSWERED)


def add_drafts(
    session: Session,
    chat: ChatRow,
    connection_id: str,
    kind: MessageKind,
    texts: Sequence[str],
    now: datetime,
    conversation_id: str | None = None,
    turn: TurnRow | None = None,
    expires_at: datetime | None = None,
) -> None:
    """They leave in this order. The chat is owed a look from now on."""
    always = {
        "business_id": chat.business_id,
        "connection_id": connection_id,
        "chat_id": chat.id,
        "direction": Direction.OUTGOING.value,
        "kind": kind.value,
        "sender": Sender.BOT.value,
        "status": MessageStatus.QUEUED.value,
        "lane": Lane.FAST.value,
        "at": now,
        "created_at": now,
        "jid": chat.jid,
        "conversation_id": conversation_id,
        "turn_id": turn.id if turn is not None else None,
        "expires_at": expires_at,
    }
    rows = [{"id": new_id(Prefix.MESSAGE), "text": storable(text), **always} for text in texts]
    if rows:
        session.flush()
        insert_rows(session, insert_into(MessageRow), rows)
    chat.next_step_at = now
