"""Small beginnings for store tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from boton.domain.businesses import Business
from boton.domain.connections import Connection, Gateway
from boton.domain.sends import NewRecipient, NewSend, SendCategory, SendKind
from boton.ids import Prefix, new_id
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database
from boton.store.tables import MessageRow

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)

_phones = count(5491138620812)


def at(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def jid_of(number: str) -> str:
    return f"{number}@s.whatsapp.net"


async def a_business(database: Database, *, bot_new_chats: bool = False) -> tuple[Business, Connection]:
    business = await SqlBusinessStore(database).create_business("Mi Negocio", bot_new_chats=bot_new_chats, now=NOW)
    phone = str(next(_phones))
    connection = await SqlConnectionStore(database).create_connection(business.id, Gateway.SIMULATOR, phone, NOW)
    return business, connection


def a_send(business: Business, numbers: Sequence[str], **changes: object) -> NewSend:
    recipients = tuple(NewRecipient(to=number, jid=jid_of(number), text=f"hola {number}") for number in numbers)
    values: dict[str, object] = {
        "business_id": business.id,
        "kind": SendKind.MESSAGE,
        "category": SendCategory.TRANSACTIONAL,
        "recipients": recipients,
        "rejected": (),
        "accepted_at": NOW,
    }
    return NewSend(**{**values, **changes})  # type: ignore[arg-type]


async def some_messages(
    database: Database, connection: Connection, jid: str, moments: Sequence[datetime], **changes: object
) -> list[str]:
    """Incoming messages of a chat that is there already; their ids."""
    chat = await SqlChatStore(database).fetch_chat(connection.business_id, jid)
    ids = [new_id(Prefix.MESSAGE) for _ in moments]
    values: dict[str, object] = {
        "business_id": connection.business_id,
        "connection_id": connection.id,
        "chat_id": chat.id,
        "direction": "incoming",
        "kind": "incoming",
        "sender": "customer",
        "status": "received",
        "created_at": NOW,
        "jid": chat.jid,
    }
    rows = [
        {**values, "id": id, "at": moment, "text": f"mensaje {number}", **changes}
        for number, (id, moment) in enumerate(zip(ids, moments, strict=True))
    ]
    await database.write(lambda session: session.add_all([MessageRow(**row) for row in rows]))
    return ids
