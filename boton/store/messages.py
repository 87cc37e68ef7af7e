"""The messages of one chat, as readers see them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import literal, select, tuple_
from sqlmodel import Session, col

from boton.domain.messages import Message
from boton.errors import NotFound
from boton.store.columns import UtcDateTime
from boton.store.rows import to_message
from boton.store.tables import MessageRow

_PLACE = tuple_(col(MessageRow.at), col(MessageRow.id))


def list_messages(
    session: Session, chat_id: str, *, limit: int, before: str | None = None, after: str | None = None
) -> tuple[list[Message], bool]:
    """The newest `limit` messages between `after` and `before` (ids, exclusive), oldest first, and whether there
    are more between them. An opening that nobody has written yet is not there. Raises NotFound for an unknown id.
    """
    statement = select(MessageRow).where(col(MessageRow.chat_id) == chat_id, col(MessageRow.text).is_not(None))
    if before is not None:
        statement = statement.where(_place_of(session, chat_id, before) > _PLACE)
    if after is not None:
        statement = statement.where(_place_of(session, chat_id, after) < _PLACE)
    newest = statement.order_by(col(MessageRow.at).desc(), col(MessageRow.id).desc()).limit(limit + 1)
    rows = session.scalars(newest).all()
    return [to_message(row) for row in reversed(rows[:limit])], len(rows) > limit


def _place_of(session: Session, chat_id: str, message_id: str) -> object:
    at: datetime | None = session.execute(
        select(col(MessageRow.at)).where(col(MessageRow.id) == message_id, col(MessageRow.chat_id) == chat_id)
    ).scalar_one_or_none()
    if at is None:
        raise NotFound("message", message_id)
    return tuple_(literal(at, UtcDateTime), literal(message_id))
