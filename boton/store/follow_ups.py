"""Messages that the bot means to write first: planned with the opening or promised by the bot, fired once, or not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlmodel import Session, col

from boton.domain.pacing import quiet_until, to_quiet_hours
from boton.ids import Prefix, new_id
from boton.store.asking import ask
from boton.store.tables import PENDING, BusinessRow, ConversationRow, FollowUpRow

_PENDING, _DONE, _CANCELLED = "pending", "done", "cancelled"


_IN_CHAT = select(FollowUpRow).where(col(FollowUpRow.chat_id) == bindparam("chat_id"), PENDING)
_DUE = _IN_CHAT.where(col(FollowUpRow.due_at) <= bindparam("now")).order_by(col(FollowUpRow.due_at)).limit(1)
_NEXT = _IN_CHAT.with_only_columns(col(FollowUpRow.due_at)).order_by(col(FollowUpRow.due_at)).limit(1)
_UNANSWERED = _IN_CHAT.where(col(FollowUpRow.text).is_(None))


def plan(session: Session, conversation: ConversationRow, business: BusinessRow, now: datetime) -> None:
    """The business's own follow-ups of a conversation that has just been opened, in place of earlier plans for it."""
    _end(session, _CANCELLED, now, col(FollowUpRow.conversation_id) == conversation.id, col(FollowUpRow.text).is_(None))
    for follow_up in business.follow_ups:
        due = now + timedelta(hours=float(follow_up["afterHours"]))
        if conversation.deadline_at is None or due < conversation.deadline_at:
            _add(session, conversation, _out_of_quiet(business, due), None, now)


def promise(session: Session, conversation: ConversationRow, due_at: datetime, text: str, now: datetime) -> None:
    """The bot said that it will write then."""
    _add(session, conversation, due_at, text, now)


def cancel_unanswered(session: Session, chat_id: str, now: datetime) -> None:
    """The customer has answered: what the business planned for their silence is not wanted; what was promised is."""
    for row in session.scalars(_UNANSWERED, {"chat_id": chat_id}):
        end(row, now, done=False)


def cancel_answered(session: Session, chat_id: str, at: datetime, now: datetime) -> None:
    """The same for what was planned before the customer wrote at that time."""
    for row in session.scalars(_UNANSWERED, {"chat_id": chat_id}):
        if row.created_at < at:
            end(row, now, done=False)


def cancel_planned(session: Session, conversation_ids: Sequence[str], now: datetime, *, promises: bool) -> None:
    """These conversations have ended. promises: nor is what the bot promised."""
    kept = () if promises else (col(FollowUpRow.text).is_(None),)
    _end(session, _CANCELLED, now, col(FollowUpRow.conversation_id).in_(conversation_ids), *kept)


def find_due(session: Session, chat_id: str, business: BusinessRow, now: datetime) -> FollowUpRow | None:
    """The first one that is due; in quiet hours it is due at their end."""
    row: FollowUpRow | None = session.scalars(_DUE, {"chat_id": chat_id, "now": now}).one_or_none()
    if row is None:
        return None
    row.due_at = _out_of_quiet(business, now) if _is_quiet(business, now) else row.due_at
    return row if row.due_at <= now else None


def find_next(session: Session, chat_id: str) -> datetime | None:
    """When the next one is due."""
    due: datetime | None = ask(session, _NEXT, chat_id=chat_id).scalar_one_or_none()
    return due


def end(row: FollowUpRow, now: datetime, *, done: bool) -> None:
    row.status, row.ended_at = (_DONE if done else _CANCELLED), now


def _add(session: Session, conversation: ConversationRow, due_at: datetime, text: str | None, now: datetime) -> None:
    session.add(
        FollowUpRow(
            id=new_id(Prefix.FOLLOW_UP),
            business_id=conversation.business_id,
            chat_id=conversation.chat_id,
            conversation_id=conversation.id,
            due_at=due_at,
            text=text,
            status=_PENDING,
            created_at=now,
        )
    )


def _end(session: Session, status: str, now: datetime, *which: object) -> None:
    session.flush()
    session.execute(
        update(FollowUpRow)
        .where(PENDING, *which)  # type: ignore[arg-type]
        .values(status=status, ended_at=now)
        .execution_options(synchronize_session="fetch")
    )


def _is_quiet(business: BusinessRow, at: datetime) -> bool:
    return quiet_until(to_quiet_hours(business.quiet_hours, business.timezone), at) is not None


def _out_of_quiet(business: BusinessRow, at: datetime) -> datetime:
    return quiet_until(to_quiet_hours(business.quiet_hours, business.timezone), at) or at
