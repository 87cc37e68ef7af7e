"""Customers who become known contacts: what waits for them in the slow lane need not wait any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, select, update
from sqlmodel import Session, col

from boton.domain.messages import MessageStatus
from boton.store.asking import ask
from boton.store.ending import lock_sends
from boton.store.steps import lock_ahead
from boton.store.tables import ChatRow, MessageRow, SendRow

_AT_ONCE = 500
"""Chats that are asked for by one statement."""


def wake_sends_to(session: Session, chat_ids: Iterable[str], now: datetime) -> None:
    """Lets the sweeper look at every send with a queued message in one of these chats whose customer was not known yet.

    To be called before a chat is locked: locks are taken in the order send, chat, and sends in the order of their ids.
    """
    _wake(session, _in_pieces(chat_ids), now)


def introduce(session: Session, chat_ids: Iterable[str], now: datetime) -> None:
    """The client says that these customers are contacts; what waits for them is looked at. Locks as said above."""
    pieces = _in_pieces(chat_ids)
    _wake(session, pieces, now)
    for some in pieces:
        these = col(ChatRow.id).in_(some)
        lock_ahead(session, these)
        session.execute(update(ChatRow).where(these).values(known=True).execution_options(synchronize_session=False))


def _in_pieces(chat_ids: Iterable[str]) -> list[list[str]]:
    """In the order of their ids, in which chats are locked."""
    ids = sorted(set(chat_ids))
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]


def _wake(session: Session, pieces: Iterable[Sequence[str]], now: datetime) -> None:
    """In the order of the sends' ids, some at a time: a database takes only so many parameters."""
    send_ids = sorted({send_id for some in pieces for send_id in _sends_to_strangers(session, some)})
    for start in range(0, len(send_ids), _AT_ONCE):
        some_ids = col(SendRow.id).in_(send_ids[start : start + _AT_ONCE])
        for send in lock_sends(session, and_(some_ids, col(SendRow.next_step_at).is_not(None))):
            send.next_step_at = now
        session.flush()


_STRANGERS = select(col(ChatRow.id)).where(col(ChatRow.id).in_(bindparam("ids", expanding=True)), ~col(ChatRow.known))


def _sends_to_strangers(session: Session, chat_ids: Sequence[str]) -> Sequence[str]:
    found = ask(session, _STRANGERS, ids=chat_ids).scalars().all()
    if not found:
        return []
    queued = select(col(MessageRow.send_id)).where(
        col(MessageRow.chat_id).in_(found),
        col(MessageRow.status) == MessageStatus.QUEUED.value,
        col(MessageRow.send_id).is_not(None),
    )
    return [send_id for send_id in session.scalars(queued.distinct()) if send_id is not None]
