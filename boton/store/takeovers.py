"""A human takes a chat over: with a message typed on the business's phone, or in the dashboard."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import Session

from boton.domain.chats import is_held
from boton.domain.events import EventType, NewEvent
from boton.store.tables import BusinessRow, ChatRow


def take_over(session: Session, chat: ChatRow, at: datetime, now: datetime) -> list[NewEvent]:
    """A locked chat is a human's from `at` on, for the business's `takeoverMinutes`; the event that tells it, unless
    it was taken over already. What is older than the takeover, or would be over by now, changes nothing.
    """
    until = at + timedelta(minutes=session.get_one(BusinessRow, chat.business_id).takeover_minutes)
    already_held = is_held(chat.takeover_until, None, now)
    is_older = chat.taken_over_at is not None and at < chat.taken_over_at.replace(microsecond=0)
    if until <= now or is_older:
        return []
    chat.taken_over_at, chat.takeover_until = at, until
    chat.handed_off_at = chat.handed_off_reason = None
    return [] if already_held else [_taken_over_event(chat, until, now)]


def _taken_over_event(chat: ChatRow, until: datetime, now: datetime) -> NewEvent:
    data = {"jid": chat.jid, "until": until.isoformat().replace("+00:00", "Z")}
    return NewEvent(business_id=chat.business_id, type=EventType.CHAT_TAKEN_OVER, at=now, data=data)
