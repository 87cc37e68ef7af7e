"""An instruction-led dialogue in its chat: opened, replaced, expired, handed to a human; and when the chat is next due.

Whoever calls these holds the chat's row locked.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision, is_held
from boton.domain.conversations import OPEN_CONVERSATIONS, ConversationOutcome, ConversationStatus
from boton.domain.events import EventType, NewEvent
from boton.domain.pacing import quiet_until, to_quiet_hours
from boton.store.asking import ask
from boton.store.chats import hand_back, set_flags
from boton.store.follow_ups import cancel_planned, find_next, plan
from boton.store.steps import end_conversation
from boton.store.tables import DRAFTED, DUE, BusinessRow, ChatRow, ConnectionRow, ConversationRow, MessageRow

_IN_CHAT = select(col(MessageRow.id)).where(col(MessageRow.chat_id) == bindparam("chat_id")).limit(1)
OF_ACTIVE = (
    select(col(ConnectionRow.active)).where(col(ConnectionRow.id) == col(MessageRow.connection_id)).scalar_subquery()
)
"""Of messages: whether their connection is active. What is queued for one that the business has left is held."""

_DRAFTED = _IN_CHAT.where(DRAFTED, OF_ACTIVE)
_OWED = _IN_CHAT.where(DUE)


def find_open(session: Session, chat: ChatRow) -> ConversationRow | None:
    """The conversation that goes on in the chat."""
    row = session.get(ConversationRow, chat.conversation_id) if chat.conversation_id else None
    return row if row is not None and row.status in OPEN_CONVERSATIONS else None


def why_not(chat: ChatRow, now: datetime) -> AnswerDecision | None:
    """Why the bot may not even read this chat any more."""
    if chat.untouchable:
        return AnswerDecision.UNTOUCHABLE
    if is_held(chat.takeover_until, chat.handed_off_at, now):
        return AnswerDecision.HELD
    return None if chat.bot_enabled else AnswerDecision.BOT_OFF


def note(session: Session, chat: ChatRow, status: ConversationStatus) -> None:
    """What the bot does now in the conversation that goes on, where one does."""
    conversation = find_open(session, chat)
    if conversation is not None:
        conversation.status = status.value


def open_dialogue(session: Session, chat: ChatRow, opening: MessageRow, now: datetime) -> list[NewEvent]:
    """The opening leaves now: the bot is on in this chat, an older takeover is over, an older goal replaced."""
    set_flags(session, chat, bot_enabled=True)
    chat.bot_switched_at = now
    hand_back(chat)
    conversation = session.get(ConversationRow, opening.conversation_id)
    events: list[NewEvent] = []
    if chat.conversation_id != opening.conversation_id:
        events = end_conversation(session, chat, chat.conversation_id, ConversationStatus.CANCELLED, None, now)
    chat.conversation_id = opening.conversation_id
    if conversation is not None and conversation.status == ConversationStatus.OPENING:
        business = session.get_one(BusinessRow, chat.business_id)
        conversation.status = ConversationStatus.WAITING.value
        conversation.deadline_at = now + timedelta(hours=business.conversation_hours)
        plan(session, conversation, business, now)
    chat.next_step_at = next_step(session, chat, now)
    return events


def unopen_dialogue(session: Session, chat: ChatRow, opening: MessageRow, now: datetime) -> None:
    """The opening came back: until it leaves again nobody is followed up, and no time runs out."""
    conversation = session.get(ConversationRow, opening.conversation_id)
    if conversation is None or conversation.ended_at is not None:
        return
    conversation.status, conversation.deadline_at = ConversationStatus.OPENING.value, None
    cancel_planned(session, [conversation.id], now, promises=True)
    if chat.conversation_id == conversation.id:
        chat.conversation_id = None
    chat.next_step_at = next_step(session, chat, now)


def expire(session: Session, chat: ChatRow, now: datetime) -> list[NewEvent]:
    """Ends the conversation whose time is over: whoever was to answer has not."""
    conversation = find_open(session, chat)
    if is_drafted(session, chat.id):
        return []
    if conversation is None or conversation.deadline_at is None or conversation.deadline_at > now:
        return []
    expired, outcome = ConversationStatus.EXPIRED, ConversationOutcome.NO_ANSWER
    return end_conversation(session, chat, conversation.id, expired, outcome, now)


def hand_off(
    session: Session, chat: ChatRow, reason: str, outcome: ConversationOutcome, now: datetime
) -> list[NewEvent]:
    """The conversation is a human's; what tells them. Who holds the chat from now on is the caller's to set."""
    data = {"jid": chat.jid, "reason": reason, "conversationId": chat.conversation_id}
    told = NewEvent(business_id=chat.business_id, type=EventType.CHAT_HANDED_OFF, at=now, data=data)
    status = ConversationStatus.HANDED_OFF
    return [told, *end_conversation(session, chat, chat.conversation_id, status, outcome, now, reason)]


def settle_drafts(session: Session, chat: ChatRow, now: datetime) -> None:
    """A draft has left, or never will: with the last one the bot waits for the customer."""
    session.flush()
    if not is_drafted(session, chat.id):
        note(session, chat, ConversationStatus.WAITING)
    chat.next_step_at = next_step(session, chat, now)


def next_step(session: Session, chat: ChatRow, now: datetime) -> datetime | None:
    """When the chat is due again: now, while something is to be answered or sent; else at its next timer."""
    session.flush()
    if is_drafted(session, chat.id) or is_owed(session, chat.id):
        return now
    return next_timer(session, chat, now)


def next_timer(session: Session, chat: ChatRow, now: datetime) -> datetime | None:
    """When the chat acts by itself. While a follow-up waits in quiet hours its conversation does not end."""
    if not is_drafted(session, chat.id):
        return timer_after_drafts(session, chat)
    return min(filter(None, (find_next(session, chat.id), quiet_end(session, chat, now))), default=None)


def timer_after_drafts(session: Session, chat: ChatRow) -> datetime | None:
    """The next follow-up, or the conversation's end."""
    conversation = find_open(session, chat)
    ends = conversation.deadline_at if conversation is not None else None
    return min(filter(None, (find_next(session, chat.id), ends)), default=None)


def quiet_end(session: Session, chat: ChatRow, now: datetime) -> datetime | None:
    """When the quiet hours end that it is now."""
    business = session.get_one(BusinessRow, chat.business_id)
    return quiet_until(to_quiet_hours(business.quiet_hours, business.timezone), now)


def is_drafted(session: Session, chat_id: str) -> bool:
    """Whether something waits to be sent in this chat alone, and is not held."""
    return ask(session, _DRAFTED, chat_id=chat_id).first() is not None


def is_owed(session: Session, chat_id: str) -> bool:
    """Whether the customer waits for an answer."""
    return ask(session, _OWED, chat_id=chat_id).first() is not None
