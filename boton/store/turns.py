"""Turns: what the bot does next in a chat, the model's answers as they come, and what its tools said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlmodel import Session, col

from boton.domain.conversations import ConversationStatus, TurnBrief, TurnStatus
from boton.domain.events import EventType, NewEvent
from boton.domain.messages import MessageError, MessageStatus
from boton.domain.tools import Effect, ToolCall, effect_to_json
from boton.errors import NotFound
from boton.ids import Prefix, new_id
from boton.ports import CallKey, ChatStep, ModelAnswer
from boton.store.asking import ask
from boton.store.briefs import read_brief, to_call
from boton.store.bulk import insert_rows
from boton.store.closing import close, connection_of, fail
from boton.store.columns import storable
from boton.store.dialogues import expire, find_open, is_owed, next_timer, note, timer_after_drafts
from boton.store.engine import Database, Overtaken
from boton.store.events import append_events
from boton.store.inserts import insert_into
from boton.store.owing import drafts_of, find_by_trigger, find_turn
from boton.store.rows import to_chat
from boton.store.steps import find_locked, lock_ahead, lock_chat
from boton.store.tables import BusinessRow, ChatRow, MessageRow, RoundRow, ToolCallRow, TurnRow
from boton.store.token_days import count_tokens, is_budget_used

_NO_TOKENS = MessageError(code="token_budget", detail="the business's tokens for today (dailyTokenBudget) are used up")


class SqlTurnStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def advance_chat(self, chat_id: str, now: datetime) -> ChatStep:
        return await self._db.write(lambda session: _advance(session, chat_id, now))

    async def open_openings(self, message_ids: Sequence[str], now: datetime) -> Sequence[TurnBrief]:
        return await self._db.write(lambda session: _open_openings(session, message_ids, now))

    async def record_answer(
        self, turn_id: str, number: int, answer: ModelAnswer, parts: Sequence[str], now: datetime
    ) -> ChatStep:
        return await self._db.write(lambda session: _record_answer(session, turn_id, number, answer, parts, now))

    async def fetch_call(self, key: CallKey) -> tuple[ToolCall, TurnBrief] | None:
        return await self._db.read(lambda session: _fetch_call(session, key))

    async def answer_call(self, key: CallKey, text: str, effect: Effect | None, now: datetime, *, ok: bool) -> None:
        await self._db.write(lambda session: _answer_call(session, key, text, effect, now, ok=ok))

    async def fail_turn(self, turn_id: str, code: str, detail: str, now: datetime) -> None:
        error = MessageError(code=code, detail=detail)
        await self._db.write(lambda session: _fail_turn(session, turn_id, error, now))


# ---------------------------------------------------------------- what is next


def _advance(session: Session, chat_id: str, now: datetime) -> ChatStep:
    chat = find_locked(session, chat_id)
    if chat is None:
        return ChatStep(state="gone")
    turn = find_turn(session, chat, now)
    events = expire(session, chat, now) if turn is None else []
    if turn is not None and is_budget_used(session, session.get_one(BusinessRow, chat.business_id), now):
        events += fail(session, chat, turn, _NO_TOKENS, now)
        turn = None
    step = _rest_or_send(session, chat, now) if turn is None else _think_or_run(session, chat, turn, now)
    session.flush()
    append_events(session, events)
    return replace(step, ended=_read_end(events))


def _think_or_run(session: Session, chat: ChatRow, turn: TurnRow, now: datetime) -> ChatStep:
    note(session, chat, ConversationStatus.THINKING)
    chat.next_step_at = now
    brief = read_brief(session, chat, turn, connection_of(session, turn))
    if brief.rounds and (calls := _list_unanswered(session, turn.id)):
        return _told(session, chat, now, ChatStep(state="run", calls=calls))
    return _told(session, chat, now, ChatStep(state="think", brief=brief))


def _rest_or_send(session: Session, chat: ChatRow, now: datetime) -> ChatStep:
    connection_id, message_ids = drafts_of(session, chat, now)
    owed = is_owed(session, chat.id)
    if message_ids:
        until = now if owed else timer_after_drafts(session, chat)
        step = ChatStep(state="send", connection_id=connection_id, message_ids=tuple(message_ids), until=until)
        chat.next_step_at = now
    else:
        note(session, chat, ConversationStatus.WAITING)
        step = ChatStep(state="rest", until=now if owed else next_timer(session, chat, now))
        chat.next_step_at = step.until
    return _told(session, chat, now, step)


def _told(session: Session, chat: ChatRow, now: datetime, step: ChatStep) -> ChatStep:
    """With how the chat stands once that is done, for who watches it."""
    conversation = find_open(session, chat)
    status = None if conversation is None else ConversationStatus(conversation.status)
    if status is ConversationStatus.REPLYING and step.state == "send":
        status = ConversationStatus.WAITING
    return replace(step, holder=to_chat(chat).held_by(now), conversation=status)


def _read_end(events: Sequence[NewEvent]) -> str:
    """How a conversation has ended by these events; nothing where none has."""
    ends = [event.data for event in events if event.type is EventType.CONVERSATION_ENDED]
    return str(ends[-1]["outcome"] or ends[-1]["status"]) if ends else ""


# ---------------------------------------------------------------- openings


def _open_openings(session: Session, message_ids: Sequence[str], now: datetime) -> list[TurnBrief]:
    briefs: list[TurnBrief] = []
    events: list[NewEvent] = []
    chats = select(col(MessageRow.chat_id)).where(col(MessageRow.id).in_(message_ids))
    lock_ahead(session, col(ChatRow.id).in_(chats))
    for message_id in message_ids:
        row = session.get(MessageRow, message_id)
        if row is None or row.text is not None or row.status != MessageStatus.QUEUED:
            continue
        chat = lock_chat(session, row.chat_id)
        if chat.untouchable:
            continue  # its claim settles it; the model reads nothing of this chat
        turn = find_by_trigger(session, chat.id, row.id) or _add_opening(session, row, now)
        if is_budget_used(session, session.get_one(BusinessRow, chat.business_id), now):
            events += fail(session, chat, turn, _NO_TOKENS, now)
            continue
        briefs.append(read_brief(session, chat, turn, row.connection_id))
    session.flush()
    append_events(session, events)
    return briefs


def _add_opening(session: Session, row: MessageRow, now: datetime) -> TurnRow:
    turn = TurnRow(
        id=new_id(Prefix.TURN),
        business_id=row.business_id,
        chat_id=row.chat_id,
        trigger_id=row.id,
        conversation_id=row.conversation_id,
        opening=True,
        status=TurnStatus.OPEN.value,
        created_at=now,
    )
    session.add(turn)
    session.flush()
    return turn


# ---------------------------------------------------------------- the model's answers


def _record_answer(
    session: Session, turn_id: str, number: int, answer: ModelAnswer, parts: Sequence[str], now: datetime
) -> ChatStep:
    turn, chat = _lock_turn(session, turn_id)
    _count_tokens(session, turn, answer, now)
    events: list[NewEvent] = []
    if turn.status == TurnStatus.OPEN and _add_round(session, turn, number, answer, now) and not answer.calls:
        events = close(session, chat, turn, parts, now, called=number > 0)
    session.flush()
    append_events(session, events)
    if turn.status == TurnStatus.OPEN:
        return _told(session, chat, now, ChatStep(state="run", calls=_list_unanswered(session, turn.id)))
    if turn.status == TurnStatus.DROPPED:
        return _told(session, chat, now, ChatStep(state="think"))
    return replace(_rest_or_send(session, chat, now), ended=_read_end(events))


def _count_tokens(session: Session, turn: TurnRow, answer: ModelAnswer, now: datetime) -> None:
    """Whatever becomes of the answer, it is paid for."""
    business = session.get_one(BusinessRow, turn.business_id)
    count_tokens(session, business, answer.tokens_in + answer.tokens_out, now)
    turn.tokens_in, turn.tokens_out = turn.tokens_in + answer.tokens_in, turn.tokens_out + answer.tokens_out


_ROUNDS = select(func.count()).where(col(RoundRow.turn_id) == bindparam("turn_id"))


def _add_round(session: Session, turn: TurnRow, number: int, answer: ModelAnswer, now: datetime) -> bool:
    """Whether this is the turn's next answer: one that was asked for twice counts once."""
    stored = ask(session, _ROUNDS, turn_id=turn.id).scalar_one()
    if stored != number:
        return False
    row = {"turn_id": turn.id, "number": number, "text": storable(answer.text), "calls": len(answer.calls)}
    tokens = {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out}
    insert_rows(session, insert_into(RoundRow), [{**row, **tokens, "created_at": now}])
    calls = [_to_row(CallKey(turn.id, number, position), call, now) for position, call in enumerate(answer.calls)]
    if calls:
        insert_rows(session, insert_into(ToolCallRow), calls)
    return True


def _to_row(key: CallKey, call: ToolCall, now: datetime) -> dict[str, Any]:
    return {
        "turn_id": key.turn_id,
        "number": key.number,
        "position": key.position,
        "call_id": storable(call.id),
        "name": storable(call.name),
        "arguments": storable(call.arguments),
        "created_at": now,
    }


_TURN = (
    select(ChatRow, TurnRow)
    .join(TurnRow, col(TurnRow.chat_id) == col(ChatRow.id))
    .where(col(TurnRow.id) == bindparam("id"))
    .with_for_update(key_share=True, of=(ChatRow, TurnRow))
    .execution_options(populate_existing=True)
)
"""Both are locked, the chat first: of one that is not, PostgreSQL gives what it was before the wait for the other."""


def _lock_turn(session: Session, turn_id: str) -> tuple[TurnRow, ChatRow]:
    found = session.execute(_TURN, {"id": turn_id}).one_or_none()
    if found is None:
        raise NotFound("turn", turn_id) if session.get(TurnRow, turn_id) is None else Overtaken
    return found[1], found[0]


def _fail_turn(session: Session, turn_id: str, error: MessageError, now: datetime) -> None:
    turn, chat = _lock_turn(session, turn_id)
    if turn.status != TurnStatus.OPEN:
        return
    events = fail(session, chat, turn, error, now)
    session.flush()
    append_events(session, events)


# ---------------------------------------------------------------- tools


_UNANSWERED = (
    select(col(ToolCallRow.number), col(ToolCallRow.position))
    .where(col(ToolCallRow.turn_id) == bindparam("turn_id"), col(ToolCallRow.answer).is_(None))
    .order_by(col(ToolCallRow.number), col(ToolCallRow.position))
)


def _list_unanswered(session: Session, turn_id: str) -> tuple[CallKey, ...]:
    """In the order in which the model made them."""
    rows = ask(session, _UNANSWERED, turn_id=turn_id)
    return tuple(CallKey(turn_id, number, position) for number, position in rows)


def _fetch_call(session: Session, key: CallKey) -> tuple[ToolCall, TurnBrief] | None:
    row = session.get(ToolCallRow, (key.turn_id, key.number, key.position))
    if row is None or row.answer is not None:
        return None
    turn = session.get_one(TurnRow, key.turn_id)
    if turn.status == TurnStatus.DROPPED:
        return None
    chat = session.get_one(ChatRow, turn.chat_id)
    return to_call(row), read_brief(session, chat, turn, connection_of(session, turn))


def _answer_call(session: Session, key: CallKey, text: str, effect: Effect | None, now: datetime, *, ok: bool) -> None:
    _lock_turn(session, key.turn_id)
    row = session.get(ToolCallRow, (key.turn_id, key.number, key.position), populate_existing=True)
    if row is None or row.answer is not None:
        return
    row.answer, row.ok, row.answered_at = storable(text), ok, now
    row.effect = effect_to_json(effect) if effect is not None else None
