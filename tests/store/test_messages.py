from datetime import datetime

import pytest

from boton.domain.chats import ChatChange
from boton.domain.connections import Connection
from boton.domain.sends import SendKind
from boton.errors import NotFound
from boton.store.chats import SqlChatStore
from boton.store.engine import Database
from boton.store.sends import SqlSendStore
from tests.store.builders import NOW, a_business, a_send, at, jid_of, some_messages

JUAN = jid_of("5491112345678")


async def _a_chat(database: Database, moments: list[datetime]) -> tuple[Connection, list[str]]:
    business, connection = await a_business(database)
    await SqlChatStore(database).change_chat(business.id, JUAN, ChatChange(), NOW)
    return connection, await some_messages(database, connection, JUAN, moments)


async def _list(database: Database, connection: Connection, limit: int, **window: str) -> tuple[list[str], bool]:
    chats = SqlChatStore(database)
    jid, messages, more = await chats.list_messages(connection.business_id, JUAN, limit=limit, **window)  # type: ignore[arg-type]
    assert jid == JUAN
    return [one.id for one in messages], more


async def test_newest_messages_come_oldest_first(database: Database) -> None:
    connection, ids = await _a_chat(database, [at(second) for second in range(5)])
    assert await _list(database, connection, 3) == (ids[2:], True)
    assert await _list(database, connection, 5) == (ids, False)


async def test_order_is_that_of_writing_not_of_storing(database: Database) -> None:
    connection, ids = await _a_chat(database, [at(9), at(1), at(5)])
    assert await _list(database, connection, 10) == ([ids[1], ids[2], ids[0]], False)


async def test_messages_of_one_moment_are_neither_lost_nor_repeated_between_pages(database: Database) -> None:
    connection, ids = await _a_chat(database, [NOW] * 7)
    seen: list[str] = []
    page, more = await _list(database, connection, 2)
    while True:
        seen = page + seen
        if not more:
            break
        page, more = await _list(database, connection, 2, before=page[0])
    assert seen == ids


async def test_before_and_after_leave_out_the_message_itself(database: Database) -> None:
    connection, ids = await _a_chat(database, [at(second) for second in range(6)])
    assert await _list(database, connection, 2, before=ids[3]) == (ids[1:3], True)
    assert await _list(database, connection, 2, before=ids[2]) == (ids[:2], False)
    assert await _list(database, connection, 9, after=ids[3]) == (ids[4:], False)
    assert await _list(database, connection, 9, after=ids[1], before=ids[4]) == (ids[2:4], False)
    assert await _list(database, connection, 2, after=ids[1]) == (ids[4:], True)


async def test_message_of_another_chat_is_no_place_in_this_one(database: Database) -> None:
    connection, _ = await _a_chat(database, [NOW])
    ana = jid_of("5491187654321")
    await SqlChatStore(database).change_chat(connection.business_id, ana, ChatChange(), NOW)
    (foreign,) = await some_messages(database, connection, ana, [NOW])
    for unknown in (foreign, "msg_0"):
        with pytest.raises(NotFound, match=unknown):
            await _list(database, connection, 5, before=unknown)


async def test_opening_that_nobody_has_written_yet_is_not_listed(database: Database) -> None:
    connection, ids = await _a_chat(database, [NOW])
    business, _ = await a_business(database)
    new = a_send(business, ["5491112345678"], business_id=connection.business_id, kind=SendKind.INSTRUCTION)
    await SqlSendStore(database).accept_send(new)
    assert await _list(database, connection, 5) == (ids, False)


async def test_another_business_sees_no_chat(database: Database) -> None:
    await _a_chat(database, [NOW])
    other, _ = await a_business(database)
    with pytest.raises(NotFound):
        await SqlChatStore(database).list_messages(other.id, JUAN, limit=5)
