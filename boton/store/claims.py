"""One claim: the guards of the message's kind, then `queued → sending`. Chat and message are locked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlmodel import Session, col

from boton.domain.chats import is_held
from boton.domain.conversations import ConversationStatus
from boton.domain.events import NewEvent
from boton.domain.gateway import Attempt
from boton.domain.messages import (
    SPOKEN_BY_THE_BOT,
    ClaimFacts,
    Direction,
    MessageKind,
    MessageStatus,
    forbids,
)
from boton.domain.reminders import ReminderStatus
from boton.domain.sends import SendCategory
from boton.ids import Prefix, new_id
from boton.store.dialogues import open_dialogue
from boton.store.steps import end_conversation, move, show_in_chat
from boton.store.tables import ChatRow, ConversationRow, MessageRow, ReminderRow, SendRow, TurnRow


def settle_forbidden(
    session: Session,
    chat: ChatRow,
    row: MessageRow,
    now: datetime,
    events: list[NewEvent],
    send: SendRow | None = None,
    unanswered_cap: int | None = None,
) -> bool:
    """Whether a guard forbids this queued message, which settles it."""
    refusal = forbids(MessageKind(row.kind), _facts(session, chat, row, send, unanswered_cap, now), now)
    if refusal is None:
        return False
    events += move(row, refusal.status, now, refusal.error)
    if row.kind == MessageKind.OPENING:
        events += end_conversation(session, chat, row.conversation_id, ConversationStatus.CANCELLED, None, now)
    return True


def claim(
    session: Session,
    chat: ChatRow,
    row: MessageRow,
    epoch: int,
    now: datetime,
    events: list[NewEvent],
    send: SendRow | None = None,
) -> Attempt:
    """The attempt of a queued message that no guard forbids."""
    events += move(row, MessageStatus.SENDING, now)
    row.attempt_id, row.epoch, row.at = new_id(Prefix.ATTEMPT), epoch, now
    if send is not None:
        row.connection_id = send.connection_id  # it may have come back unsent from a number that is gone
    if row.kind == MessageKind.OPENING:
        events += open_dialogue(session, chat, row, now)
    if row.kind in SPOKEN_BY_THE_BOT:
        chat.bot_unanswered += 1
    if row.turn_id is not None:
        chat.last_turn_at = session.get_one(TurnRow, row.turn_id).created_at.replace(microsecond=0)
    if send is not None and send.category == SendCategory.MARKETING:
        chat.marketing_unanswered += 1
    show_in_chat(chat, row)
    return to_attempt(row)


def _facts(
    session: Session,
    chat: ChatRow,
    row: MessageRow,
    send: SendRow | None,
    unanswered_cap: int | None,
    now: datetime,
) -> ClaimFacts:
    reminder = session.get(ReminderRow, send.reminder_id) if send is not None and send.reminder_id else None
    return ClaimFacts(
        untouchable=chat.untouchable,
        held_by_human=is_held(chat.takeover_until, chat.handed_off_at, now),
        taken_over_at=max(filter(None, (chat.taken_over_at, chat.handed_off_at)), default=None),
        bot_enabled=chat.bot_enabled,
        opted_out=chat.opted_out,
        marketing=send is not None and send.category == SendCategory.MARKETING,
        accepted_at=row.created_at if reminder is None else reminder.created_at,
        expires_at=row.expires_at,
        marketing_unanswered=chat.marketing_unanswered,
        unanswered_cap=unanswered_cap,
        reminder_cancelled=reminder is not None and _is_cancelled(session, reminder, row),
        conversation_cancelled=_is_conversation_cancelled(session, row),
        bot_unanswered=chat.bot_unanswered,
    )


def _is_cancelled(session: Session, reminder: ReminderRow, row: MessageRow) -> bool:
    """Whether what a reminder has fired is not wanted any more: it was cancelled, by whomever, or the customer wrote
    while its last message waited.
    """
    if reminder.status == ReminderStatus.CANCELLED:
        return True
    reply = select(col(MessageRow.id)).where(
        col(MessageRow.chat_id) == row.chat_id,
        col(MessageRow.direction) == Direction.INCOMING.value,
        col(MessageRow.at) > row.created_at,
    )
    return reminder.cancel_on_reply and session.execute(reply.limit(1)).first() is not None


def _is_conversation_cancelled(session: Session, row: MessageRow) -> bool:
    """It may have been while this message was on its way and came back, or while the bot was writing it."""
    conversation = session.get(ConversationRow, row.conversation_id) if row.conversation_id else None
    if conversation is None:
        return False
    ended = row.kind == MessageKind.OPENING and conversation.ended_at is not None
    return ended or conversation.status == ConversationStatus.CANCELLED


def to_attempt(row: MessageRow) -> Attempt:
    """The attempt that a claimed message is in."""
    assert row.attempt_id is not None
    assert row.epoch is not None
    return Attempt(
        id=row.attempt_id,
        message_id=row.id,
        chat_id=row.chat_id,
        kind=MessageKind(row.kind),
        epoch=row.epoch,
        jid=row.jid,
        text=row.text or "",
        claimed_at=row.at,
    )
