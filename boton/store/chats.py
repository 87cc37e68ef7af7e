"""Chats: listed by their newest activity, found by any JID, changed by PATCH."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, select
from sqlmodel import Session, col

from boton.domain.chats import Chat, ChatChange
from boton.domain.events import EventType, NewEvent
from boton.domain.jid import parse_jid
from boton.domain.messages import Message
from boton.errors import NotFound
from boton.ports import Page
from boton.store.aliases import ensure_chats, find_chat_id
from boton.store.contacts import wake_sends_to
from boton.store.engine import Database
from boton.store.events import append_events
from boton.store.messages import list_messages
from boton.store.rows import to_chat
from boton.store.steps import lock_chat
from boton.store.tables import ChatRow, TallyRow
from boton.store.takeovers import take_over
from boton.store.tally import change_tally

__all__ = ["SqlChatStore", "ensure_chats", "find_chat_id", "opted_out_event", "set_flags"]

_NEWEST = (col(ChatRow.active_at).desc(), col(ChatRow.id).desc())


class SqlChatStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def list_chats(self, business_id: str, page: Page) -> tuple[Sequence[Chat], int]:
        return await self._db.read(lambda session: _list(session, business_id, page))

    async def fetch_chat(self, business_id: str, jid: str) -> Chat:
        return await self._db.read(lambda session: to_chat(_find(session, business_id, jid)))

    async def change_chat(self, business_id: str, jid: str, change: ChatChange, now: datetime) -> Chat:
        wanted = str(parse_jid(jid))
        return await self._db.write(lambda session: _change(session, business_id, wanted, change, now))

    async def take_over(self, business_id: str, jid: str, now: datetime) -> Chat:
        return await self._db.write(lambda session: _take_over(session, business_id, jid, now))

    async def list_messages(
        self, business_id: str, jid: str, *, limit: int, before: str | None = None, after: str | None = None
    ) -> tuple[str, Sequence[Message], bool]:
        return await self._db.read(lambda session: _list_messages(session, business_id, jid, limit, before, after))


def set_flags(
    session: Session,
    chat: ChatRow,
    *,
    bot_enabled: bool | None = None,
    untouchable: bool | None = None,
    opted_out: bool | None = None,
) -> None:
    """Changes flags of a locked chat, and the business's counts with them; None leaves as it is."""
    was_active, was_untouchable = _is_active(chat), chat.untouchable
    if bot_enabled is not None:
        chat.bot_enabled, chat.bot_decided = bot_enabled, True
    if untouchable is not None:
        chat.untouchable = untouchable
    if opted_out is not None:
        chat.opted_out = opted_out
    active, untouched = _is_active(chat) - was_active, chat.untouchable - was_untouchable
    if active or untouched:
        change_tally(session, chat.business_id, active=active, untouchable=untouched)


def hand_back(chat: ChatRow) -> None:
    """No human holds this locked chat any more."""
    chat.taken_over_at = chat.takeover_until = None
    chat.handed_off_at = chat.handed_off_reason = None


def _is_active(chat: ChatRow) -> bool:
    return chat.bot_enabled and not chat.untouchable


def _list(session: Session, business_id: str, page: Page) -> tuple[list[Chat], int]:
    ids = newest_ids(business_id, page).subquery()
    rows = session.scalars(select(ChatRow).join(ids, ids.c.id == col(ChatRow.id)).order_by(*_NEWEST))
    tally = session.get(TallyRow, business_id)
    return [to_chat(row) for row in rows], tally.chats if tally else 0


def newest_ids(business_id: str, page: Page) -> Select[str]:
    """The page's ids, read from the index alone: a deep page costs no visits to the rows before it."""
    ours = select(col(ChatRow.id)).where(col(ChatRow.business_id) == business_id)
    return ours.order_by(*_NEWEST).limit(page.page_size).offset(page.page * page.page_size)


def _find(session: Session, business_id: str, jid: str) -> ChatRow:
    chat_id = find_chat_id(session, business_id, (jid,))
    row = session.get(ChatRow, chat_id) if chat_id else None
    if row is None:
        raise NotFound("chat", jid)
    return row


def _change(session: Session, business_id: str, jid: str, change: ChatChange, now: datetime) -> Chat:
    chat_id = ensure_chats(session, business_id, [jid], now)[jid]
    if change.known:
        wake_sends_to(session, [chat_id], now)
    chat = lock_chat(session, chat_id)
    opts_out = change.opted_out is True and not chat.opted_out
    set_flags(session, chat, bot_enabled=change.bot_enabled, untouchable=change.untouchable, opted_out=change.opted_out)
    if change.bot_enabled is not None:
        chat.bot_switched_at = now
    if change.bot_enabled:
        hand_back(chat)
    if change.known is not None:
        chat.known = change.known
    if change.name is not None:
        chat.name, chat.name_is_ours = change.name, True
    session.flush()
    if opts_out:
        append_events(session, [opted_out_event(chat, now)])
    return to_chat(chat)


def _take_over(session: Session, business_id: str, jid: str, now: datetime) -> Chat:
    """One that the bot has left to a human is theirs for longer, and stays so."""
    chat = lock_chat(session, _find(session, business_id, jid).id)
    events = take_over(session, chat, now, now) if chat.handed_off_at is None else []
    session.flush()
    append_events(session, events)
    return to_chat(chat)


def opted_out_event(chat: ChatRow, now: datetime) -> NewEvent:
    return NewEvent(business_id=chat.business_id, type=EventType.CHAT_OPTED_OUT, at=now, data={"jid": chat.jid})


def _list_messages(
    session: Session, business_id: str, jid: str, limit: int, before: str | None, after: str | None
) -> tuple[str, list[Message], bool]:
    chat = _find(session, business_id, jid)
    messages, more = list_messages(session, chat.id, limit=limit, before=before, after=after)
    return chat.jid, messages, more
