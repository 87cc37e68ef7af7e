"""Customers who become known contacts: what waits for them in the slow lane need not wait any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlmodel import Session, col

from boton.domain.messages import MessageStatus
from boton.store.aliases import find_chat_ids
from boton.store.tables import ChatRow, MessageRow, SendRow


def wake_sends_to(session: Session, business_id: str, jids: Iterable[str], now: datetime) -> None:
    """Lets the sweeper look at every send with a queued message to one of these customers who was not known yet.

    To be called before a chat is locked: locks are taken in the order send, chat, and sends in the order of their ids.
    """
    send_ids = _sends_to_strangers(session, find_chat_ids(session, business_id, jids))
    if not send_ids:
        return
    sends = select(SendRow).where(col(SendRow.id).in_(send_ids), col(SendRow.next_step_at).is_not(None))
    for send in session.scalars(sends.order_by(col(SendRow.id)).with_for_update(key_share=True)):
        send.next_step_at = now
    session.flush()


def _sends_to_strangers(session: Session, chat_ids: Iterable[str]) -> Sequence[str]:
    strangers = select(col(ChatRow.id)).where(col(ChatRow.id).in_(sorted(chat_ids)), ~col(ChatRow.known))
    found = session.scalars(strangers).all()
    if not found:
        return []
    queued = select(col(MessageRow.send_id)).where(
        col(MessageRow.chat_id).in_(found),
        col(MessageRow.status) == MessageStatus.QUEUED.value,
        col(MessageRow.send_id).is_not(None),
    )
    return [send_id for send_id in session.scalars(queued.distinct()) if send_id is not None]
