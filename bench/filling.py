"""A store with very many chats and messages, written straight into its tables before anything runs on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, func, insert, literal, select, update

from boton.domain.connections import ConnectionStatus, Gateway
from boton.domain.messages import Direction, MessageKind, MessageStatus, MessageType, Sender
from boton.ids import Prefix, new_id
from boton.store.bulk import to_bulk
from boton.store.businesses import SqlBusinessStore
from boton.store.engine import open_database
from boton.store.inserts import table_of
from boton.store.migrate import migrate
from boton.store.tables import AliasRow, ChatRow, ConnectionRow, MessageRow, TallyRow

_AT_ONCE = 5000
_FIRST_NUMBER = 14155550000
_TEXT = "Hola, ¿tienen turno mañana a las 15?"


def fill_store(data_dir: Path, chats: int, messages_each: int) -> str:
    """A new store in that folder with one business that has so much; a token of that business."""
    data_dir.mkdir(mode=0o700)
    url = f"sqlite:///{data_dir / 'boton.db'}"
    migrate(url)
    business_id, token = asyncio.run(_create_business(url))
    engine = create_engine(url)
    with engine.begin() as connection:
        _fill(connection, business_id, chats, messages_each, datetime.now(UTC))
    engine.dispose()
    return token


async def _create_business(url: str) -> tuple[str, str]:
    """Its id, and a token of it."""
    database, now = open_database(url), datetime.now(UTC)
    try:
        businesses = SqlBusinessStore(database)
        business = await businesses.create_business("Bench", bot_new_chats=False, now=now)
        return business.id, (await businesses.create_token(business.id, "bench", now)).secret
    finally:
        await database.close()


def _fill(connection: Connection, business_id: str, chats: int, messages_each: int, now: datetime) -> None:
    connection_id = new_id(Prefix.CONNECTION)
    connection.execute(insert(table_of(ConnectionRow)), _connection(connection_id, business_id, now))
    rows = list(_chats(business_id, chats, messages_each, now))
    for start in range(0, chats, _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        for table in (table_of(ChatRow), table_of(AliasRow)):
            bulk = to_bulk(connection.dialect, insert(table), some if table.name == "chat" else _aliases(some))
            connection.exec_driver_sql(bulk.statement, list(bulk.rows))
    for number in range(messages_each):
        _write_messages(connection, connection_id, number)
    tally = table_of(TallyRow)
    connection.execute(update(tally).where(tally.c.business_id == business_id).values(chats=chats))


def _connection(id: str, business_id: str, now: datetime) -> dict[str, Any]:
    """Of earlier: no link holds it."""
    return {
        "id": id,
        "business_id": business_id,
        "gateway": Gateway.SIMULATOR.value,
        "phone": "5491150000999",
        "active": False,
        "status": ConnectionStatus.STOPPED.value,
        "status_at": now,
        "created_at": now,
    }


def _chats(business_id: str, count: int, messages_each: int, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(count):
        at = now - timedelta(minutes=count - number)
        yield {
            "id": new_id(Prefix.CHAT),
            "business_id": business_id,
            "jid": f"{_FIRST_NUMBER + number}@s.whatsapp.net",
            "name": f"Customer {number}",
            "known": True,
            "message_count": messages_each,
            "last_text": _TEXT,
            "last_direction": Direction.INCOMING.value,
            "last_at": at,
            "active_at": at,
            "created_at": at,
        }


def _aliases(chats: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"business_id": chat["business_id"], "jid": chat["jid"], "chat_id": chat["id"]} for chat in chats]


def _write_messages(connection: Connection, connection_id: str, number: int) -> None:
    """One for each chat, made by the database out of the chats: a million rows would take Python minutes."""
    chat = table_of(ChatRow)
    columns = {
        "id": func.replace(chat.c.id, Prefix.CHAT.value, Prefix.MESSAGE.value).concat(f"-{number}"),
        "business_id": chat.c.business_id,
        "connection_id": literal(connection_id),
        "chat_id": chat.c.id,
        "direction": literal(Direction.INCOMING.value),
        "kind": literal(MessageKind.INCOMING.value),
        "type": literal(MessageType.TEXT.value),
        "sender": literal(Sender.CUSTOMER.value),
        "text": literal(_TEXT),
        "status": literal(MessageStatus.RECEIVED.value),
        "at": chat.c.active_at,
        "created_at": chat.c.active_at,
        "jid": chat.c.jid,
        "refusals": literal(0),
    }
    rows = select(*columns.values())
    connection.execute(insert(table_of(MessageRow)).from_select(list(columns), rows, include_defaults=False))
