"""Sends: accepted in one transaction, then told with their progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import func, insert, select
from sqlmodel import Session, col

from boton.domain.messages import MessageStatus
from boton.domain.sends import AcceptedSend, NewSend, Recipient, Send
from boton.errors import Conflict, Invalid, NotFound
from boton.ports import IdempotencyKey, Page
from boton.store.accepting import KnownChat, Prepared, first_answer, prepare
from boton.store.aliases import ensure_chats
from boton.store.bulk import insert_bulk
from boton.store.engine import Database
from boton.store.inserts import insert_or_ignore
from boton.store.rows import to_recipient, to_send
from boton.store.tables import ChatRow, ConnectionRow, IdempotencyRow, MessageRow, SendRow

_CHATS_AT_ONCE = 500


class SqlSendStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def accept_send(self, new: NewSend, *, idempotency: IdempotencyKey | None = None) -> AcceptedSend:
        """Chats come first, some at a time, so that a bulk does not keep other writers waiting for long."""
        connection_id = await self._db.read(lambda session: _active_connection(session, new.business_id))
        chats: dict[str, KnownChat] = {}
        for start in range(0, len(new.recipients), _CHATS_AT_ONCE):
            some = replace(new, recipients=new.recipients[start : start + _CHATS_AT_ONCE])
            chats |= await self._ensure_chats(some)
        prepared = await self._db.read(lambda session: prepare(session.get_bind().dialect, new, connection_id, chats))
        return await self._db.write(lambda session: _accept(session, prepared, idempotency))

    async def _ensure_chats(self, new: NewSend) -> dict[str, KnownChat]:
        return await self._db.write(lambda session: _ensure_chats(session, new))

    async def find_accepted(self, business_id: str, idempotency: IdempotencyKey) -> AcceptedSend | None:
        return await self._db.read(lambda session: _find_first(session, business_id, idempotency))

    async def fetch_send(self, business_id: str, send_id: str) -> Send:
        return await self._db.read(lambda session: _fetch(session, business_id, send_id))

    async def list_sends(self, business_id: str, page: Page) -> tuple[Sequence[Send], int]:
        return await self._db.read(lambda session: _list(session, business_id, page))

    async def list_recipients(self, business_id: str, send_id: str, page: Page) -> tuple[Sequence[Recipient], int]:
        return await self._db.read(lambda session: _list_recipients(session, business_id, send_id, page))


# ---------------------------------------------------------------- accepting


def _active_connection(session: Session, business_id: str) -> str:
    active = select(col(ConnectionRow.id)).where(
        col(ConnectionRow.business_id) == business_id, col(ConnectionRow.active)
    )
    connection_id: str | None = session.execute(active.order_by(col(ConnectionRow.id)).limit(1)).scalar_one_or_none()
    if connection_id is None:
        raise Conflict("This business has no connected phone: link one (POST /api/v1/connection), then send again.")
    return connection_id


def _ensure_chats(session: Session, new: NewSend) -> dict[str, KnownChat]:
    ids = ensure_chats(session, new.business_id, [one.jid for one in new.recipients], new.accepted_at)
    rows = session.execute(
        select(col(ChatRow.id), col(ChatRow.jid), col(ChatRow.known)).where(col(ChatRow.id).in_(set(ids.values())))
    )
    chats = {id: KnownChat(id=id, jid=jid, known=known) for id, jid, known in rows}
    return {jid: chats[id] for jid, id in ids.items()}


def _accept(session: Session, prepared: Prepared, idempotency: IdempotencyKey | None) -> AcceptedSend:
    if idempotency is not None and not _claim_key(session, prepared, idempotency):
        return _find_first(session, prepared.send["business_id"], idempotency) or prepared.answer
    session.execute(insert(SendRow), prepared.send)
    if prepared.conversations is not None:
        insert_bulk(session, prepared.conversations)
    insert_bulk(session, prepared.messages)
    return prepared.answer


def _claim_key(session: Session, prepared: Prepared, idempotency: IdempotencyKey) -> bool:
    """Whether this request is the first with its key; a concurrent twin waits here for the first one's commit."""
    values = {
        "business_id": prepared.send["business_id"],
        "path": idempotency.path,
        "key": idempotency.key,
        "body_hash": idempotency.body_hash,
        "status_code": 202,
        "answer": {"sendId": prepared.send["id"]},
        "created_at": prepared.send["created_at"],
    }
    claimed = insert_or_ignore(session.get_bind().dialect, IdempotencyRow).returning(col(IdempotencyRow.key))
    return session.execute(claimed, values).first() is not None


def _find_first(session: Session, business_id: str, idempotency: IdempotencyKey) -> AcceptedSend | None:
    """The first answer to this key; None when it is new. Raises Invalid when it came with another body."""
    first = session.get(IdempotencyRow, (business_id, idempotency.path, idempotency.key))
    if first is None:
        return None
    if first.body_hash != idempotency.body_hash:
        raise Invalid("This Idempotency-Key came with another body before: use a new key for a new request.")
    send = session.get_one(SendRow, first.answer["sendId"])
    messages = session.scalars(
        select(MessageRow).where(col(MessageRow.send_id) == send.id).order_by(col(MessageRow.position))
    )
    return first_answer(to_send(send), [to_recipient(row) for row in messages], fast=send.fast)


# ---------------------------------------------------------------- telling


def _get(session: Session, business_id: str, send_id: str) -> SendRow:
    row = session.get(SendRow, send_id)
    if row is None or row.business_id != business_id:
        raise NotFound("send", send_id)
    return row


def _fetch(session: Session, business_id: str, send_id: str) -> Send:
    row = _get(session, business_id, send_id)
    counts = session.execute(
        select(col(MessageRow.status), func.count())
        .where(col(MessageRow.send_id) == send_id)
        .group_by(col(MessageRow.status))
    )
    return to_send(row, {MessageStatus(status): count for status, count in counts})


def _list(session: Session, business_id: str, page: Page) -> tuple[list[Send], int]:
    ours = col(SendRow.business_id) == business_id
    total = session.execute(select(func.count()).select_from(SendRow).where(ours)).scalar_one()
    newest = (
        select(SendRow)
        .where(ours)
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
