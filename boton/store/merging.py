"""Two chats that turn out to be one customer's become one, in the transaction that learns it.

Everything of one chat becomes the other's, which goes on as if there had been no other. What would have happened in one
chat and did not, because the customer's words were in the other one, is made up for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, select, update
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision, is_held
from boton.domain.conversations import ConversationStatus, Occasion, TurnStatus
from boton.domain.events import NewEvent
from boton.domain.jid import is_lid
from boton.domain.merging import Guards, merge_guards
from boton.domain.messages import Direction, MessageKind
from boton.store.asking import ask
from boton.store.briefs import occasion_of
from boton.store.chats import set_flags
from boton.store.columns import UtcDateTime
from boton.store.contacts import wake_sends_to
from boton.store.customers import Customer, Known, note_names
from boton.store.dialogues import find_open, next_step
from boton.store.doubles import drop_doubles, drop_repeats, find_sends_queued
from boton.store.ending import end_if_over, lock_sends
from boton.store.follow_ups import cancel_answered
from boton.store.inserts import table_of
from boton.store.moving import cancel_on_reply
from boton.store.receipts import move_receipts
from boton.store.staleness import SUPERSEDED, drop, has_effects
from boton.store.steps import end_conversation, lock_ahead, lock_chats
from boton.store.tables import (
    AliasRow,
    ChatRow,
    ConversationRow,
    FollowUpRow,
    MessageRow,
    ReminderRow,
    SendRow,
    TurnRow,
)
from boton.store.takeovers import silence_bot
from boton.store.tally import change_tally

MOVED: tuple[Any, ...] = (MessageRow, TurnRow, ConversationRow, FollowUpRow, ReminderRow, AliasRow)
"""What belongs to a chat; receipts that are kept for it are moved by themselves."""


@dataclass(slots=True)
class Settled:
    """What followed. due: chats that are to be looked at: what is left, and what is gone, whose run is to end."""

    due: list[str] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)


def settle_customers(session: Session, business_id: str, customers: Sequence[Customer], now: datetime) -> Settled:
    """Locks the chats of these customers; merges those that turn out to be one customer's; remembers every name.

    To be called before a chat is locked: locks are taken in the order send, chat, message.
    """
    several = [customer for customer in customers if len(customer.chats) > 1]
    sends = _lock_sends(session, several, now) if several else []
    lock_ahead(session, col(ChatRow.id).in_([chat.id for one in customers for chat in one.chats]))
    settled = Settled()
    for customer in several:
        _merge_all(session, customer, now, settled)
    settled.events += end_if_over(session, sends, now)
    _show_numbers(session, customers)
    note_names(session, business_id, customers)
    return settled


def _lock_sends(session: Session, several: Iterable[Customer], now: datetime) -> list[SendRow]:
    """What is locked before the chats: the sends that have something queued for the customers, some of whom are known
    contacts from now on.
    """
    ids = [chat.id for customer in several for chat in customer.chats]
    wake_sends_to(session, ids, now)
    return lock_sends(session, col(SendRow.id).in_(find_sends_queued(session, ids)))


def _show_numbers(session: Session, customers: Iterable[Customer]) -> None:
    """A chat that was known by its LID alone is shown by the phone number, once that is told."""
    for customer in customers:
        if customer.chats and is_lid(customer.chats[0].jid) and not is_lid(customer.preferred):
            (chat,) = lock_chats(session, [customer.chats[0].id]).values()
            chat.jid = customer.preferred


# ---------------------------------------------------------------- the merge


def _merge_all(session: Session, customer: Customer, now: datetime, settled: Settled) -> None:
    """The chat with the most messages goes on, of equals the oldest: the others' are moved."""
    chats = sorted(
        lock_chats(session, [chat.id for chat in customer.chats]).values(), key=lambda row: (-row.message_count, row.id)
    )
    jid = _choose_jid(chats, customer)
    for chat in chats:
        chat.jid = jid  # what is told meanwhile is told of the chat that is left
    settled.due += [chat.id for chat in chats if chat.next_step_at is not None]
    for other in chats[1:]:
        settled.events += _merge(session, chats[0], other, now)
    if chats[0].next_step_at is not None:
        settled.due.append(chats[0].id)
    customer.chats = [Known(chats[0].id, jid, chats[0].known)]


def _choose_jid(chats: Sequence[ChatRow], customer: Customer) -> str:
    """The phone number that is told, as it was given out; else any."""
    numbers = [chat.jid for chat in chats if not is_lid(chat.jid)]
    told = [jid for jid in numbers if jid in customer.names]
    return next(iter([*told, *numbers]), customer.preferred)


def _merge(session: Session, chat: ChatRow, other: ChatRow, now: datetime) -> list[NewEvent]:
    """Both are locked; afterwards `other` is no more."""
    session.execute(select(col(ChatRow.id)).where(col(ChatRow.id) == other.id).with_for_update())  # nothing is added
    _drop_open_replies(session, chat, other, now)
    drop_doubles(session, chat, other)
    events = drop_repeats(session, chat, other, now)
    going_on, told = _end_older_conversation(session, chat, other, now)
    events += told
    _join(session, chat, other, going_on)
    session.flush()
    _move(session, chat, other)
    session.expire_all()
    events += move_receipts(session, chat, other.id)
    _make_up(session, chat, now)
    if is_held(chat.takeover_until, chat.handed_off_at, now):
        silence_bot(session, chat, now)
    session.delete(other)
    change_tally(session, chat.business_id, chats=-1)
    chat.next_step_at = next_step(session, chat, now)
    session.flush()
    return events


def _drop_open_replies(session: Session, chat: ChatRow, other: ChatRow, now: datetime) -> None:
    """The model knows half of what is to be answered: the next turn answers all of it. One whose tools have done
    something goes on.
    """
    turns = select(TurnRow).where(_of(TurnRow, chat, other), col(TurnRow.status) == TurnStatus.OPEN.value)
    going_on = []
    for turn in session.scalars(turns.execution_options(populate_existing=True)).all():
        if occasion_of(turn) is Occasion.REPLY and has_effects(session, turn):
            going_on.append(turn.id)
        elif occasion_of(turn) is Occasion.REPLY:
            drop(turn, SUPERSEDED, now)
    chat.turn_id = max(going_on or filter(None, (chat.turn_id, other.turn_id)), default=None)


def _move(session: Session, chat: ChatRow, other: ChatRow) -> None:
    for row in MOVED:
        moved = update(row).where(row.chat_id == other.id).values(chat_id=chat.id)
        session.execute(moved.execution_options(synchronize_session=False))


# ---------------------------------------------------------------- what holds in the chat that is left


def _end_older_conversation(
    session: Session, chat: ChatRow, other: ChatRow, now: datetime
) -> tuple[ConversationRow | None, list[NewEvent]]:
    """The conversation that goes on: that whose opening left last. In one chat it would have replaced the other."""
    both = {row.id: row for row in (find_open(session, chat), find_open(session, other)) if row is not None}
    if len(both) < 2:
        return next(iter(both.values()), None), []
    openings = select(col(MessageRow.conversation_id), col(MessageRow.at)).where(
        _of(MessageRow, chat, other),
        col(MessageRow.conversation_id).in_(both),
        col(MessageRow.kind) == MessageKind.OPENING.value,
    )
    left_at = {row.conversation_id: row.at for row in session.execute(openings)}
    older, newer = sorted(both.values(), key=lambda one: (left_at.get(one.id, one.created_at), one.id))
    owner = chat if chat.conversation_id == older.id else other
    return newer, end_conversation(session, owner, older.id, ConversationStatus.CANCELLED, None, now)


def _join(session: Session, chat: ChatRow, other: ChatRow, going_on: ConversationRow | None) -> None:
    theirs = going_on is not None and other.conversation_id == going_on.id
    one, two = (other, chat) if theirs else (chat, other)
    _set_guards(session, chat, merge_guards(_guards(one), _guards(two), going_on.created_at if going_on else None))
    set_flags(session, other, bot_enabled=False, untouchable=False)  # it is counted no more
    chat.conversation_id = chat.conversation_id or other.conversation_id
    chat.known, chat.registered = chat.known or other.known, chat.registered or other.registered
    chat.marketing_unanswered += other.marketing_unanswered
    chat.bot_unanswered += other.bot_unanswered
    chat.first_incoming_at = min(filter(None, (chat.first_incoming_at, other.first_incoming_at)), default=None)
    chat.last_turn_at = max(filter(None, (chat.last_turn_at, other.last_turn_at)), default=None)
    chat.created_at = min(chat.created_at, other.created_at)
    _join_looks(chat, other)


def _join_looks(chat: ChatRow, other: ChatRow) -> None:
    """What readers are shown. A name that the business gave stays; else the newer one is known better."""
    is_newer = other.name_is_ours or chat.name is None or other.active_at > chat.active_at
    if other.name is not None and not chat.name_is_ours and is_newer:
        chat.name, chat.name_is_ours = other.name, other.name_is_ours
    if other.last_at is not None and (chat.last_at is None or other.last_at > chat.last_at):
        chat.last_text, chat.last_direction, chat.last_at = other.last_text, other.last_direction, other.last_at
    chat.message_count += other.message_count
    chat.active_at = max(chat.active_at, other.active_at)


def _guards(chat: ChatRow) -> Guards:
    return Guards(
        bot_enabled=chat.bot_enabled,
        bot_decided=chat.bot_decided,
        bot_switched_at=chat.bot_switched_at,
        untouchable=chat.untouchable,
        opted_out=chat.opted_out,
        taken_over_at=chat.taken_over_at,
        takeover_until=chat.takeover_until,
        handed_off_at=chat.handed_off_at,
        handed_off_reason=chat.handed_off_reason,
    )


def _set_guards(session: Session, chat: ChatRow, guards: Guards) -> None:
    set_flags(
        session,
        chat,
        bot_enabled=guards.bot_enabled,
        untouchable=guards.untouchable,
        opted_out=guards.opted_out,
    )
    chat.bot_decided, chat.bot_switched_at = guards.bot_decided, guards.bot_switched_at
    chat.taken_over_at, chat.takeover_until = guards.taken_over_at, guards.takeover_until
    chat.handed_off_at, chat.handed_off_reason = guards.handed_off_at, guards.handed_off_reason


# ---------------------------------------------------------------- what the customer's words in the other chat changed


def _make_up(session: Session, chat: ChatRow, now: datetime) -> None:
    """Messages are answered, reminders and follow-ups not needed, where the customer wrote after them."""
    ask(session, _MARK_REPLIED, of_chat=chat.id)
    wrote_at = session.execute(
        select(func.max(col(MessageRow.at), type_=UtcDateTime)).where(
            col(MessageRow.chat_id) == chat.id,
            col(MessageRow.direction) == Direction.INCOMING.value,
            col(MessageRow.answer) != AnswerDecision.HISTORY.value,
        )
    ).scalar_one()
    if wrote_at is not None:
        cancel_on_reply(session, chat.id, wrote_at, now)
        cancel_answered(session, chat.id, wrote_at, now)


_MESSAGE, _ANSWER = table_of(MessageRow), table_of(MessageRow).alias("answer")
_FIRST_ANSWER = (
    select(func.min(_ANSWER.c.at))
    .where(
        _ANSWER.c.chat_id == _MESSAGE.c.chat_id,
        _ANSWER.c.direction == Direction.INCOMING.value,
        _ANSWER.c.at >= _MESSAGE.c.sent_at,
    )
    .scalar_subquery()
)
_MARK_REPLIED = (
    update(_MESSAGE)
    .where(
        _MESSAGE.c.chat_id == bindparam("of_chat"),
        _MESSAGE.c.send_id.is_not(None),
        _MESSAGE.c.sent_at.is_not(None),
        _MESSAGE.c.replied_at.is_(None),
    )
    .values(replied_at=_FIRST_ANSWER)
)


def _of(row: Any, chat: ChatRow, other: ChatRow) -> ColumnElement[bool]:
    return col(row.chat_id).in_([chat.id, other.id])
