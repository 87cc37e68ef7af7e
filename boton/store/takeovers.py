"""A human takes a chat over: with a message typed on the business's phone, or in the dashboard."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision, is_held
from boton.domain.events import EventType, NewEvent
from boton.domain.messages import HELD_BY_HUMAN, MessageKind, MessageStatus
from boton.store.asking import ask
from boton.store.inserts import table_of
from boton.store.steps import move
from boton.store.tables import DRAFTED, DUE, SUSPENDED, BusinessRow, ChatRow, MessageRow


def take_over(session: Session, chat: ChatRow, at: datetime, now: datetime) -> list[NewEvent]:
    """A locked chat is a human's from `at` on, for the business's `takeoverMinutes`; the event that tells it, unless
    it was taken over already. What is older than the takeover, or would be over by now, changes nothing. What the bot
    was about to say is not said any more, also when the chat is handed back at once.
    """
    until = at + timedelta(minutes=session.get_one(BusinessRow, chat.business_id).takeover_minutes)
    already_held = is_held(chat.takeover_until, None, now)
    is_older = chat.taken_over_at is not None and at < chat.taken_over_at.replace(microsecond=0)
    if until <= now or is_older:
        return []
    chat.taken_over_at, chat.takeover_until = at, until
    chat.handed_off_at = chat.handed_off_reason = None
    silence_bot(session, chat, now)
    return [] if already_held else [_taken_over_event(chat, until, now)]


_MESSAGE = table_of(MessageRow)
_LEAVE_TO_HUMAN = [
    update(_MESSAGE).where(_MESSAGE.c.chat_id == bindparam("of_chat"), waits).values(answer=AnswerDecision.HELD.value)
    for waits in (DUE, SUSPENDED)
]
_DRAFTS = (
    select(MessageRow)
    .where(
        col(MessageRow.chat_id) == bindparam("chat_id"),
        DRAFTED,
        col(MessageRow.kind).in_([MessageKind.REPLY.value, MessageKind.FOLLOW_UP.value]),
    )
    .order_by(col(MessageRow.id))
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)


def silence_bot(session: Session, chat: ChatRow, now: datetime) -> None:
    """The human has dealt with what is there: it is answered neither now nor once the chat is the bot's again."""
    for statement in _LEAVE_TO_HUMAN:
        ask(session, statement, of_chat=chat.id)
    for row in session.scalars(_DRAFTS, {"chat_id": chat.id}):
        move(row, MessageStatus.CANCELLED, now, HELD_BY_HUMAN)


def _taken_over_event(chat: ChatRow, until: datetime, now: datetime) -> NewEvent:
    data = {"jid": chat.jid, "until": until.isoformat().replace("+00:00", "Z")}
    return NewEvent(business_id=chat.business_id, type=EventType.CHAT_TAKEN_OVER, at=now, data=data)
