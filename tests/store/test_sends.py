import asyncio
from datetime import datetime
from typing import TypeVar

import pytest
from sqlalchemy import select, update
from sqlmodel import Session, col

from boton.domain.chats import ChatChange
from boton.domain.messages import Lane, MessageError, MessageStatus
from boton.domain.sends import NewRecipient, Rejected, SendCategory, SendKind, SendStatus
from boton.errors import Conflict, Invalid, NotFound
from boton.ports import IdempotencyKey, Page
from boton.store.aliases import ensure_chats
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.engine import Database, Work, open_database
from boton.store.sends import SqlSendStore
from boton.store.steps import lock_chat
from boton.store.tables import ChatRow, ConnectionRow, ConversationRow, MessageRow, SendRow
from tests.store.builders import NOW, a_business, a_send, at, jid_of

T = TypeVar("T")
NUMBERS = ["5491112345678", "5491198765432", "5215512345678"]
KEY = IdempotencyKey(key="k1", path="/api/v1/send", body_hash="a" * 64)


@pytest.fixture
def sends(database: Database) -> SqlSendStore:
    return SqlSendStore(database)


async def _messages(database: Database, send_id: str) -> list[MessageRow]:
    def read(session: Session) -> list[MessageRow]:
        rows = session.scalars(select(MessageRow).where(col(MessageRow.send_id) == send_id))
        return [MessageRow(**row.model_dump()) for row in rows]

    return sorted(await database.read(read), key=lambda row: row.position or 0)


async def _count(database: Database, table: type[SendRow] | type[MessageRow] | type[ChatRow]) -> int:
    return await database.read(lambda session: len(session.scalars(select(table)).all()))


async def test_accepted_send_is_answered_as_it_was_stored(database: Database, sends: SqlSendStore) -> None:
    business, connection = await a_business(database)
    rejected = (Rejected(to="12", error=MessageError(code="invalid_number", detail="not a phone number")),)
    accepted = await sends.accept_send(a_send(business, NUMBERS, rejected=rejected, respect_quiet_hours=True))
    send = accepted.send
    assert (send.connection_id, send.status, send.total, send.rejected) == (
        connection.id,
        SendStatus.QUEUED,
        3,
        rejected,
    )
    assert [(one.to, one.jid, one.status) for one in accepted.recipients] == [
        (number, jid_of(number), MessageStatus.QUEUED) for number in NUMBERS
    ]
    stored = await sends.fetch_send(business.id, send.id)
    assert stored.counts == {MessageStatus.QUEUED: 3}
    assert await sends.list_recipients(business.id, send.id, Page(page=0, page_size=9)) == (
        list(accepted.recipients),
        3,
    )


async def test_message_is_stored_ready_to_be_claimed(database: Database, sends: SqlSendStore) -> None:
    business, connection = await a_business(database)
    recipients = (NewRecipient(to="+54 9 11 1234-5678", jid=jid_of(NUMBERS[0]), text="hola", reference="A-1"),)
    new = a_send(business, [], recipients=recipients, expires_at=at(600))
    accepted = await sends.accept_send(new)
    (row,) = await _messages(database, accepted.send.id)
    chat = await SqlChatStore(database).fetch_chat(business.id, jid_of(NUMBERS[0]))
    expected = {
        "id": accepted.recipients[0].message_id,
        "business_id": business.id,
        "connection_id": connection.id,
        "chat_id": chat.id,
        "direction": "outgoing",
        "kind": "transactional",
        "type": "text",
        "sender": "api",
        "text": "hola",
        "status": "queued",
        "at": NOW,
        "created_at": NOW,
        "jid": jid_of(NUMBERS[0]),
        "position": 0,
        "recipient": "+54 9 11 1234-5678",
        "reference": "A-1",
        "expires_at": at(600),
        "sent_at": None,
        "answer": None,
    }
    assert expected.items() <= row.model_dump().items()


async def test_marketing_is_told_apart_by_its_kind(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    accepted = await sends.accept_send(a_send(business, NUMBERS[:1], category=SendCategory.MARKETING))
    assert [row.kind for row in await _messages(database, accepted.send.id)] == ["marketing"]


async def test_instruction_opens_one_conversation_for_each_recipient(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    recipients = tuple(
        NewRecipient(to=number, jid=jid_of(number), text=f"Ofrece turno a {number}", reference=number[-2:])
        for number in NUMBERS
    )
    accepted = await sends.accept_send(a_send(business, [], recipients=recipients, kind=SendKind.INSTRUCTION))
    messages = await _messages(database, accepted.send.id)
    rows = await database.read(
        lambda session: {row.id: row.model_dump() for row in session.scalars(select(ConversationRow))}
    )
    assert [(row.kind, row.sender, row.text) for row in messages] == [("opening", "bot", None)] * 3
    assert [one.conversation_id for one in accepted.recipients] == [row.conversation_id for row in messages]
    for message, recipient in zip(messages, recipients, strict=True):
        conversation = rows.pop(message.conversation_id or "")
        assert (conversation["instruction"], conversation["reference"]) == (recipient.text, recipient.reference)
        assert (conversation["chat_id"], conversation["status"]) == (message.chat_id, "opening")
        assert (conversation["send_id"], conversation["turns"]) == (accepted.send.id, 0)
    assert rows == {}


async def test_instruction_does_not_touch_the_chat_before_its_opening(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    await sends.accept_send(a_send(business, NUMBERS[:1], kind=SendKind.INSTRUCTION))
    chat = await SqlChatStore(database).fetch_chat(business.id, jid_of(NUMBERS[0]))
    assert (chat.bot_enabled, chat.conversation_id, chat.message_count, chat.last_message) == (False, None, 0, None)


async def test_recipients_who_are_one_chat_are_stored_once(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    await SqlChatStore(database).change_chat(business.id, jid_of("541112345678"), ChatChange(), NOW)
    numbers = ["5491198765432", "5491112345678", "541198765432", "541112345678", "5491198765432"]
    accepted = await sends.accept_send(a_send(business, numbers))
    assert [(one.to, one.jid) for one in accepted.recipients] == [
        ("5491198765432", jid_of("5491198765432")),
        ("5491112345678", jid_of("541112345678")),
    ]
    assert accepted.send.total == 2
    assert [row.position for row in await _messages(database, accepted.send.id)] == [0, 1]


@pytest.mark.parametrize(
    ("send_at", "status"),
    [(None, SendStatus.QUEUED), (at(3600), SendStatus.SCHEDULED), (at(-60), SendStatus.QUEUED)],
)
async def test_send_is_to_be_started_at_once_whenever_it_is_to_be_sent(
    database: Database, sends: SqlSendStore, send_at: datetime | None, status: SendStatus
) -> None:
    business, _ = await a_business(database)
    accepted = await sends.accept_send(a_send(business, NUMBERS, send_at=send_at))
    stored = await database.read(lambda session: session.get_one(SendRow, accepted.send.id).model_dump())
    assert accepted.send.status is status
    assert (stored["status"], stored["next_step_at"]) == (status.value, NOW)


async def _make_known(database: Database, business_id: str, jid: str) -> None:
    def make_known(session: Session) -> None:
        lock_chat(session, ensure_chats(session, business_id, [jid], NOW)[jid]).known = True

    await database.write(make_known)


@pytest.mark.parametrize(
    ("numbers", "changes", "lanes"),
    [
        (NUMBERS[:1], {}, "fast"),
        ([*NUMBERS[:1], "541112345678"], {}, "fast"),
        (NUMBERS[:2], {}, "fast slow"),
        (NUMBERS[1:2], {}, "slow"),
        (NUMBERS[:1], {"category": SendCategory.MARKETING}, "slow"),
        (NUMBERS[:1], {"kind": SendKind.INSTRUCTION}, "slow"),
        (NUMBERS[:2], {"reminder_id": "rem_1"}, "fast slow"),
    ],
)
async def test_only_transactional_messages_to_known_contacts_are_fast(
    database: Database, sends: SqlSendStore, numbers: list[str], changes: dict[str, object], lanes: str
) -> None:
    business, _ = await a_business(database)
    await _make_known(database, business.id, jid_of(NUMBERS[0]))
    accepted = await sends.accept_send(a_send(business, numbers, **changes))
    stored = await database.read(lambda session: session.get_one(SendRow, accepted.send.id).lanes)
    assert stored == " ".join(accepted.send.lanes) == lanes
    assert [row.lane for row in await _messages(database, accepted.send.id)] == lanes.split()


async def test_customer_whom_the_client_calls_known_is_known_from_then_on(
    database: Database, sends: SqlSendStore
) -> None:
    business, _ = await a_business(database)
    recipients = tuple(
        NewRecipient(to=number, jid=jid_of(number), text="hola", known=number == NUMBERS[1]) for number in NUMBERS
    )
    accepted = await sends.accept_send(a_send(business, [], recipients=recipients))
    assert [row.lane for row in await _messages(database, accepted.send.id)] == ["slow", "fast", "slow"]
    chats = SqlChatStore(database)
    assert [(await chats.fetch_chat(business.id, jid_of(number))).known for number in NUMBERS] == [False, True, False]
    later = await sends.accept_send(a_send(business, NUMBERS[1:2]))
    assert later.send.lanes == (Lane.FAST,)


async def test_contact_is_not_known_by_a_send_that_was_refused(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    await sends.accept_send(a_send(business, NUMBERS[:1]), idempotency=KEY)
    recipients = (NewRecipient(to=NUMBERS[1], jid=jid_of(NUMBERS[1]), text="hola", known=True),)
    other = IdempotencyKey(key=KEY.key, path=KEY.path, body_hash="b" * 64)
    with pytest.raises(Invalid):
        await sends.accept_send(a_send(business, [], recipients=recipients), idempotency=other)
    with pytest.raises(NotFound):
        await SqlChatStore(database).fetch_chat(business.id, jid_of(NUMBERS[1]))


@pytest.mark.parametrize(
    ("kind", "expected"), [(SendKind.MESSAGE, ("reminder", "api")), (SendKind.INSTRUCTION, ("opening", "bot"))]
)
async def test_what_a_reminder_sends_is_told_apart(
    database: Database, sends: SqlSendStore, kind: SendKind, expected: tuple[str, str]
) -> None:
    business, _ = await a_business(database)
    accepted = await sends.accept_send(a_send(business, NUMBERS[:1], kind=kind, reminder_id="rem_1", ttl_seconds=60))
    (row,) = await _messages(database, accepted.send.id)
    assert (row.kind, row.sender) == expected
    assert (await sends.fetch_send(business.id, accepted.send.id)).reminder_id == "rem_1"
    stored = await database.read(lambda session: session.get_one(SendRow, accepted.send.id).ttl_seconds)
    assert stored == 60
    assert await sends.list_sends(business.id, Page(page=0, page_size=5)) == ([], 0)


async def test_business_without_a_connection_cannot_send(database: Database, sends: SqlSendStore) -> None:
    business, connection = await a_business(database)
    await database.write(
        lambda session: session.execute(
            update(ConnectionRow).where(col(ConnectionRow.id) == connection.id).values(active=False)
        )
    )
    with pytest.raises(Conflict, match="connection"):
        await sends.accept_send(a_send(business, NUMBERS))
    assert await _count(database, SendRow) == await _count(database, ChatRow) == 0


async def test_send_goes_out_over_its_own_business_connection(database: Database, sends: SqlSendStore) -> None:
    await a_business(database)
    business, connection = await a_business(database)
    await a_business(database)
    assert (await sends.accept_send(a_send(business, NUMBERS))).send.connection_id == connection.id


# ---------------------------------------------------------------- the same key again


async def test_same_key_gives_the_first_answer_and_does_nothing(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    new = a_send(business, NUMBERS, send_at=at(3600))
    first = await sends.accept_send(new, idempotency=KEY)
    await database.write(
        lambda session: [
            session.execute(update(SendRow).values(status="finished", started_at=at(1), finished_at=at(2))),
            session.execute(update(MessageRow).values(status="failed", error_code="x", error_detail="y")),
            session.execute(update(ConnectionRow).values(active=False)),
        ]
    )
    assert await sends.find_accepted(business.id, KEY) == first
    assert (await _count(database, SendRow), await _count(database, MessageRow)) == (1, 3)


async def test_concurrent_twins_get_one_send(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    new = a_send(business, NUMBERS)
    answers = await asyncio.gather(*(sends.accept_send(new, idempotency=KEY) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert (await _count(database, SendRow), await _count(database, MessageRow)) == (1, 3)


async def test_same_key_with_another_body_is_refused(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    await sends.accept_send(a_send(business, NUMBERS), idempotency=KEY)
    other = IdempotencyKey(key=KEY.key, path=KEY.path, body_hash="b" * 64)
    with pytest.raises(Invalid, match="Idempotency-Key"):
        await sends.accept_send(a_send(business, NUMBERS[:1]), idempotency=other)
    assert await _count(database, SendRow) == 1


async def test_key_belongs_to_one_business(database: Database, sends: SqlSendStore) -> None:
    one, _ = await a_business(database)
    two, _ = await a_business(database)
    first = await sends.accept_send(a_send(one, NUMBERS), idempotency=KEY)
    second = await sends.accept_send(a_send(two, NUMBERS), idempotency=KEY)
    assert first.send.id != second.send.id


# ---------------------------------------------------------------- telling


async def test_counts_are_by_status(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    accepted = await sends.accept_send(a_send(business, NUMBERS))
    read = accepted.recipients[1].message_id
    await database.write(
        lambda session: session.execute(update(MessageRow).where(col(MessageRow.id) == read).values(status="read"))
    )
    stored = await sends.fetch_send(business.id, accepted.send.id)
    assert stored.counts == {MessageStatus.QUEUED: 2, MessageStatus.READ: 1}


async def test_recipient_tells_what_became_of_it(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    accepted = await sends.accept_send(a_send(business, NUMBERS[:1]))
    values = {"status": "failed", "error_code": "c", "error_detail": "d", "sent_at": at(1), "replied_at": at(2)}
    await database.write(lambda session: session.execute(update(MessageRow).values(**values)))
    ((recipient,), _) = await sends.list_recipients(business.id, accepted.send.id, Page(page=0, page_size=5))
    assert (recipient.status, recipient.error) == (MessageStatus.FAILED, MessageError(code="c", detail="d"))
    assert (recipient.sent_at, recipient.replied_at) == (at(1), at(2))


async def test_recipients_come_page_by_page_in_the_order_given(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    numbers = [f"54911{number:08d}" for number in range(1200, 0, -1)]
    accepted = await sends.accept_send(a_send(business, numbers))
    listed: list[str] = []
    for page in range(4):
        some, total = await sends.list_recipients(business.id, accepted.send.id, Page(page=page, page_size=400))
        assert total == 1200
        listed += [one.to for one in some]
    assert listed == [one.to for one in accepted.recipients] == numbers


async def test_page_beyond_every_integer_is_empty(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    accepted = await sends.accept_send(a_send(business, NUMBERS))
    farthest = Page(page=2**40, page_size=50)
    assert await sends.list_recipients(business.id, accepted.send.id, farthest) == ([], 3)
    assert await sends.list_sends(business.id, farthest) == ([], 1)
    assert await SqlChatStore(database).list_chats(business.id, farthest) == ([], 3)


async def test_newest_send_is_listed_first(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    other, _ = await a_business(database)
    await sends.accept_send(a_send(other, NUMBERS))
    ids = [
        (await sends.accept_send(a_send(business, NUMBERS[:1], accepted_at=at(second)))).send.id for second in (0, 2, 1)
    ]
    first, total = await sends.list_sends(business.id, Page(page=0, page_size=2))
    second, _ = await sends.list_sends(business.id, Page(page=1, page_size=2))
    assert [send.id for send in [*first, *second]] == [ids[1], ids[2], ids[0]]
    assert total == 3


async def test_another_business_sees_no_send(database: Database, sends: SqlSendStore) -> None:
    business, _ = await a_business(database)
    other, _ = await a_business(database)
    send_id = (await sends.accept_send(a_send(business, NUMBERS))).send.id
    for asked in (send_id, "snd_0"):
        with pytest.raises(NotFound):
            await sends.fetch_send(other.id, asked)
        with pytest.raises(NotFound):
            await sends.list_recipients(other.id, asked, Page(page=0, page_size=5))
    assert await sends.list_sends(other.id, Page(page=0, page_size=5)) == ([], 0)


async def test_bulk_lets_other_writers_in(sqlite_url: str) -> None:
    """A bulk holds SQLite's one write lock in many short pieces: another process gets its turn between them."""
    bulk, other = open_database(sqlite_url), open_database(sqlite_url)
    business, _ = await a_business(bulk)
    numbers = [f"54911{number:08d}" for number in range(4000)]
    written = 0

    class Interrupted(Database):
        def __init__(self) -> None: ...

        async def read(self, work: Work[T]) -> T:
            return await bulk.read(work)

        async def write(self, work: Work[T]) -> T:
            nonlocal written
            result = await bulk.write(work)
            await SqlBusinessStore(other).update_config(business.id, {"takeover_minutes": written})
            written += 1
            return result

    accepted = await SqlSendStore(Interrupted()).accept_send(a_send(business, numbers))
    assert (await SqlSendStore(other).fetch_send(business.id, accepted.send.id)).counts == {MessageStatus.QUEUED: 4000}
    assert (await SqlBusinessStore(other).fetch_tally(business.id)).chats == 4000
    assert written > 8
    await bulk.close()
    await other.close()
