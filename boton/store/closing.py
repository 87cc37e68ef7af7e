"""How a turn ends: closed, with what it says and what follows from its tools, or dropped without a word."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision
from boton.domain.conversations import ConversationOutcome, ConversationStatus, Occasion, TurnStatus
from boton.domain.events import NewEvent
from boton.domain.messages import MessageError, MessageKind, MessageStatus, MessageType
from boton.domain.notices import hand_off_notice
from boton.domain.tools import Effect, FinishConversation, HandOff, ScheduleFollowUp, effect_from_json
from boton.store import follow_ups
from boton.store.asking import ask
from boton.store.briefs import occasion_of
from boton.store.columns import storable
from boton.store.dialogues import find_open, hand_off, note, quiet_end, why_not
from boton.store.drafting import add_drafts
from boton.store.inserts import table_of
from boton.store.numbers import over
from boton.store.staleness import SUPERSEDED, drop, is_stale
from boton.store.steps import end_conversation, end_failed_opening, lock_message, move
from boton.store.tables import (
    DUE,
    SUSPENDED,
    BusinessRow,
    ChatRow,
    ConversationRow,
    FollowUpRow,
    MessageRow,
    ToolCallRow,
    TurnRow,
)

_TEXTS = 10


def close(
    session: Session, chat: ChatRow, turn: TurnRow, parts: Sequence[str], now: datetime, *, called: bool
) -> list[NewEvent]:
    """Ends the turn: it says `parts`, unless it is not wanted any more. The events that tell what followed. called:
    the model called tools before.
    """
    if not _is_wanted(session, chat, turn, now):
        drop(turn, SUPERSEDED, now)
        return []
    turn.status, turn.closed_at = TurnStatus.CLOSED.value, now
    _count(session, turn)
    match occasion_of(turn):
        case Occasion.OPENING:
            _write_opening(session, turn, "\n\n".join(parts))
            return []
        case Occasion.REPLY:
            chat.next_step_at = now
            _settle_due(session, turn, AnswerDecision.ANSWERED)
        case Occasion.FOLLOW_UP:
            chat.next_step_at = now
            follow_ups.end(session.get_one(FollowUpRow, turn.trigger_id), now, done=True)
    return _speak(session, chat, turn, parts, _list_effects(session, turn) if called else [], now)


def fail(session: Session, chat: ChatRow, turn: TurnRow, error: MessageError, now: datetime) -> list[NewEvent]:
    """The model gave no answer. A human is told, and has the chat for as long as one who takes over."""
    drop(turn, error.code, now)
    match occasion_of(turn):
        case Occasion.OPENING:
            return _fail_opening(session, chat, turn, error, now)
        case Occasion.FOLLOW_UP:
            follow_ups.end(session.get_one(FollowUpRow, turn.trigger_id), now, done=False)
            note(session, chat, ConversationStatus.WAITING)
            return []
    _settle_due(session, turn, AnswerDecision.FAILED)
    minutes = session.get_one(BusinessRow, chat.business_id).takeover_minutes
    chat.taken_over_at, chat.takeover_until = now, now + timedelta(minutes=minutes)
    chat.next_step_at = now
    return hand_off(session, chat, error.detail, ConversationOutcome.ERROR, now)


def connection_of(session: Session, turn: TurnRow) -> str:
    """Over which connection the turn speaks."""
    if occasion_of(turn) is Occasion.FOLLOW_UP:
        return over(session, session.get_one(ConversationRow, turn.conversation_id).connection_id)
    return over(session, session.get_one(MessageRow, turn.trigger_id).connection_id)


def _is_wanted(session: Session, chat: ChatRow, turn: TurnRow, now: datetime) -> bool:
    """Not when a human took over or the bot was switched off, its messages were settled meanwhile, the customer wrote
    again, its conversation has ended or another begun, or the follow-up was cancelled: a slow attempt must not speak
    then.
    """
    if occasion_of(turn) is not Occasion.OPENING and why_not(chat, now) is not None:
        return False
    match occasion_of(turn):
        case Occasion.REPLY:
            trigger = session.get(MessageRow, turn.trigger_id, populate_existing=True)
            due = trigger is not None and trigger.answer == AnswerDecision.DUE
            return due and turn.conversation_id == chat.conversation_id and not is_stale(session, turn)
        case Occasion.FOLLOW_UP:
            row = session.get(FollowUpRow, turn.trigger_id, populate_existing=True)
            return row is not None and row.ended_at is None
    return True


def _count(session: Session, turn: TurnRow) -> None:
    conversation = session.get(ConversationRow, turn.conversation_id) if turn.conversation_id else None
    if conversation is not None:
        conversation.turns += 1


_MESSAGE = table_of(MessageRow)
_SETTLE = [
    update(_MESSAGE)
    .where(_MESSAGE.c.chat_id == bindparam("of_chat"), waits, _MESSAGE.c.id <= bindparam("up_to"))
    .values(answer=bindparam("as_answer"), turn_id=bindparam("by_turn"))
    for waits in (DUE, SUSPENDED)
]


def _settle_due(session: Session, turn: TurnRow, answer: AnswerDecision) -> None:
    """Everything that was due or held up to the turn's last message belongs to it, because the model has read it; what
    came later is another turn's.
    """
    these = {"of_chat": turn.chat_id, "up_to": turn.trigger_id}
    for statement in _SETTLE:
        ask(session, statement, **these, as_answer=answer.value, by_turn=turn.id)


# ---------------------------------------------------------------- openings


def _write_opening(session: Session, turn: TurnRow, text: str) -> None:
    row = lock_message(session, turn.trigger_id)
    if row is not None and row.status == MessageStatus.QUEUED and row.text is None:
        row.text = storable(text)


def _fail_opening(session: Session, chat: ChatRow, turn: TurnRow, error: MessageError, now: datetime) -> list[NewEvent]:
    row = lock_message(session, turn.trigger_id)
    if row is None or row.status != MessageStatus.QUEUED:
        return []
    return move(row, MessageStatus.FAILED, now, error) + end_failed_opening(session, chat, row, now)


# ---------------------------------------------------------------- what it says, and what follows


def _speak(
    session: Session, chat: ChatRow, turn: TurnRow, parts: Sequence[str], effects: Sequence[Effect], now: datetime
) -> list[NewEvent]:
    """Who is handed to a human is told so, whoever holds the chat by then."""
    business = session.get_one(BusinessRow, chat.business_id)
    kind = MessageKind.FOLLOW_UP if occasion_of(turn) is Occasion.FOLLOW_UP else MessageKind.REPLY
    if any(isinstance(effect, HandOff) for effect in effects):
        kind, parts = MessageKind.NOTICE, parts or [hand_off_notice(_list_texts(session, chat), business.language)]
    trigger = session.get(MessageRow, turn.trigger_id)
    asked = trigger.at if trigger is not None else quiet_end(session, chat, now) or now
    expires_at = asked + timedelta(minutes=business.answer_within_minutes)
    note(session, chat, ConversationStatus.REPLYING if parts else ConversationStatus.WAITING)
    add_drafts(session, chat, connection_of(session, turn), kind, parts, now, turn.conversation_id, turn, expires_at)
    return [event for effect in effects for event in _apply(session, chat, turn, effect, now)]


def _list_texts(session: Session, chat: ChatRow) -> Sequence[str]:
    """What the customer wrote lately, newest first."""
    texts = select(col(MessageRow.text)).where(
        col(MessageRow.chat_id) == chat.id,
        col(MessageRow.kind) == MessageKind.INCOMING.value,
        col(MessageRow.type) == MessageType.TEXT.value,
    )
    return [text or "" for text in session.scalars(texts.order_by(col(MessageRow.id).desc()).limit(_TEXTS))]


def _extend(session: Session, conversation: ConversationRow, until: datetime) -> None:
    """What the bot has promised to say can be answered as long as what it says first."""
    hours = session.get_one(BusinessRow, conversation.business_id).conversation_hours
    if conversation.deadline_at is not None:
        conversation.deadline_at = max(conversation.deadline_at, until + timedelta(hours=hours))


_DONE = (
    select(ToolCallRow)
    .where(col(ToolCallRow.turn_id) == bindparam("turn_id"), col(ToolCallRow.ok).is_(True))
    .order_by(col(ToolCallRow.number), col(ToolCallRow.position))
)


def _list_effects(session: Session, turn: TurnRow) -> list[Effect]:
    """In the order of the calls; what is promised first, before the conversation ends."""
    rows = session.scalars(_DONE, {"turn_id": turn.id})
    effects = [effect_from_json(row.effect) for row in rows if row.effect is not None]
    return sorted(effects, key=lambda effect: not isinstance(effect, ScheduleFollowUp))


def _apply(session: Session, chat: ChatRow, turn: TurnRow, effect: Effect, now: datetime) -> list[NewEvent]:
    match effect:
        case FinishConversation():
            done, summary = ConversationStatus.DONE, storable(effect.summary)
            return end_conversation(session, chat, turn.conversation_id, done, effect.outcome, now, summary)
        case HandOff():
            chat.handed_off_at = now
            chat.handed_off_reason = storable(effect.reason)
            return hand_off(session, chat, effect.reason, ConversationOutcome.HANDED_OFF, now)
        case ScheduleFollowUp():
            conversation = session.get(ConversationRow, turn.conversation_id) if turn.conversation_id else None
            if conversation is not None and find_open(session, chat) is not None:
                follow_ups.promise(session, conversation, effect.at, storable(effect.text), now)
                _extend(session, conversation, effect.at)
    return []
