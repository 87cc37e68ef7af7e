"""What the model is told of one turn, read in the transaction that opens it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Row, bindparam, or_, select
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision
from boton.domain.conversations import (
    OPEN_CONVERSATIONS,
    ConversationOutcome,
    ConversationStatus,
    EarlierConversation,
    Line,
    Occasion,
    TurnBrief,
)
from boton.domain.messages import MessageStatus, MessageType, Sender
from boton.domain.tools import Round, ToolAnswer, ToolCall
from boton.store.asking import ask
from boton.store.rows import to_config
from boton.store.tables import (
    BusinessRow,
    ChatRow,
    ConversationRow,
    MessageRow,
    RoundRow,
    ToolCallRow,
    TurnRow,
)

_HISTORY = 200
_LINE = tuple(col(getattr(MessageRow, name)) for name in ("sender", "type", "text", "at", "answer"))
"""Columns, not rows: a long chat's turn reads so many (a tenth of the time: measured)."""

_EARLIER = 5
_UNSAID = [
    status.value
    for status in (MessageStatus.QUEUED, MessageStatus.CANCELLED, MessageStatus.EXPIRED, MessageStatus.FAILED)
]
"""What the customer has not got is no part of the dialogue."""


def read_brief(session: Session, chat: ChatRow, turn: TurnRow, connection_id: str) -> TurnBrief:
    """Its `now` is when the turn was opened: who asks again asks the same."""
    business = session.get_one(BusinessRow, chat.business_id)
    conversation = session.get(ConversationRow, turn.conversation_id) if turn.conversation_id else None
    is_open = conversation is not None and conversation.status in OPEN_CONVERSATIONS
    earlier = read_earlier(session, chat.id)
    return TurnBrief(
        turn_id=turn.id,
        chat_id=chat.id,
        connection_id=connection_id,
        customer_name=chat.name,
        instruction=conversation.instruction if conversation is not None and is_open else None,
        history=_read_history(session, chat.id, turn),
        config=to_config(business),
        now=turn.created_at,
        occasion=occasion_of(turn),
        rounds=read_rounds(session, turn.id),
        earlier=earlier,
        goal_reached=not is_open and is_goal_reached(earlier),
    )


def occasion_of(turn: TurnRow) -> Occasion:
    if turn.opening:
        return Occasion.OPENING
    return Occasion.FOLLOW_UP if turn.trigger_id.startswith("fup_") else Occasion.REPLY


def is_goal_reached(earlier: Sequence[EarlierConversation]) -> bool:
    """Whether the last conversation was brought to its end."""
    return bool(earlier) and earlier[-1].status is ConversationStatus.DONE


_ENDED = (
    select(
        col(ConversationRow.ended_at),
        col(ConversationRow.status),
        col(ConversationRow.outcome),
        col(ConversationRow.summary),
    )
    .where(
        col(ConversationRow.chat_id) == bindparam("chat_id"),
        col(ConversationRow.ended_at).is_not(None),
        or_(
            col(ConversationRow.status) != ConversationStatus.DONE.value,
            col(ConversationRow.outcome) != ConversationOutcome.ERROR.value,
        ),
    )
    .order_by(col(ConversationRow.ended_at).desc(), col(ConversationRow.id).desc())
    .limit(_EARLIER)
)
"""But for those whose opening failed: the customer knows nothing of them."""


def read_earlier(session: Session, chat_id: str) -> tuple[EarlierConversation, ...]:
    """Oldest first."""
    rows = ask(session, _ENDED, chat_id=chat_id).all()
    return tuple(_to_earlier(row) for row in reversed(rows))


def _to_earlier(row: Row[*tuple[Any, ...]]) -> EarlierConversation:
    return EarlierConversation(
        ended_at=row.ended_at,
        status=ConversationStatus(row.status),
        outcome=None if row.outcome is None else ConversationOutcome(row.outcome),
        summary=row.summary,
    )


_ROUNDS = (
    select(col(RoundRow.number), col(RoundRow.text))
    .where(col(RoundRow.turn_id) == bindparam("turn_id"))
    .order_by(col(RoundRow.number))
)
_CALLS = (
    select(ToolCallRow)
    .where(col(ToolCallRow.turn_id) == bindparam("turn_id"))
    .order_by(col(ToolCallRow.number), col(ToolCallRow.position))
)


def read_rounds(session: Session, turn_id: str) -> tuple[Round, ...]:
    """What the model said in this turn already, with the answers of the tools that it called."""
    rounds = ask(session, _ROUNDS, turn_id=turn_id).all()
    if not rounds:
        return ()
    calls = session.scalars(_CALLS, {"turn_id": turn_id})
    of_round = {number: [_to_answer(row) for row in rows] for number, rows in groupby(calls, lambda row: row.number)}
    return tuple(Round(text=row.text, answers=tuple(of_round.get(row.number, ()))) for row in rounds)


def to_call(row: ToolCallRow) -> ToolCall:
    return ToolCall(id=row.call_id, name=row.name, arguments=row.arguments)


def _to_answer(row: ToolCallRow) -> ToolAnswer:
    return ToolAnswer(call=to_call(row), text=row.answer or "", ok=bool(row.ok))


_ALL = (
    select(*_LINE)
    .where(
        col(MessageRow.chat_id) == bindparam("chat_id"),
        col(MessageRow.status).not_in(_UNSAID),
        col(MessageRow.text).is_not(None),
    )
    .order_by(col(MessageRow.at).desc(), col(MessageRow.id).desc())
    .limit(_HISTORY)
)
_OF_REPLY = _ALL.where(
    or_(
        col(MessageRow.answer).is_(None),
        col(MessageRow.answer) != AnswerDecision.DUE.value,
        col(MessageRow.id) <= bindparam("trigger_id"),
    )
)


def _read_history(session: Session, chat_id: str, turn: TurnRow) -> tuple[Line, ...]:
    """Oldest first; what is to be answered stands last, also where it came while the reply before was written. What
    came after the turn was opened is the next one's.
    """
    statement = _OF_REPLY if occasion_of(turn) is Occasion.REPLY else _ALL
    oldest_first = ask(session, statement, chat_id=chat_id, trigger_id=turn.trigger_id).all()[::-1]
    told = sorted(oldest_first, key=lambda row: row[4] == AnswerDecision.DUE)
    return tuple(
        Line(sender=Sender(sender), type=MessageType(type), text=text or "", at=at)
        for sender, type, text, at, _answer in told
    )
