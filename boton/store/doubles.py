"""What two chats of one customer hold twice: one message that came in as two, one send that has two recipients.

Whoever calls these holds the rows of both chats locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision
from boton.domain.conversations import ConversationStatus
from boton.domain.events import NewEvent
from boton.domain.messages import MessageError, MessageKind, MessageStatus
from boton.store.steps import end_conversation, move, unshow_in_chat
from boton.store.tables import ChatRow, MessageRow

_REPEATED = MessageError(code="repeated", detail="the same customer is another recipient of this send")
_NOT_GOT = frozenset({MessageStatus.QUEUED, MessageStatus.FAILED, MessageStatus.CANCELLED, MessageStatus.EXPIRED})


def drop_doubles(session: Session, chat: ChatRow, other: ChatRow) -> None:
    """Of a message that is in both chats under WhatsApp's own id one stays: ours before one that was taken for typed on
    the phone, the answered one before one that is not.
    """
    here, there = aliased(MessageRow), aliased(MessageRow)
    pairs = select(here, there).where(
        col(here.chat_id) == chat.id,
        col(there.chat_id) == other.id,
        col(here.connection_id) == col(there.connection_id),
        col(here.whatsapp_id) == col(there.whatsapp_id),
        col(here.whatsapp_id).is_not(None),
        col(there.whatsapp_id).is_not(None),
    )
    for one, two in session.execute(pairs).all():
        worse = min((two, one), key=_worth)
        owner = chat if worse is one else other
        unshow_in_chat(session, owner, worse)
        if worse.kind == MessageKind.PHONE and owner.taken_over_at == worse.at:
            owner.taken_over_at = owner.takeover_until = None
        session.delete(worse)
    session.flush()


def _worth(row: MessageRow) -> tuple[bool, bool, bool]:
    answered, due = AnswerDecision.ANSWERED.value, AnswerDecision.DUE.value
    return row.kind != MessageKind.PHONE, row.answer == answered, row.answer == due


def find_sends_queued(session: Session, chat_ids: Sequence[str]) -> list[str]:
    """Sends that have something queued in these chats. To be locked before the chats are."""
    queued = select(col(MessageRow.send_id)).where(
        col(MessageRow.chat_id).in_(chat_ids),
        col(MessageRow.status) == MessageStatus.QUEUED.value,
        col(MessageRow.send_id).is_not(None),
    )
    return [send_id for send_id in session.scalars(queued.distinct()) if send_id is not None]


def drop_repeats(session: Session, chat: ChatRow, other: ChatRow, now: datetime) -> list[NewEvent]:
    """Nobody gets a send twice: of what is queued for both chats the first goes, or none where one has left already.
    What has left stays.
    """
    chats = {chat.id: chat, other.id: other}
    twice = (
        select(MessageRow)
        .where(col(MessageRow.chat_id).in_(chats), col(MessageRow.send_id).in_(find_sends_queued(session, [*chats])))
        .order_by(col(MessageRow.send_id), col(MessageRow.position))
        .execution_options(populate_existing=True)
    )
    events: list[NewEvent] = []
    for _, rows in groupby(session.scalars(twice).all(), lambda row: row.send_id):
        for row in _list_repeated(list(rows)):
            events += move(row, MessageStatus.CANCELLED, now, _REPEATED)
            cancelled = ConversationStatus.CANCELLED
            events += end_conversation(session, chats[row.chat_id], row.conversation_id, cancelled, None, now)
    session.flush()
    return events


def _list_repeated(rows: Sequence[MessageRow]) -> Sequence[MessageRow]:
    """Of one send's messages to one customer, in their order."""
    queued = [row for row in rows if row.status == MessageStatus.QUEUED]
    has_left = any(row.status not in _NOT_GOT for row in rows)
    return queued if has_left else queued[1:]
