"""Turns: what the bot owes, what it needs to know to answer, and its drafts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision
from boton.domain.conversations import (
    OPEN_CONVERSATIONS,
    Line,
    Occasion,
    TurnBrief,
    TurnStatus,
)
from boton.domain.events import NewEvent
from boton.domain.messages import (
    Direction,
    MessageError,
    MessageKind,
    MessageStatus,
    MessageType,
    Sender,
)
from boton.errors import NotFound
from boton.ids import Prefix, new_id
from boton.ports import ModelAnswer
from boton.store.columns import storable
from boton.store.engine import Database
from boton.store.events import append_events
from boton.store.rows import to_config
from boton.store.steps import end_failed_opening, lock_ahead, lock_chat, lock_message, move
from boton.store.tables import DRAFTED, BusinessRow, ChatRow, ConversationRow, MessageRow, TurnRow

_HISTORY = 60
_UNSAID = [
    status.value
    for status in (MessageStatus.QUEUED, MessageStatus.CANCELLED, MessageStatus.EXPIRED, MessageStatus.FAILED)
]
"""What the customer has not got is no part of the dialogue."""

_SUPERSEDED = "superseded"


class SqlTurnStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def open_turn(self, chat_id: str, now: datetime) -> TurnBrief | None:
        return await self._db.write(lambda session: _open_turn(session, chat_id, now))

    async def open_openings(self, message_ids: Sequence[str], now: datetime) -> Sequence[TurnBrief]:
        return await self._db.write(lambda session: _open_openings(session, message_ids, now))

    async def close_turn(self, turn_id: str, answer: ModelAnswer, now: datetime) -> Sequence[str]:
        return await self._db.write(lambda session: _close_turn(session, turn_id, answer, now))

    async def fail_turn(self, turn_id: str, code: str, detail: str, now: datetime) -> None:
        await self._db.write(lambda session: _fail_turn(session, turn_id, code, detail, now))

    async def list_undelivered_drafts(self, chat_id: str) -> tuple[str, Sequence[str]]:
        return await self._db.read(lambda session: _list_drafts(session, chat_id))


# ---------------------------------------------------------------- opening a turn


def _open_turn(session: Session, chat_id: str, now: datetime) -> TurnBrief | None:
    chat = lock_chat(session, chat_id)
    due = _still_due(session, chat, now)
    if not due:
        chat.next_step_at = now if _queued_drafts(session, chat_id) else None
        return None
    turn = _find_or_add(session, chat, due[-1], now, opening=False)
    return _brief(session, chat, turn, due[-1], now)


def _still_due(session: Session, chat: ChatRow, now: datetime) -> list[MessageRow]:
    """What is due and may be answered still; what may not gets the reason, and is never due again."""
    due = _due(session, chat.id)
    forbidden = _why_not(chat, now) or _too_late(session, chat, due, now)
    if forbidden is None:
        return due
    for row in due:
        row.answer = forbidden.value
    return []


def _due(session: Session, chat_id: str) -> list[MessageRow]:
    """What is to be answered, in the order it was stored (ids are sortable)."""
    due = col(MessageRow.answer) == AnswerDecision.DUE.value
    return list(
        session.scalars(select(MessageRow).where(col(MessageRow.chat_id) == chat_id, due).order_by(col(MessageRow.id)))
    )


def _why_not(chat: ChatRow, now: datetime) -> AnswerDecision | None:
    """Why the bot may not even read this chat any more."""
    if chat.untouchable:
        return AnswerDecision.UNTOUCHABLE
    if chat.takeover_until is not None and chat.takeover_until > now:
        return AnswerDecision.HELD
    return None if chat.bot_enabled else AnswerDecision.BOT_OFF


def _too_late(session: Session, chat: ChatRow, due: Sequence[MessageRow], now: datetime) -> AnswerDecision | None:
    """Everything was stopped, or Temporal away, for so long that even the newest message is not answered any more."""
    business = session.get(BusinessRow, chat.business_id)
    assert business is not None
    longest = timedelta(minutes=business.answer_within_minutes)
    return AnswerDecision.TOO_OLD if due and now - max(row.at for row in due) > longest else None


def _find_or_add(session: Session, chat: ChatRow, trigger: MessageRow, now: datetime, *, opening: bool) -> TurnRow:
    turn = session.scalars(
        select(TurnRow).where(col(TurnRow.chat_id) == chat.id, col(TurnRow.trigger_id) == trigger.id)
    ).one_or_none()
    if turn is None:
        turn = TurnRow(
            id=new_id(Prefix.TURN),
            business_id=chat.business_id,
            chat_id=chat.id,
            trigger_id=trigger.id,
            conversation_id=trigger.conversation_id if opening else chat.conversation_id,
            opening=opening,
            status=TurnStatus.OPEN.value,
            created_at=now,
        )
        session.add(turn)
        session.flush()
    return turn


def _brief(session: Session, chat: ChatRow, turn: TurnRow, trigger: MessageRow, now: datetime) -> TurnBrief:
    business = session.get(BusinessRow, chat.business_id)
    assert business is not None
    conversation = session.get(ConversationRow, turn.conversation_id) if turn.conversation_id else None
    is_open = conversation is not None and conversation.status in OPEN_CONVERSATIONS
    return TurnBrief(
        turn_id=turn.id,
        chat_id=chat.id,
        connection_id=trigger.connection_id,
        occasion=Occasion.OPENING if turn.opening else Occasion.REPLY,
        customer_name=chat.name,
        instruction=conversation.instruction if conversation is not None and is_open else None,
        history=_history(session, chat.id),
        config=to_config(business),
        now=now,
    )


def _history(session: Session, chat_id: str) -> tuple[Line, ...]:
    """Oldest first; what is to be answered stands last, also where it came while the reply before was written."""
    rows = session.scalars(
        select(MessageRow)
        .where(
            col(MessageRow.chat_id) == chat_id,
            col(MessageRow.status).not_in(_UNSAID),
            col(MessageRow.text).is_not(None),
        )
        .order_by(col(MessageRow.at).desc(), col(MessageRow.id).desc())
        .limit(_HISTORY)
    ).all()
    told = sorted(rows, key=lambda row: (row.answer == AnswerDecision.DUE, row.at, row.id))
    return tuple(
        Line(sender=Sender(row.sender), type=MessageType(row.type), text=row.text or "", at=row.at) for row in told
    )


def _open_openings(session: Session, message_ids: Sequence[str], now: datetime) -> list[TurnBrief]:
    briefs = []
    chats = select(col(MessageRow.chat_id)).where(col(MessageRow.id).in_(message_ids))
    lock_ahead(session, col(ChatRow.id).in_(chats))
    for message_id in message_ids:
        row = session.get(MessageRow, message_id)
        if row is None or row.text is not None or row.status != MessageStatus.QUEUED:
            continue
        chat = lock_chat(session, row.chat_id)
        turn = _find_or_add(session, chat, row, now, opening=True)
        briefs.append(_brief(session, chat, turn, row, now))
    return briefs


# ---------------------------------------------------------------- closing a turn


def _close_turn(session: Session, turn_id: str, answer: ModelAnswer, now: datetime) -> list[str]:
    turn, chat = _lock_turn(session, turn_id)
    if turn.status != TurnStatus.OPEN:
        return _messages_of(session, turn)
    if not turn.opening and not _is_still_due(session, turn):
        turn.status, turn.closed_at, turn.reason = TurnStatus.DROPPED.value, now, _SUPERSEDED
        return []
    turn.status, turn.closed_at = TurnStatus.CLOSED.value, now
    turn.tokens_in, turn.tokens_out = answer.tokens_in, answer.tokens_out
    if turn.conversation_id is not None:
        conversation = session.get(ConversationRow, turn.conversation_id)
        if conversation is not None:
            conversation.turns += 1
    if turn.opening:
        return _write_opening(session, turn, storable(answer.text))
    _settle_due(session, turn, AnswerDecision.ANSWERED)
    chat.last_turn_at = chat.next_step_at = now
    draft = _draft(session, chat, turn, storable(answer.text), now)
    session.add(draft)
    session.flush()
    return [draft.id]


def _lock_turn(session: Session, turn_id: str) -> tuple[TurnRow, ChatRow]:
    turn = session.get(TurnRow, turn_id)
    if turn is None:
        raise NotFound("turn", turn_id)
    chat = lock_chat(session, turn.chat_id)
    session.refresh(turn)
    return turn, chat


def _is_still_due(session: Session, turn: TurnRow) -> bool:
    """Not when a later turn has answered its messages too, or a human has taken over since: a slow attempt of an
    activity must not answer them again.
    """
    trigger = session.get(MessageRow, turn.trigger_id, populate_existing=True)
    return trigger is not None and trigger.answer == AnswerDecision.DUE


def _messages_of(session: Session, turn: TurnRow) -> list[str]:
    if turn.opening:
        return [turn.trigger_id] if turn.status == TurnStatus.CLOSED else []
    drafts = select(col(MessageRow.id)).where(
        col(MessageRow.chat_id) == turn.chat_id, col(MessageRow.turn_id) == turn.id
    )
    return list(session.scalars(drafts.order_by(col(MessageRow.id))))


def _write_opening(session: Session, turn: TurnRow, text: str) -> list[str]:
    row = lock_message(session, turn.trigger_id)
    if row is None or row.status != MessageStatus.QUEUED or row.text is not None:
        return []
    row.text = text
    return [row.id]


def _settle_due(session: Session, turn: TurnRow, answer: AnswerDecision) -> None:
    """Everything that was due up to the turn's last message belongs to it; what came later is another turn's."""
    session.execute(
        update(MessageRow)
        .where(
            col(MessageRow.chat_id) == turn.chat_id,
            col(MessageRow.answer) == AnswerDecision.DUE.value,
            col(MessageRow.id) <= turn.trigger_id,
        )
        .values(answer=answer.value)
        .execution_options(synchronize_session=False)
    )


def _draft(session: Session, chat: ChatRow, turn: TurnRow, text: str, now: datetime) -> MessageRow:
    trigger = session.get(MessageRow, turn.trigger_id)
    assert trigger is not None
    return MessageRow(
        id=new_id(Prefix.MESSAGE),
        business_id=chat.business_id,
        connection_id=trigger.connection_id,
        chat_id=chat.id,
        direction=Direction.OUTGOING.value,
        kind=MessageKind.REPLY.value,
        sender=Sender.BOT.value,
        text=text,
        status=MessageStatus.QUEUED.value,
        at=now,
        created_at=now,
        jid=chat.jid,
        turn_id=turn.id,
        conversation_id=turn.conversation_id,
    )


def _fail_turn(session: Session, turn_id: str, code: str, detail: str, now: datetime) -> None:
    turn, chat = _lock_turn(session, turn_id)
    if turn.status != TurnStatus.OPEN:
        return
    turn.status, turn.closed_at, turn.reason = TurnStatus.DROPPED.value, now, code
    events: list[NewEvent] = []
    if turn.opening:
        events += _fail_opening(session, chat, turn, MessageError(code=code, detail=detail), now)
    else:
        _settle_due(session, turn, AnswerDecision.FAILED)
        chat.next_step_at = now
    session.flush()
    append_events(session, events)


def _fail_opening(session: Session, chat: ChatRow, turn: TurnRow, error: MessageError, now: datetime) -> list[NewEvent]:
    row = lock_message(session, turn.trigger_id)
    if row is None or row.status != MessageStatus.QUEUED:
        return []
    return move(row, MessageStatus.FAILED, now, error) + end_failed_opening(session, chat, row, now)


# ---------------------------------------------------------------- drafts


def _queued_drafts(session: Session, chat_id: str) -> list[tuple[str, str]]:
    rows = session.execute(
        select(col(MessageRow.connection_id), col(MessageRow.id))
        .where(
            col(MessageRow.chat_id) == chat_id,
            DRAFTED,
        )
        .order_by(col(MessageRow.id))
    )
    return [(row[0], row[1]) for row in rows]


def _list_drafts(session: Session, chat_id: str) -> tuple[str, Sequence[str]]:
    """Those of one connection: that of the oldest draft."""
    drafts = _queued_drafts(session, chat_id)
    first = drafts[0][0] if drafts else ""
    return first, [message_id for connection_id, message_id in drafts if connection_id == first]
