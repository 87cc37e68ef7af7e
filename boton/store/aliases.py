"""Which chat a JID leads to. Every spelling under which a customer may appear is an alias of one chat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, delete, select, update
from sqlmodel import Session, col

from boton.domain.jid import parse_jid, spellings
from boton.errors import InvalidRecipient
from boton.ids import Prefix, new_id
from boton.store.asking import ask
from boton.store.bulk import insert_rows
from boton.store.inserts import insert_into, insert_or_ignore
from boton.store.tables import AliasRow, ChatRow
from boton.store.tally import change_tally

_AT_ONCE = 500


_CHAT_IDS = select(col(AliasRow.jid), col(AliasRow.chat_id)).where(
    col(AliasRow.business_id) == bindparam("business_id"), col(AliasRow.jid).in_(bindparam("jids", expanding=True))
)


def find_chat_id(session: Session, business_id: str, jids: Iterable[str]) -> str | None:
    """The chat to which one of these JIDs of one customer leads, the first ones preferred."""
    names = [name for jid in jids for name in spell(jid)]
    known = _find(session, business_id, names)
    return next((known[name] for name in names if name in known), None)


def select_with_chats(*columns: Any) -> Select[Any]:
    """A statement for `find_with_chats`: these columns of a chat behind the alias. To be built once."""
    return (
        select(col(AliasRow.jid), *columns)
        .join(ChatRow, col(ChatRow.id) == col(AliasRow.chat_id))
        .where(
            col(AliasRow.business_id) == bindparam("business_id"),
            col(AliasRow.jid).in_(bindparam("jids", expanding=True)),
        )
    )


def find_with_chats(
    session: Session, statement: Select[Any], business_id: str, jids: Iterable[str]
) -> dict[str, tuple[Any, ...]]:
    """Columns of the chats to which these JIDs lead, by JID; those that lead to none are left out."""
    spelled = {jid: spell(jid) for jid in jids}
    known = find_names(session, statement, business_id, sorted({name for names in spelled.values() for name in names}))
    found = {jid: next((known[name] for name in names if name in known), None) for jid, names in spelled.items()}
    return {jid: values for jid, values in found.items() if values is not None}


def find_names(
    session: Session, statement: Select[Any], business_id: str, names: Sequence[str]
) -> dict[str, tuple[Any, ...]]:
    """The same for names as they are spelled, by name."""
    known: dict[str, tuple[Any, ...]] = {}
    for some in _pieces(names):
        rows = ask(session, statement, business_id=business_id, jids=some)
        known.update((row[0], tuple(row[1:])) for row in rows)
    return known


def ensure_chats(session: Session, business_id: str, jids: Iterable[str], now: datetime) -> dict[str, str]:
    """The id of each JID's chat, which is created where there is none. Of two concurrent creators one wins.

    A bulk is to be given in pieces of at most 500, each in a transaction of its own.
    """
    spelled = {jid: spell(jid) for jid in jids}
    known = _find(session, business_id, [name for names in spelled.values() for name in names])
    missing: dict[str, str] = {}
    created: dict[str, str] = {}
    for names in spelled.values():
        chat_id = next((known[name] for name in names if name in known), None)
        if chat_id is None:
            chat_id = new_id(Prefix.CHAT)
            created[chat_id] = names[0]
        added = {name: chat_id for name in names if name not in known}
        missing.update(added)
        known.update(added)
    if missing:
        known.update(_create(session, business_id, created, missing, now))
    return {jid: known[names[0]] for jid, names in spelled.items()}


def add_aliases(session: Session, business_id: str, chat_ids: dict[str, str]) -> None:
    """Lets names lead to chats, unless they lead to one already. In the order of the names, so that two concurrent
    creators wait for each other instead of dead-locking.
    """
    rows = [{"business_id": business_id, "jid": name, "chat_id": id} for name, id in sorted(chat_ids.items())]
    if rows:
        insert_rows(session, insert_or_ignore(session.get_bind().dialect, AliasRow), rows)


def spell(jid: str) -> tuple[str, ...]:
    """Every spelling of a JID, its own first: each is an alias. WhatsApp's own services write from numbers that are no
    phone numbers: those have one.
    """
    try:
        return tuple(str(spelling) for spelling in spellings(parse_jid(jid)))
    except InvalidRecipient:
        return (jid,)


def _find(session: Session, business_id: str, names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for some in _pieces(names):
        rows = ask(session, _CHAT_IDS, business_id=business_id, jids=some)
        found.update((name, chat_id) for name, chat_id in rows)
    return found


def _pieces(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]


def _create(
    session: Session, business_id: str, created: dict[str, str], missing: dict[str, str], now: datetime
) -> dict[str, str]:
    """Inserts chats and aliases; the chats to which these aliases lead in the end, after a lost race too."""
    if created:
        _insert_chats(session, business_id, created, now)
    add_aliases(session, business_id, missing)
    stored = _find(session, business_id, list(missing))
    winners = {missing[name]: stored[name] for name in missing if stored[name] != missing[name]}
    lost = {chat_id: winner for chat_id, winner in winners.items() if chat_id in created}
    for chat_id, winner in lost.items():
        _give_way(session, chat_id, winner)
    change_tally(session, business_id, chats=len(created) - len(lost))
    return {name: lost.get(chat_id, chat_id) for name, chat_id in stored.items()}


def _insert_chats(session: Session, business_id: str, jids: dict[str, str], now: datetime) -> None:
    always = {"business_id": business_id, "active_at": now, "created_at": now}
    rows = [{"id": chat_id, "jid": jid, **always} for chat_id, jid in jids.items()]
    insert_rows(session, insert_into(ChatRow), rows)


def _give_way(session: Session, chat_id: str, winner: str) -> None:
    """Somebody else has just created this customer's chat: ours, which nobody has seen, goes."""
    session.execute(update(AliasRow).where(col(AliasRow.chat_id) == chat_id).values(chat_id=winner))
    session.execute(delete(ChatRow).where(col(ChatRow.id) == chat_id))
