"""What the bot owes in a chat: the turn that is to be written next, and what is written and not sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, or_, select
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision
from boton.domain.conversations import ConversationStatus, Line, TurnStatus
from boton.domain.messages import Direction, MessageKind, MessageType, Sender
from boton.domain.replies import needs_no_answer
from boton.ids import Prefix, new_id
from boton.store import follow_ups
from boton.store.asking import ask
from boton.store.briefs import is_goal_reached, read_earlier
from boton.store.dialogues import OF_ACTIVE, find_open, quiet_end, why_not
from boton.store.drafting import add_drafts
from boton.store.numbers import over
from boton.store.staleness import SUPERSEDED, drop, is_stale, is_written, take_back
from boton.store.tables import (
    DRAFTED,
    DUE,
    BusinessRow,
    ChatRow,
    ConversationRow,
    FollowUpRow,
    MessageRow,
    TurnRow,
)

_OVER = (ConversationStatus.CANCELLED, ConversationStatus.EXPIRED, ConversationStatus.HANDED_OFF)


_DRAFTS = (
    select(col(MessageRow.connection_id), col(MessageRow.id), col(MessageRow.kind), OF_ACTIVE)
    .where(col(MessageRow.chat_id) == bindparam("chat_id"), DRAFTED)
    .order_by(col(MessageRow.id))
)
_DUE = select(MessageRow).where(col(MessageRow.chat_id) == bindparam("chat_id"), DUE).order_by(col(MessageRow.id))
_OF_TRIGGER = select(TurnRow).where(
    col(TurnRow.chat_id) == bindparam("chat_id"), col(TurnRow.trigger_id) == bindparam("id")
)


def find_turn(session: Session, chat: ChatRow, now: datetime) -> TurnRow | None:
    """The turn that is to be written, opened or found again; None: what is queued comes first, or nothing is due. What
    is held, and stale, is taken back too.
    """
    drafts = _list_drafts(session, chat)
    taken_back = bool(drafts) and _take_back_stale(session, chat, now)
    if not taken_back and _that_may_leave(session, chat, drafts, now):
        return None
    due = still_due(session, chat, now)
    return _find_reply(session, chat, due, now) if due else _find_follow_up(session, chat, now)


def drafts_of(session: Session, chat: ChatRow, now: datetime) -> tuple[str, Sequence[str]]:
    """What may leave now of what is queued for this chat alone, oldest first, and through which connection: that of the
    oldest.
    """
    going = _that_may_leave(session, chat, _list_drafts(session, chat), now)
    first = going[0].connection_id if going else ""
    return first, [draft.id for draft in going if draft.connection_id == first]


class _Draft(NamedTuple):
    """active: whether its connection is; else it is held."""

    connection_id: str
    id: str
    kind: str
    active: bool


def _list_drafts(session: Session, chat: ChatRow) -> list[_Draft]:
    return [_Draft(*row) for row in ask(session, _DRAFTS, chat_id=chat.id)]


def _that_may_leave(session: Session, chat: ChatRow, drafts: Sequence[_Draft], now: datetime) -> list[_Draft]:
    """In quiet hours follow-ups wait."""
    going = [draft for draft in drafts if draft.active]
    if any(draft.kind == MessageKind.FOLLOW_UP for draft in going) and quiet_end(session, chat, now) is not None:
        return [draft for draft in going if draft.kind != MessageKind.FOLLOW_UP]
    return going


def _take_back_stale(session: Session, chat: ChatRow, now: datetime) -> bool:
    """Whether what was queued is not said after all, because the customer wrote meanwhile."""
    turn = session.get(TurnRow, chat.turn_id) if chat.turn_id else None
    if turn is None or not is_stale(session, turn):
        return False
    take_back(session, chat, turn, now)
    return True


# ---------------------------------------------------------------- replies


def still_due(session: Session, chat: ChatRow, now: datetime) -> list[MessageRow]:
    """What is due and may be answered still; what may not gets the reason, and is never due again."""
    due = _due(session, chat.id)
    forbidden = why_not(chat, now) or _too_late(session, chat, due, now) or _not_needed(session, chat, due)
    if forbidden is None:
        return due
    for row in due:
        row.answer = forbidden.value
    return []


def _due(session: Session, chat_id: str) -> list[MessageRow]:
    """What is to be answered, in the order it was stored (ids are sortable)."""
    return list(session.scalars(_DUE, {"chat_id": chat_id}))


def _too_late(session: Session, chat: ChatRow, due: Sequence[MessageRow], now: datetime) -> AnswerDecision | None:
    """Everything was stopped, or Temporal away, for so long that even the newest message is not answered any more."""
    longest = timedelta(minutes=session.get_one(BusinessRow, chat.business_id).answer_within_minutes)
    return AnswerDecision.TOO_OLD if due and now - max(row.at for row in due) > longest else None


def _not_needed(session: Session, chat: ChatRow, due: Sequence[MessageRow]) -> AnswerDecision | None:
    """After the goal a mere "ok" needs no answer."""
    said = [Line(sender=Sender.CUSTOMER, type=MessageType(row.type), text=row.text or "", at=row.at) for row in due]
    if not needs_no_answer(said) or find_open(session, chat) is not None:
        return None
    reached = is_goal_reached(read_earlier(session, chat.id))
    return AnswerDecision.NOT_NEEDED if reached and _bot_spoke_last(session, chat, due[0]) else None


def _bot_spoke_last(session: Session, chat: ChatRow, first: MessageRow) -> bool:
    """But for what wanted no answer either: an "ok" and then a thumb."""
    before = select(col(MessageRow.direction)).where(
        col(MessageRow.chat_id) == chat.id,
        col(MessageRow.id) < first.id,
        col(MessageRow.answer).is_distinct_from(AnswerDecision.NOT_NEEDED.value),
    )
    last = session.execute(before.order_by(col(MessageRow.id).desc()).limit(1)).scalar_one_or_none()
    return last == Direction.OUTGOING


def _find_reply(session: Session, chat: ChatRow, due: Sequence[MessageRow], now: datetime) -> TurnRow:
    """The turn under way goes on, unless the customer has written since and it may be written anew."""
    trigger_id = due[-1].id
    turns = session.scalars(_TURNS, {"chat_id": chat.id, "turn_id": chat.turn_id or "", "trigger_id": trigger_id}).all()
    latest = next((turn for turn in turns if turn.id == chat.turn_id), None)
    if latest is not None and latest.status == TurnStatus.OPEN and any(row.id == latest.trigger_id for row in due):
        if latest.conversation_id == chat.conversation_id and not is_stale(session, latest):
            return latest
        drop(latest, SUPERSEDED, now)
    of_trigger = next((turn for turn in turns if turn.trigger_id == trigger_id), None)
    return _open(session, chat, of_trigger, trigger_id, chat.conversation_id, _recomposed(session, latest), now)


def _recomposed(session: Session, latest: TurnRow | None) -> int:
    """How many turns in a row before this one were written in vain."""
    if latest is None or latest.status != TurnStatus.DROPPED or latest.reason != SUPERSEDED:
        return 0
    return latest.recomposed + is_written(session, latest)


_TURNS = select(TurnRow).where(
    col(TurnRow.chat_id) == bindparam("chat_id"),
    or_(col(TurnRow.id) == bindparam("turn_id"), col(TurnRow.trigger_id) == bindparam("trigger_id")),
)
"""The chat's newest one, and the one that a message set off."""


def _open(
    session: Session,
    chat: ChatRow,
    turn: TurnRow | None,
    trigger_id: str,
    conversation_id: str | None,
    recomposed: int,
    now: datetime,
) -> TurnRow:
    """turn: the trigger's, where it has set one off."""
    if turn is not None and turn.status != TurnStatus.OPEN:
        turn.trigger_id = f"{trigger_id}~{turn.id}"  # it came to nothing, and what it was to answer is due again
        session.flush()
        turn = None
    if turn is None:
        turn = TurnRow(
            id=new_id(Prefix.TURN),
            business_id=chat.business_id,
            chat_id=chat.id,
            trigger_id=trigger_id,
            conversation_id=conversation_id,
            status=TurnStatus.OPEN.value,
            recomposed=recomposed,
            created_at=now,
        )
        session.add(turn)
    chat.turn_id, chat.next_step_at = turn.id, now
    session.flush()
    return turn


def find_by_trigger(session: Session, chat_id: str, trigger_id: str) -> TurnRow | None:
    turn: TurnRow | None = session.scalars(_OF_TRIGGER, {"chat_id": chat_id, "id": trigger_id}).one_or_none()
    return turn


# ---------------------------------------------------------------- follow-ups


def _find_follow_up(session: Session, chat: ChatRow, now: datetime) -> TurnRow | None:
    """The turn that writes the follow-up that is due; one that was promised word for word is queued as it is."""
    business = session.get_one(BusinessRow, chat.business_id)
    while (row := follow_ups.find_due(session, chat.id, business, now)) is not None:
        conversation = session.get_one(ConversationRow, row.conversation_id)
        if not _is_wanted(chat, row, conversation, now):
            follow_ups.end(row, now, done=False)
        elif row.text is None:
            turn = find_by_trigger(session, chat.id, row.id)
            return _open(session, chat, turn, row.id, conversation.id, 0, now)
        else:
            _queue_promise(session, chat, conversation, row.text, now)
            follow_ups.end(row, now, done=True)
        session.flush()
    return None


def _queue_promise(session: Session, chat: ChatRow, conversation: ConversationRow, text: str, now: datetime) -> None:
    """Like a reply, it is stale when the phone comes back after a long time."""
    late = timedelta(minutes=session.get_one(BusinessRow, chat.business_id).answer_within_minutes)
    kind, connection_id = MessageKind.FOLLOW_UP, over(session, conversation.connection_id)
    add_drafts(session, chat, connection_id, kind, [text], now, conversation.id, expires_at=now + late)


def _is_wanted(chat: ChatRow, row: FollowUpRow, conversation: ConversationRow, now: datetime) -> bool:
    deadline = conversation.deadline_at
    if why_not(chat, now) is not None or conversation.status in _OVER or (deadline is not None and deadline <= now):
        return False
    return row.text is not None or conversation.status != ConversationStatus.DONE
