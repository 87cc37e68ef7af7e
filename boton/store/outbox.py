"""Claim, send, record: the store's part of principle 2. One transaction before the wire is touched, one after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, select
from sqlmodel import Session, col

from boton.domain.events import NewEvent
from boton.domain.gateway import Attempt
from boton.domain.messages import Lane, MessageError, MessageKind, MessageStatus
from boton.domain.pacing import ClosingTimes, Closure, rank_of
from boton.domain.sends import Progress, SendCategory, to_progress
from boton.errors import NotFound, StaleEpoch
from boton.ports import Idle, NumberPace, Preview, Result
from boton.store import pace
from boton.store.advancing import lock_in_order, next_step
from boton.store.claims import claim, settle_forbidden, to_attempt
from boton.store.connections import own
from boton.store.customers import find_customers
from boton.store.dialogues import quiet_end, settle_drafts
from boton.store.ending import count_messages, end_halted, lock_sends
from boton.store.engine import Database
from boton.store.estimating import estimate_rest
from boton.store.events import append_events
from boton.store.merging import settle_customers
from boton.store.numbers import own_number
from boton.store.results import record_results
from boton.store.rows import to_send
from boton.store.staleness import is_aimless, is_stale, take_back
from boton.store.steps import end_failed_opening, lock_chat, lock_message, move
from boton.store.tables import IN_FLIGHT, ChatRow, MessageRow, SendRow, TurnRow

_ASKED_AGAIN = 100
_NOT_ON_WHATSAPP = MessageError(code="not_on_whatsapp", detail="this number is not on WhatsApp")


class SqlOutboxStore:
    """times: how long a refusal closes the slow lane."""

    def __init__(self, database: Database, times: ClosingTimes | None = None) -> None:
        self._db = database
        self._times = times or ClosingTimes()

    async def advance_send(
        self,
        send_id: str,
        connection_id: str,
        epoch: int,
        lane: Lane,
        *,
        record: Sequence[Result],
        room: int,
        flows: bool,
        now: datetime,
    ) -> Sequence[Attempt] | Idle:
        return await self._db.write(
            lambda session: _advance(session, send_id, connection_id, epoch, lane, record, room, flows, now)
        )

    async def claim_message(
        self, message_id: str, connection_id: str, epoch: int, now: datetime, *, flows: bool = False
    ) -> Attempt | Idle | None:
        return await self._db.write(
            lambda session: _claim_message(session, message_id, connection_id, epoch, now, flows=flows)
        )

    async def record_result(self, result: Result, now: datetime) -> None:
        await self._db.write(lambda session: _record(session, result, now))

    async def list_left_in_flight(self, connection_id: str, epoch: int) -> Sequence[Attempt]:
        return await self._db.read(lambda session: _list_left_in_flight(session, connection_id, epoch))

    async def preview_messages(self, message_ids: Sequence[str]) -> Sequence[Preview]:
        return await self._db.read(lambda session: _preview(session, message_ids))

    async def note_recipient(self, message_id: str, known_as: Sequence[str], now: datetime) -> Sequence[str]:
        return await self._db.write(lambda session: _note_recipient(session, message_id, known_as, now))

    async def close_slow_lane(
        self, connection_id: str, epoch: int, code: str, until: datetime | None, now: datetime
    ) -> Closure:
        return await self._db.write(
            lambda session: pace.close_slow_lane(session, connection_id, epoch, code, until, self._times, now)
        )

    async def fetch_pace(self, connection_id: str) -> NumberPace:
        return await self._db.read(lambda session: pace.fetch_pace(session, connection_id))

    async def fetch_progress(self, send_id: str, now: datetime) -> Progress:
        return await self._db.read(lambda session: _fetch_progress(session, send_id, now))

    async def fetch_rank(self, send_id: str, lane: Lane) -> int:
        return await self._db.read(lambda session: _fetch_rank(session, send_id, lane))


def _advance(
    session: Session,
    send_id: str,
    connection_id: str,
    epoch: int,
    lane: Lane,
    record: Sequence[Result],
    room: int,
    flows: bool,
    now: datetime,
) -> Sequence[Attempt] | Idle:
    try:
        connection = own(session, connection_id, epoch)
    except StaleEpoch:
        step: Sequence[Attempt] | Idle = Idle(why="not_owner")
        events = _record_alone(session, record, now)
    else:
        send = _lock_send(session, send_id, connection_id)
        lock_in_order(session, send, lane, record, room)
        events = record_results(session, record, now)
        refused = any(result.refused and result.is_due_again for result in record)
        step = next_step(session, connection, send, lane, room, now, events, refused=refused, flows=flows)
    session.flush()
    append_events(session, events)
    return step


def _lock_send(session: Session, send_id: str, connection_id: str) -> SendRow:
    """Not FOR SHARE: the first claim and the last one write this row, and two that share it would dead-lock then."""
    row = session.scalars(
        select(SendRow)
        .where(col(SendRow.id) == send_id, col(SendRow.connection_id) == connection_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        raise NotFound("send", send_id)
    return row


_MESSAGE = (
    select(ChatRow, MessageRow, TurnRow)
    .join(MessageRow, col(MessageRow.chat_id) == col(ChatRow.id))
    .outerjoin(TurnRow, col(TurnRow.id) == col(MessageRow.turn_id))
    .where(col(MessageRow.id) == bindparam("id"), col(MessageRow.connection_id) == bindparam("connection_id"))
    .with_for_update(key_share=True, of=(ChatRow, MessageRow))
    .execution_options(populate_existing=True)
)
"""With its chat, which is locked first, and the turn that it belongs to: whatever drops a turn under the chat's lock
cancels what is queued of it as well.
"""


def _claim_message(
    session: Session, message_id: str, connection_id: str, epoch: int, now: datetime, *, flows: bool
) -> Attempt | Idle | None:
    number = own_number(session, connection_id, epoch)
    if flows and not number.pacing.is_unpaced(Lane.FAST):
        return Idle(why="paced")
    found = session.execute(_MESSAGE, {"id": message_id, "connection_id": connection_id}).one_or_none()
    if found is None:
        return None
    chat, row, turn = found
    if row.status != MessageStatus.QUEUED or _has_to_wait(session, chat, row, turn, now):
        return None
    events: list[NewEvent] = []
    forbidden = settle_forbidden(session, chat, row, now, events)
    attempt = None if forbidden else claim(session, chat, row, epoch, now, events)
    if forbidden:
        settle_drafts(session, chat, now)
    session.flush()
    append_events(session, events)
    return attempt


def _has_to_wait(session: Session, chat: ChatRow, row: MessageRow, turn: TurnRow | None, now: datetime) -> bool:
    """A follow-up does in quiet hours; a reply that the customer has overtaken is written anew."""
    if row.kind == MessageKind.FOLLOW_UP:
        return quiet_end(session, chat, now) is not None
    if turn is None or not (is_stale(session, turn) or is_aimless(session, turn, row)):
        return False
    take_back(session, chat, turn, now)
    return True


def _record(session: Session, result: Result, now: datetime) -> None:
    events = _record_alone(session, [result], now)
    session.flush()
    append_events(session, events)


def _record_alone(session: Session, results: Sequence[Result], now: datetime) -> list[NewEvent]:
    """Results after which nothing is claimed. A halted send whose last message they settle is over: no batch of it
    comes that would say so.
    """
    ids = [result.attempt.message_id for result in results]
    of_these = select(col(MessageRow.send_id)).where(col(MessageRow.id).in_(ids), col(MessageRow.send_id).is_not(None))
    sends = lock_sends(session, col(SendRow.id).in_(of_these)) if ids else []
    events = record_results(session, results, now)
    return events + end_halted(session, sends, now)


def _list_left_in_flight(session: Session, connection_id: str, epoch: int) -> list[Attempt]:
    mine = and_(col(MessageRow.connection_id) == connection_id, IN_FLIGHT)
    sending = select(MessageRow).where(
        mine, col(MessageRow.status) == MessageStatus.SENDING.value, col(MessageRow.epoch) < epoch
    )
    unconfirmed = (
        select(MessageRow)
        .where(mine, col(MessageRow.status) == MessageStatus.UNCONFIRMED.value)
        .order_by(col(MessageRow.at).desc())
        .limit(_ASKED_AGAIN)
    )
    rows = [*session.scalars(sending), *session.scalars(unconfirmed)]
    return [to_attempt(row) for row in sorted(rows, key=lambda row: (row.at, row.id))]


def _preview(session: Session, message_ids: Sequence[str]) -> list[Preview]:
    rows = session.scalars(
        select(MessageRow).where(
            col(MessageRow.id).in_(message_ids), col(MessageRow.status) == MessageStatus.QUEUED.value
        )
    )
    found = {row.id: row for row in rows}
    return [pace.to_preview(found[id]) for id in message_ids if id in found]


def _note_recipient(session: Session, message_id: str, known_as: Sequence[str], now: datetime) -> list[str]:
    found = session.get(MessageRow, message_id)
    if found is None:
        return []
    customers = find_customers(session, found.business_id, [known_as] if known_as else [])
    settled = settle_customers(session, found.business_id, customers, now)
    chat = lock_chat(session, found.chat_id)
    chat.registered = bool(known_as)
    row = lock_message(session, message_id)
    events = settled.events
    if not known_as and row is not None and row.status == MessageStatus.QUEUED:
        events += move(row, MessageStatus.FAILED, now, _NOT_ON_WHATSAPP) + end_failed_opening(session, chat, row, now)
    session.flush()
    append_events(session, events)
    return settled.due


def _fetch_progress(session: Session, send_id: str, now: datetime) -> Progress:
    send = _get_send(session, send_id)
    return to_progress(to_send(send, count_messages(session, send_id)), estimate_rest(session, send, now), now)


def _get_send(session: Session, send_id: str) -> SendRow:
    send = session.get(SendRow, send_id)
    if send is None:
        raise NotFound("send", send_id)
    return send


def _fetch_rank(session: Session, send_id: str, lane: Lane) -> int:
    send = _get_send(session, send_id)
    return rank_of(lane, SendCategory(send.category), send.total)
