"""Sends: accepted in one transaction, then told with their progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from boton.domain.pacing import WaitReason
from boton.domain.sends import AcceptedSend, NewSend, Recipient, Send, SendStatus
from boton.errors import NotFound
from boton.ports import IdempotencyKey, Page
from boton.store.accepting import KnownChat, Prepared, first_answer, prepare
from boton.store.aliases import ensure_chats, find_with_chats, select_with_chats
from boton.store.bulk import insert_bulk
from boton.store.contacts import introduce
from boton.store.ending import (
    cancel_some,
    count_messages,
    lock_send,
    pause,
    resume,
)
from boton.store.engine import Database
from boton.store.estimating import estimate, estimate_rest
from boton.store.idempotency import claim_key, find_answer
from boton.store.numbers import Number, fetch_active
from boton.store.retiring import move_some
from boton.store.rows import to_recipient, to_send
from boton.store.tables import UNFINISHED, ChatRow, ConnectionRow, MessageRow, SendRow

_ACCEPTED = 202
_CHATS_AT_ONCE = 500
_AT_ONCE = 50
"""Recipients of a send that is accepted in one transaction."""

_TRIES = 3

_CHATS = select_with_chats(col(ChatRow.id), col(ChatRow.jid), col(ChatRow.known))
"""Built once: building the statements of an acceptance took a third of its time (measured)."""

_WOKEN_AT_ONCE = 1000
_PACED = [WaitReason.QUIET_HOURS.value, WaitReason.DAILY_LIMIT.value, WaitReason.SLOW_LANE_CLOSED.value]
"""What a change of the pacing may end."""


class SqlSendStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def accept_send(self, new: NewSend, *, idempotency: IdempotencyKey | None = None) -> AcceptedSend:
        """A bulk's chats come first, some at a time, so that it does not keep other writers waiting for long."""
        if len(new.recipients) <= _AT_ONCE:
            return await self._db.write(lambda session: _accept_at_once(session, new, idempotency))
        for _ in range(_TRIES):
            with suppress(IntegrityError):
                return await self._accept_bulk(new, idempotency)
        return await self._accept_bulk(new, idempotency)

    async def _accept_bulk(self, new: NewSend, idempotency: IdempotencyKey | None) -> AcceptedSend:
        """Raises IntegrityError where a chat that was found has become part of another before the send was stored."""
        number = await self._db.read(lambda session: fetch_active(session, new.business_id))
        chats: dict[str, KnownChat] = {}
        for start in range(0, len(new.recipients), _CHATS_AT_ONCE):
            some = replace(new, recipients=new.recipients[start : start + _CHATS_AT_ONCE])
            chats |= await self._ensure_chats(some)
        prepared = await self._db.read(lambda session: prepare_send(session, new, number, chats))
        return await self._db.write(lambda session: _accept(session, prepared, idempotency))

    async def _ensure_chats(self, new: NewSend) -> dict[str, KnownChat]:
        return await self._db.write(lambda session: ensure_recipients(session, new))

    async def find_accepted(self, business_id: str, idempotency: IdempotencyKey) -> AcceptedSend | None:
        return await self._db.read(lambda session: _find_first(session, business_id, idempotency))

    async def fetch_send(self, business_id: str, send_id: str) -> Send:
        return await self._db.read(lambda session: _fetch(session, business_id, send_id))

    async def pause_send(self, business_id: str, send_id: str) -> Send:
        return await self._db.write(lambda session: _pause(session, business_id, send_id))

    async def resume_send(self, business_id: str, send_id: str, now: datetime) -> Send:
        while await self._db.write(lambda session: _move(session, business_id, send_id)):
            pass
        return await self._db.write(lambda session: _resume(session, business_id, send_id, now))

    async def cancel_send(self, business_id: str, send_id: str, now: datetime) -> Send:
        """What a stop of this process leaves queued is cancelled by the send's workflow."""
        while await self._db.write(lambda session: _cancel(session, business_id, send_id, now)):
            pass
        return await self.fetch_send(business_id, send_id)

    async def estimate_end(self, business_id: str, send_id: str, now: datetime) -> datetime | None:
        return await self._db.read(lambda session: estimate_rest(session, _get(session, business_id, send_id), now))

    async def wake_waiting_sends(self, business_id: str, now: datetime) -> Sequence[Send]:
        return await self._db.write(lambda session: _wake_waiting(session, business_id, now))

    async def list_sends(
        self, business_id: str, page: Page, status: SendStatus | None = None
    ) -> tuple[Sequence[Send], int]:
        return await self._db.read(lambda session: _list(session, business_id, page, status))

    async def list_recipients(self, business_id: str, send_id: str, page: Page) -> tuple[Sequence[Recipient], int]:
        return await self._db.read(lambda session: _list_recipients(session, business_id, send_id, page))


# ---------------------------------------------------------------- accepting


def ensure_recipients(session: Session, new: NewSend) -> dict[str, KnownChat]:
    """The recipients' chats by the JIDs given; those that are missing are created."""
    jids = [one.jid for one in new.recipients]
    chats = _find_chats(session, new.business_id, jids)
    missing = [jid for jid in jids if jid not in chats]
    if missing:
        ensure_chats(session, new.business_id, missing, new.accepted_at)
        chats |= _find_chats(session, new.business_id, missing)
    return chats


def _find_chats(session: Session, business_id: str, jids: Sequence[str]) -> dict[str, KnownChat]:
    found = find_with_chats(session, _CHATS, business_id, jids)
    return {name: KnownChat(id=id, jid=jid, known=known) for name, (id, jid, known) in found.items()}


def prepare_send(session: Session, new: NewSend, number: Number, chats: Mapping[str, KnownChat]) -> Prepared:
    """All that `store_send` stores, with the answer's estimate."""
    prepared = prepare(session.get_bind().dialect, new, number.connection_id, chats)
    end = estimate(session, number, prepared.answer.send, prepared.lanes, new.accepted_at)
    if end is None:
        return prepared
    return replace(prepared, answer=replace(prepared.answer, estimated_end=end))


def store_send(session: Session, prepared: Prepared) -> None:
    if prepared.introduced:
        introduce(session, prepared.introduced, prepared.answer.send.created_at)
    insert_bulk(session, prepared.sends)
    if prepared.conversations is not None:
        insert_bulk(session, prepared.conversations)
    insert_bulk(session, prepared.messages)


def _accept_at_once(session: Session, new: NewSend, idempotency: IdempotencyKey | None) -> AcceptedSend:
    number = fetch_active(session, new.business_id)
    prepared = prepare_send(session, new, number, ensure_recipients(session, new))
    return _accept(session, prepared, idempotency)


def _accept(session: Session, prepared: Prepared, idempotency: IdempotencyKey | None) -> AcceptedSend:
    if idempotency is not None and not _claim_key(session, prepared, idempotency):
        return _find_first(session, prepared.answer.send.business_id, idempotency) or prepared.answer
    store_send(session, prepared)
    return prepared.answer


def _claim_key(session: Session, prepared: Prepared, idempotency: IdempotencyKey) -> bool:
    send, end = prepared.answer.send, prepared.answer.estimated_end
    answer = {"sendId": send.id, "estimatedEnd": end.isoformat() if end else None}
    return claim_key(session, send.business_id, idempotency, _ACCEPTED, answer, send.created_at)


def _find_first(session: Session, business_id: str, idempotency: IdempotencyKey) -> AcceptedSend | None:
    """The first answer to this key; None when it is new. Raises Invalid when it came with another body."""
    answer = find_answer(session, business_id, idempotency)
    if answer is None:
        return None
    send = session.get_one(SendRow, answer["sendId"])
    messages = session.scalars(
        select(MessageRow).where(col(MessageRow.send_id) == send.id).order_by(col(MessageRow.position))
    )
    recipients = [to_recipient(row) for row in messages]
    end = answer.get("estimatedEnd")
    return first_answer(to_send(send), recipients, datetime.fromisoformat(end) if end else None)


# ---------------------------------------------------------------- pausing, resuming, cancelling


def _pause(session: Session, business_id: str, send_id: str) -> Send:
    send = lock_send(session, business_id, send_id)
    pause(send)
    return _tell(session, send)


def _move(session: Session, business_id: str, send_id: str) -> bool:
    """Whether there is more to be moved before it can go on. What has ended stays where it was."""
    send = lock_send(session, business_id, send_id)
    return send.status == SendStatus.PAUSED and move_some(session, [send])


def _resume(session: Session, business_id: str, send_id: str, now: datetime) -> Send:
    send = lock_send(session, business_id, send_id)
    resume(send, now)
    return _tell(session, send)


def _cancel(session: Session, business_id: str, send_id: str, now: datetime) -> bool:
    """One piece of it; whether there is more to be cancelled."""
    return cancel_some(session, [lock_send(session, business_id, send_id)], now)


def _wake_waiting(session: Session, business_id: str, now: datetime) -> list[Send]:
    """Oldest first. What cannot be woken now is found by the sweeper: all of them are due."""
    ours = select(col(ConnectionRow.id)).where(col(ConnectionRow.business_id) == business_id)
    waiting = session.scalars(
        select(SendRow)
        .where(col(SendRow.connection_id).in_(ours), UNFINISHED, col(SendRow.waiting).in_(_PACED))
        .order_by(col(SendRow.id))
        .limit(_WOKEN_AT_ONCE)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    for send in waiting:
        send.next_step_at = now
    return [to_send(send) for send in waiting]


# ---------------------------------------------------------------- telling


def _get(session: Session, business_id: str, send_id: str) -> SendRow:
    row = session.get(SendRow, send_id)
    if row is None or row.business_id != business_id:
        raise NotFound("send", send_id)
    return row


def _fetch(session: Session, business_id: str, send_id: str) -> Send:
    return _tell(session, _get(session, business_id, send_id))


def _tell(session: Session, send: SendRow) -> Send:
    session.flush()
    return to_send(send, count_messages(session, send.id))


def _list(session: Session, business_id: str, page: Page, status: SendStatus | None) -> tuple[list[Send], int]:
    """What reminders sent is told by the reminders."""
    wanted = [col(SendRow.business_id) == business_id, col(SendRow.reminder_id).is_(None)]
    if status is not None:
        wanted.append(col(SendRow.status) == status.value)
    total = session.execute(select(func.count()).select_from(SendRow).where(*wanted)).scalar_one()
    newest = (
        select(SendRow)
        .where(*wanted)
        .order_by(col(SendRow.created_at).desc(), col(SendRow.id).desc())
        .limit(page.page_size)
        .offset(page.page * page.page_size)
    )
    return [to_send(row) for row in session.scalars(newest)], total


def _list_recipients(session: Session, business_id: str, send_id: str, page: Page) -> tuple[list[Recipient], int]:
    """Positions have no gaps, so that a deep page is found by its first position. One beyond the last is not asked
    for: it may be larger than the column's integer.
    """
    total = _get(session, business_id, send_id).total
    first = page.page * page.page_size
    if first >= total:
        return [], total
    rows = session.scalars(
        select(MessageRow)
        .where(col(MessageRow.send_id) == send_id, col(MessageRow.position) >= first)
        .order_by(col(MessageRow.position))
        .limit(page.page_size)
    )
    return [to_recipient(row) for row in rows], total
