"""How a send halts, goes on and ends. Whoever calls these holds the send's row locked.

A claim locks the send too and looks at its status, so that nothing is claimed once one of these has committed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlmodel import Session, col

from boton.domain.conversations import ConversationStatus
from boton.domain.events import EventType, NewEvent
from boton.domain.messages import UNFINISHED, Lane, MessageError, MessageStatus
from boton.domain.sends import SendStatus
from boton.errors import Conflict, NotFound
from boton.store.events import append_events
from boton.store.follow_ups import cancel_planned
from boton.store.steps import close_conversation, lock_chats, move
from boton.store.tables import ChatRow, ConnectionRow, ConversationRow, MessageRow, SendRow

SETTLED_AT_ONCE = 200
"""Messages that are cancelled in one transaction: SQLite's other writers wait that long."""

_DIALOGUE_ENDS = {
    MessageStatus.CANCELLED: ConversationStatus.CANCELLED,
    MessageStatus.EXPIRED: ConversationStatus.EXPIRED,
}
_CANCELLED = MessageError(code="send_cancelled", detail="the send was cancelled before this message left")
_IN_A_LANE = col(MessageRow.lane).in_([lane.value for lane in Lane])
"""As every message of a send is: they are found by the index that begins with send, lane and status."""


def lock_send(session: Session, business_id: str, send_id: str) -> SendRow:
    """The send's row, locked against claims until the transaction ends. Raises NotFound."""
    row = session.scalars(
        select(SendRow)
        .where(col(SendRow.id) == send_id, col(SendRow.business_id) == business_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        raise NotFound("send", send_id)
    return row


def lock_sends(session: Session, sends: ColumnElement[bool]) -> list[SendRow]:
    """Several sends, locked against claims, in the order of their ids. To be called before a chat is locked."""
    rows = session.scalars(
        select(SendRow)
        .where(sends)
        .order_by(col(SendRow.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return list(rows)


def lock_sends_ahead(session: Session, sends: ColumnElement[bool]) -> None:
    """The same for any number of them, which need not be read. SQLite has one writer, and locks no rows."""
    if session.get_bind().dialect.name != "sqlite":
        ids = select(col(SendRow.id)).where(sends).order_by(col(SendRow.id))
        session.execute(ids.with_for_update(key_share=True))


def pause(send: SendRow) -> None:
    """Pausing twice changes nothing. Raises Conflict when it has ended."""
    _check_not_over(send, "paused")
    send.status = SendStatus.PAUSED.value
    send.waiting = send.next_step_at = None


def resume(send: SendRow, now: datetime) -> None:
    """Its workflow looks at it again; changes nothing unless it is paused. Raises Conflict when it has ended."""
    _check_not_over(send, "resumed")
    if send.status != SendStatus.PAUSED:
        return
    if send.started_at is not None:
        send.status = SendStatus.RUNNING.value
    else:
        is_early = send.send_at is not None and send.send_at > now
        send.status = (SendStatus.SCHEDULED if is_early else SendStatus.QUEUED).value
    send.hold, send.next_step_at, send.resumed_at = None, now, now


def cancel(send: SendRow, now: datetime) -> None:
    """Its queued messages are to be cancelled next, by `cancel_queued`. Raises Conflict when it has finished."""
    if send.status == SendStatus.FINISHED:
        raise Conflict(f"Send {send.id} has finished: it cannot be cancelled any more.")
    if send.status == SendStatus.CANCELLED:
        return
    send.status, send.next_step_at = SendStatus.CANCELLED.value, now
    send.waiting = send.hold = None


def cancel_some(session: Session, sends: Sequence[SendRow], now: datetime) -> bool:
    """Cancels sends, locked in the order of their ids, and a piece of what is queued of them; whether there is more of
    it. Must be a transaction's last statements. Raises Conflict when one has finished.
    """
    for send in sends:
        cancel(send, now)
    count, events = cancel_queued(session, sends, now, SETTLED_AT_ONCE)
    events += end_if_over(session, sends, now)
    session.flush()
    append_events(session, events)
    return count == SETTLED_AT_ONCE and any(send.finished_at is None for send in sends)


def cancel_queued(session: Session, sends: Sequence[SendRow], now: datetime, limit: int) -> tuple[int, list[NewEvent]]:
    """Cancels at most `limit` queued messages of cancelled sends; see `settle_queued`."""
    return settle_queued(session, sends, MessageStatus.CANCELLED, _CANCELLED, now, limit)


def expire_queued(
    session: Session, send: SendRow, error: MessageError, now: datetime, limit: int
) -> tuple[int, list[NewEvent]]:
    """At most `limit` queued messages of a send are too late now; see `settle_queued`."""
    return settle_queued(session, [send], MessageStatus.EXPIRED, error, now, limit)


def settle_queued(
    session: Session,
    sends: Sequence[SendRow],
    status: MessageStatus,
    error: MessageError,
    now: datetime,
    limit: int,
) -> tuple[int, list[NewEvent]]:
    """Ends at most `limit` queued messages of these sends, first to last; how many it were, and what is to be told.
    Fewer than `limit`: none is queued any more. A dialogue whose opening never leaves is over.
    """
    queued = select(col(MessageRow.id), col(MessageRow.chat_id), col(MessageRow.conversation_id)).where(
        _of([send.id for send in sends]), col(MessageRow.status) == MessageStatus.QUEUED.value
    )
    found = session.execute(queued.order_by(col(MessageRow.send_id), col(MessageRow.position)).limit(limit)).all()
    dialogues = _lock_dialogues(session, [(chat_id, id) for _, chat_id, id in found if id is not None])
    events: list[NewEvent] = []
    ended: list[str] = []
    for row in _lock_queued(session, [id for id, _, _ in found]):
        events += move(row, status, now, error)
        if row.conversation_id is None:
            continue
        chat, dialogue = dialogues[row.conversation_id]
        if dialogue.ended_at is None:
            events.append(close_conversation(chat, dialogue, _DIALOGUE_ENDS[status], None, now))
            ended.append(dialogue.id)
    session.flush()
    if ended:
        cancel_planned(session, ended, now, promises=True)
    return len(found), events


def end_if_over(session: Session, sends: Sequence[SendRow], now: datetime) -> list[NewEvent]:
    """Ends those of which nothing is queued or on its way: `finished_at` is set then. The events that tell it, in the
    order of the sends' ids. A workflow that waits for the link of a number which is gone is told by the sweeper.
    """
    going = {send.id: send for send in sends if send.finished_at is None}
    if not going:
        return []
    session.flush()
    over = _find_over(session, going)
    counts = _count(session, over)
    return [_end(session, going[id], counts[id], now) for id in over]


def _end(session: Session, send: SendRow, counts: Mapping[MessageStatus, int], now: datetime) -> NewEvent:
    if send.status != SendStatus.CANCELLED:
        send.status = SendStatus.FINISHED.value
    unattended = not session.get_one(ConnectionRow, send.connection_id).active
    send.finished_at, send.next_step_at, send.waiting = now, now if unattended else None, None
    told = {status.value: count for status, count in counts.items()}
    data = {"sendId": send.id, "status": send.status, "total": send.total, "counts": told}
    if send.reminder_id is not None:
        data["reminderId"] = send.reminder_id
    return NewEvent(business_id=send.business_id, type=EventType.SEND_FINISHED, at=now, data=data)


def end_halted(session: Session, sends: Sequence[SendRow], now: datetime) -> list[NewEvent]:
    """`end_if_over` for those of them that are paused or cancelled; the others go on and end by themselves."""
    halted = [send for send in sends if send.status in (SendStatus.PAUSED, SendStatus.CANCELLED)]
    return end_if_over(session, halted, now)


def count_messages(session: Session, send_id: str) -> dict[MessageStatus, int]:
    """A send's messages by status; those that nobody is in are left out."""
    return _count(session, [send_id])[send_id]


def _count(session: Session, send_ids: Collection[str]) -> Mapping[str, dict[MessageStatus, int]]:
    columns = (col(MessageRow.send_id), col(MessageRow.status))
    counted = session.execute(select(*columns, func.count()).where(_of(send_ids)).group_by(*columns))
    counts: dict[str, dict[MessageStatus, int]] = {id: {} for id in send_ids}
    for send_id, status, count in counted:
        counts[send_id][MessageStatus(status)] = count
    return counts


def _of(send_ids: Collection[str]) -> ColumnElement[bool]:
    return col(MessageRow.send_id).in_(send_ids) & _IN_A_LANE


def _check_not_over(send: SendRow, wanted: str) -> None:
    if send.status in (SendStatus.FINISHED, SendStatus.CANCELLED):
        raise Conflict(f"Send {send.id} is {send.status}: it cannot be {wanted} any more.")


def _find_over(session: Session, send_ids: Collection[str]) -> list[str]:
    """Those of which nothing is queued or on its way, in the order of their ids."""
    ids = col(SendRow.id)
    left = col(MessageRow.send_id) == ids, _IN_A_LANE, col(MessageRow.status).in_([one.value for one in UNFINISHED])
    over = select(ids).where(ids.in_(send_ids), ~select(col(MessageRow.id)).where(*left).exists())
    return list(session.scalars(over.order_by(ids)))


def _lock_dialogues(session: Session, ids: Sequence[tuple[str, str]]) -> dict[str, tuple[ChatRow, ConversationRow]]:
    """The dialogues of openings, by ids of (chat, dialogue), with their chats locked in the order of these, so that
    two who lock many wait for each other. Other messages that never left change nothing in their chats.
    """
    if not ids:
        return {}
    chats = lock_chats(session, [chat_id for chat_id, _ in ids])
    dialogues = session.scalars(
        select(ConversationRow)
        .where(col(ConversationRow.id).in_([id for _, id in ids]))
        .execution_options(populate_existing=True)
    )
    return {dialogue.id: (chats[dialogue.chat_id], dialogue) for dialogue in dialogues}


def _lock_queued(session: Session, ids: Sequence[str]) -> list[MessageRow]:
    """Those of them that are queued still: an opening's turn may have failed meanwhile, a recipient be unknown."""
    locked = session.scalars(
        select(MessageRow)
        .where(col(MessageRow.id).in_(ids))
        .order_by(col(MessageRow.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return [row for row in locked if row.status == MessageStatus.QUEUED]
