"""A turn that the customer has overtaken: written anew, while nothing of it was said and nothing followed from it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision
from boton.domain.conversations import RECOMPOSED, ConversationStatus, Occasion, TurnStatus
from boton.domain.messages import Direction, MessageError, MessageStatus
from boton.store.asking import ask
from boton.store.briefs import occasion_of
from boton.store.steps import move
from boton.store.tables import DUE, OF_TURN, ChatRow, ConversationRow, MessageRow, RoundRow, ToolCallRow, TurnRow

SUPERSEDED = "superseded"
_OVERTAKEN = MessageError(
    code=SUPERSEDED, detail="the customer wrote again before it left: the answer was written anew"
)


_PARTS = select(MessageRow).where(
    OF_TURN, col(MessageRow.turn_id) == bindparam("turn_id"), col(MessageRow.direction) == Direction.OUTGOING.value
)
"""What the turn says."""

_STATUSES = _PARTS.with_only_columns(col(MessageRow.status))
_EFFECTS = select(col(ToolCallRow.effect)).where(
    col(ToolCallRow.turn_id) == bindparam("turn_id"), col(ToolCallRow.ok).is_(True)
)
_WRITTEN = select(col(RoundRow.number)).where(col(RoundRow.turn_id) == bindparam("turn_id")).limit(1)
_NEWER = (
    select(col(MessageRow.id))
    .where(col(MessageRow.chat_id) == bindparam("chat_id"), DUE, col(MessageRow.id) > bindparam("id"))
    .limit(1)
)


def is_stale(session: Session, turn: TurnRow) -> bool:
    """Whether a reply, open or queued, is to be written anew: at most twice in a row, and not once a part of it was
    claimed or its tools have changed something.
    """
    if turn.status == TurnStatus.DROPPED or occasion_of(turn) is not Occasion.REPLY:
        return False
    if not _is_overtaken(session, turn):
        return False
    may_be = turn.recomposed < RECOMPOSED or not is_written(session, turn)
    return may_be and not has_effects(session, turn) and not _is_said(session, turn)


def is_written(session: Session, turn: TurnRow) -> bool:
    """Whether the model has answered in this turn: else nothing is lost with it, however long it was busy."""
    return ask(session, _WRITTEN, turn_id=turn.id).first() is not None


def is_aimless(session: Session, turn: TurnRow, reply: MessageRow) -> bool:
    """Whether the conversation of an unsaid reply was cancelled meanwhile: it is written anew without the goal."""
    conversation = session.get(ConversationRow, reply.conversation_id) if reply.conversation_id else None
    if conversation is None or conversation.status != ConversationStatus.CANCELLED:
        return False
    return may_take_back(session, turn)


def may_take_back(session: Session, turn: TurnRow) -> bool:
    """Whether nothing of a closed reply was said yet, and nothing has followed from it."""
    closed_reply = turn.status == TurnStatus.CLOSED and occasion_of(turn) is Occasion.REPLY
    return closed_reply and not has_effects(session, turn) and not _is_said(session, turn)


def drop(turn: TurnRow, reason: str, now: datetime) -> None:
    turn.status, turn.closed_at, turn.reason = TurnStatus.DROPPED.value, now, reason


def take_back(session: Session, chat: ChatRow, turn: TurnRow, now: datetime) -> None:
    """What it answered is due again, together with what came since."""
    for row in session.scalars(_PARTS, {"turn_id": turn.id}):
        if row.status == MessageStatus.QUEUED:
            move(row, MessageStatus.CANCELLED, now, _OVERTAKEN)
    answered = (
        OF_TURN,
        col(MessageRow.turn_id) == turn.id,
        col(MessageRow.answer) == AnswerDecision.ANSWERED.value,
    )
    again = update(MessageRow).where(*answered).values(answer=AnswerDecision.DUE.value)
    session.flush()
    session.execute(again.execution_options(synchronize_session="fetch"))
    drop(turn, SUPERSEDED, now)
    chat.next_step_at = now
    session.flush()


def _is_overtaken(session: Session, turn: TurnRow) -> bool:
    return ask(session, _NEWER, chat_id=turn.chat_id, id=turn.trigger_id).first() is not None


def has_effects(session: Session, turn: TurnRow) -> bool:
    """Whether something has followed from it: of an open turn only what its tools have done already, because their
    effects come when it closes.
    """
    effects = ask(session, _EFFECTS, turn_id=turn.id).scalars()
    return any(effect is None or turn.status != TurnStatus.OPEN for effect in effects)


def _is_said(session: Session, turn: TurnRow) -> bool:
    """Whether a part was claimed, or none is queued any more."""
    if turn.status == TurnStatus.OPEN:
        return False
    statuses = ask(session, _STATUSES, turn_id=turn.id).scalars().all()
    return not statuses or any(status != MessageStatus.QUEUED for status in statuses)
