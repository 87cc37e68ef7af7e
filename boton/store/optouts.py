"""A customer who opts out: the chat remembers it, an event tells it, a notice confirms it."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session

from boton.domain.events import NewEvent
from boton.domain.messages import Direction, Lane, MessageKind, MessageStatus, Sender
from boton.domain.optout import confirmation
from boton.ids import Prefix, new_id
from boton.store.chats import opted_out_event, set_flags
from boton.store.tables import BusinessRow, ChatRow, MessageRow


def opt_out(session: Session, chat: ChatRow, now: datetime) -> list[NewEvent]:
    """Opts a locked chat out of marketing; the event that tells it, unless it had opted out before."""
    if chat.opted_out:
        return []
    set_flags(session, chat, opted_out=True)
    return [opted_out_event(chat, now)]


def queue_confirmation(
    session: Session, chat: ChatRow, business: BusinessRow, connection_id: str, now: datetime
) -> None:
    """A notice of the bot, which the chat's workflow sends: from now on the chat is owed a look."""
    session.add(
        MessageRow(
            id=new_id(Prefix.MESSAGE),
            business_id=business.id,
            connection_id=connection_id,
            chat_id=chat.id,
            direction=Direction.OUTGOING.value,
            kind=MessageKind.NOTICE.value,
            sender=Sender.BOT.value,
            text=confirmation(business.language, business.business_name),
            status=MessageStatus.QUEUED.value,
            lane=Lane.FAST.value,
            at=now,
            created_at=now,
            jid=chat.jid,
        )
    )
    chat.next_step_at = now
