"""Work that is held: listed, resumed, cancelled. After a restore it is all that was unfinished; after a business has
gone to another number, what was queued for the old one. Resumed, it goes over the number that the business has now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Executable, RowMapping, ScalarSelect, Select, case, func, select, update
from sqlmodel import Session, col

from boton.domain.chats import AnswerDecision
from boton.domain.holds import RESTORED, SWITCHED, Held, HeldKind
from boton.domain.messages import MessageStatus
from boton.domain.sends import SendStatus
from boton.errors import Conflict
from boton.ports import Page
from boton.store.columns import UtcDateTime
from boton.store.ending import SETTLED_AT_ONCE, cancel_some, lock_sends, resume
from boton.store.engine import Database
from boton.store.meta import RESTORED_KEY
from boton.store.numbers import fetch_active
from boton.store.reminders import SqlReminderStore
from boton.store.retiring import move_some
from boton.store.sends import SqlSendStore
from boton.store.steps import lock_ahead
from boton.store.tables import SUSPENDED, UNFINISHED, ChatRow, ConnectionRow, MessageRow, MetaRow, ReminderRow, SendRow

_Rows = Select[*tuple[Any, ...]]

_AT_ONCE = 500
_OVERDUE = timedelta(minutes=1)
"""What is resumed counts as overdue, so that the sweeper starts it in its next round."""


class SqlHoldStore:
    def __init__(self, database: Database) -> None:
        self._db = database
        self._reminders = SqlReminderStore(database)
        self._sends = SqlSendStore(database)

    async def list_held(self, business_id: str | None = None) -> Sequence[Held]:
        """Of one business or all: sends, reminders, chats, each oldest first."""
        return await self._db.read(lambda session: _list(session, business_id))

    async def page_held(self, business_id: str, page: Page) -> tuple[Sequence[Held], int]:
        return await self._db.read(lambda session: _page(session, business_id, page))

    async def fetch_backup_time(self) -> datetime | None:
        """When the backup was made that this store was restored from; None: it never was."""
        value = await self._db.read(_fetch_mark)
        return None if value is None else datetime.fromisoformat(value)

    async def resume(self, held: Sequence[Held], now: datetime) -> None:
        """All of it is due again, over the business's number; what is too late by now expires by its own rule. Raises
        Conflict where a business has no number.
        """
        await self._db.read(lambda session: _check_numbers(session, held))
        await self._change_sends(held, _AT_ONCE, partial(_resume_sends, now))
        await self._change(held, HeldKind.REMINDER, partial(_resume_reminders, now))
        await self._change(held, HeldKind.CHAT, partial(_resume_answers, now))

    async def cancel(self, held: Sequence[Held], now: datetime) -> None:
        """None of it is ever sent, nor answered, but for what has ended since it was listed."""
        await self._change_sends(held, SETTLED_AT_ONCE, partial(_cancel_sends, now))
        for reminder in _of_kind(held, HeldKind.REMINDER):
            with suppress(Conflict):
                await self._cancel_reminder(reminder, now)
        await self._change(held, HeldKind.CHAT, partial(_decide, AnswerDecision.RESTORED))

    async def _cancel_reminder(self, held: Held, now: datetime) -> None:
        """With what it has fired and has not left yet."""
        cancelled = await self._reminders.cancel_reminder(held.business_id, held.id, now)
        for send_id in cancelled.queued_sends:
            await self._sends.cancel_send(held.business_id, send_id, now)

    async def _change_sends(
        self, held: Sequence[Held], most: int, change: Callable[[Sequence[str], Session], bool]
    ) -> None:
        """Those with `most` messages in each transaction, likewise; a larger one again and again while there is more
        of it, as `change` says.
        """
        for ids in _in_pieces(_of_kind(held, HeldKind.SEND), most):
            while await self._db.write(partial(change, ids)):
                pass

    async def _change(
        self, held: Sequence[Held], kind: HeldKind, change: Callable[[Sequence[str], Session], None]
    ) -> None:
        """Some in each transaction, so that other writers need not wait for all of it."""
        ids = [one.id for one in _of_kind(held, kind)]
        for start in range(0, len(ids), _AT_ONCE):
            await self._db.write(partial(change, ids[start : start + _AT_ONCE]))


def _of_kind(held: Sequence[Held], kind: HeldKind) -> list[Held]:
    return [one for one in held if one.kind is kind]


def _in_pieces(sends: Sequence[Held], most: int) -> list[list[str]]:
    """Their ids, piece by piece: of one business each, and of `most` messages, unless it is a single send."""
    pieces: list[list[str]] = []
    business_id, room = "", 0
    for send in sorted(sends, key=lambda one: (one.business_id, one.id)):
        size = max(send.messages, 1)
        if send.business_id != business_id or size > room:
            pieces.append([])
            business_id, room = send.business_id, most
        pieces[-1].append(send.id)
        room -= size
    return pieces


# ---------------------------------------------------------------- listing


def _fetch_mark(session: Session) -> str | None:
    return session.scalars(select(col(MetaRow.value)).where(col(MetaRow.key) == RESTORED_KEY)).one_or_none()


def _list(session: Session, business_id: str | None) -> list[Held]:
    kinds = _of(business_id).items()
    return [_to_held(kind, row) for kind, rows in kinds for row in session.execute(rows).mappings()]


def _page(session: Session, business_id: str, page: Page) -> tuple[list[Held], int]:
    """The kinds stand one after another: each gives the part of the page that it reaches into."""
    first, found, total = page.page * page.page_size, list[Held](), 0
    for kind, rows in _of(business_id).items():
        count = session.execute(select(func.count()).select_from(rows.order_by(None).subquery())).scalar_one()
        missing, before = page.page_size - len(found), max(0, first - total)
        if missing and before < count:
            found += [_to_held(kind, row) for row in session.execute(rows.limit(missing).offset(before)).mappings()]
        total += count
    return found, total


def _of(business_id: str | None) -> dict[HeldKind, _Rows]:
    """What is held of each kind, in the order in which it is told."""
    selects = {HeldKind.SEND: _sends(), HeldKind.REMINDER: _reminders(), HeldKind.CHAT: _chats()}
    if business_id is None:
        return selects
    owners = (col(SendRow.business_id), col(ReminderRow.business_id), col(MessageRow.business_id))
    return {kind: selects[kind].where(owner == business_id) for kind, owner in zip(selects, owners, strict=True)}


def _sends() -> _Rows:
    queued = (
        select(func.count())
        .where(col(MessageRow.send_id) == col(SendRow.id), col(MessageRow.status) == MessageStatus.QUEUED.value)
        .scalar_subquery()
    )
    return (
        select(
            col(SendRow.id),
            col(SendRow.business_id),
            col(SendRow.hold).label("reason"),
            col(SendRow.created_at).label("since"),
            queued.label("messages"),
        )
        .where(UNFINISHED, col(SendRow.hold).is_not(None))
        .order_by(col(SendRow.id))
    )


def _reminders() -> _Rows:
    return (
        select(
            col(ReminderRow.id),
            col(ReminderRow.business_id),
            col(ReminderRow.hold).label("reason"),
            col(ReminderRow.created_at).label("since"),
        )
        .where(col(ReminderRow.hold).is_not(None))
        .order_by(col(ReminderRow.id))
    )


def _chats() -> _Rows:
    """A chat with messages that came over several numbers counts as held for the older reason."""
    reason = case((col(ConnectionRow.active), RESTORED), else_=SWITCHED)
    return (
        select(
            col(MessageRow.chat_id).label("id"),
            col(MessageRow.business_id),
            func.min(reason).label("reason"),
            func.min(col(MessageRow.created_at), type_=UtcDateTime).label("since"),
            func.count().label("messages"),
        )
        .join(ConnectionRow, col(ConnectionRow.id) == col(MessageRow.connection_id))
        .where(SUSPENDED)
        .group_by(col(MessageRow.chat_id), col(MessageRow.business_id))
        .order_by(col(MessageRow.chat_id))
    )


def _to_held(kind: HeldKind, row: RowMapping) -> Held:
    return Held(
        kind=kind,
        id=row["id"],
        business_id=row["business_id"],
        reason=row["reason"],
        since=row["since"],
        messages=row.get("messages", 1),
    )


# ---------------------------------------------------------------- deciding


def _check_numbers(session: Session, held: Sequence[Held]) -> None:
    """Raises Conflict where a business has no number over which anything could go."""
    for business_id in sorted({one.business_id for one in held}):
        fetch_active(session, business_id)


def _resume_sends(now: datetime, ids: Sequence[str], session: Session) -> bool:
    """Whether there is more to be moved before these of one business go on. Those that are held no more stay as they
    are. Also what is scheduled for later starts now, and waits for its time in its workflow.
    """
    held = lock_sends(session, col(SendRow.id).in_(ids) & UNFINISHED & col(SendRow.hold).is_not(None))
    if move_some(session, held):
        return True
    for send in held:
        resume(send, now)
        send.next_step_at = now - _OVERDUE
    return False


def _cancel_sends(now: datetime, ids: Sequence[str], session: Session) -> bool:
    """Also those that were resumed since they were listed."""
    unfinished = col(SendRow.status) != SendStatus.FINISHED.value
    return cancel_some(session, lock_sends(session, col(SendRow.id).in_(ids) & unfinished), now)


def _resume_reminders(now: datetime, ids: Sequence[str], session: Session) -> None:
    """Each of them looks by itself when it fires next, and whether that is too late."""
    held = (col(ReminderRow.id).in_(ids), col(ReminderRow.hold).is_not(None))
    number = func.coalesce(_number_of(ReminderRow), col(ReminderRow.connection_id))
    values = {"hold": None, "next_step_at": now - _OVERDUE, "connection_id": number}
    _run(session, update(ReminderRow).where(*held).values(values))


def _number_of(row: type[ReminderRow]) -> ScalarSelect[str]:
    """The connection that its business has now."""
    ours = (col(ConnectionRow.business_id) == col(row.business_id), col(ConnectionRow.active))
    return select(func.min(col(ConnectionRow.id))).where(*ours).scalar_subquery()


def _resume_answers(now: datetime, ids: Sequence[str], session: Session) -> None:
    _decide(AnswerDecision.DUE, ids, session)
    _run(session, update(ChatRow).where(col(ChatRow.id).in_(ids)).values(next_step_at=now - _OVERDUE))


def _decide(answer: AnswerDecision, ids: Sequence[str], session: Session) -> None:
    """The chats first: whoever changes a message of a chat has locked the chat before."""
    lock_ahead(session, col(ChatRow.id).in_(ids))
    _run(session, update(MessageRow).where(SUSPENDED, col(MessageRow.chat_id).in_(ids)).values(answer=answer.value))


def _run(session: Session, statement: Executable) -> None:
    session.execute(statement.execution_options(synchronize_session=False))
