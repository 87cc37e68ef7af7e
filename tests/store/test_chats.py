import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, func, select
from sqlmodel import Session

from boton.domain.businesses import Tally
from boton.domain.chats import Chat, ChatChange, Holder
from boton.domain.events import EventType
from boton.errors import InvalidRecipient, NotFound
from boton.ports import Page
from boton.store.aliases import add_aliases, ensure_chats, find_chat_id
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore, newest_ids, set_flags
from boton.store.engine import Database, driver_url, open_database
from boton.store.events import SqlEventStore
from boton.store.steps import lock_chat
from boton.store.tables import AliasRow, ChatRow
from tests.store.builders import NOW, a_business, at, jid_of

JUAN = jid_of("5491112345678")
JUAN_WITHOUT_9 = jid_of("541112345678")


@pytest.fixture
def chats(database: Database) -> SqlChatStore:
    return SqlChatStore(database)


async def _ensure(database: Database, business_id: str, jids: Sequence[str], now: datetime = NOW) -> dict[str, str]:
    return await database.write(lambda session: ensure_chats(session, business_id, jids, now))


async def _tally(database: Database, business_id: str) -> Tally:
    return await SqlBusinessStore(database).fetch_tally(business_id)


async def _rows(database: Database, table: type[ChatRow] | type[AliasRow]) -> int:
    return await database.read(lambda session: session.execute(select(func.count()).select_from(table)).scalar_one())


# ---------------------------------------------------------------- aliases


async def test_every_spelling_leads_to_one_chat(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    ids = await _ensure(database, business.id, [JUAN_WITHOUT_9, JUAN, jid_of("5215512345678"), jid_of("525512345678")])
    assert len(set(ids.values())) == 2
    assert ids[JUAN] == ids[JUAN_WITHOUT_9]
    for jid in (JUAN, JUAN_WITHOUT_9, "5491112345678@c.us", "5491112345678:7@s.whatsapp.net"):
        found = await chats.fetch_chat(business.id, jid)
        assert (found.id, found.jid) == (ids[JUAN], JUAN_WITHOUT_9)
    assert await _tally(database, business.id) == Tally(chats=2)


async def test_chat_that_is_there_is_found_again(database: Database) -> None:
    business, _ = await a_business(database)
    first = await _ensure(database, business.id, [JUAN])
    again = await _ensure(database, business.id, [jid_of("5491187654321"), JUAN_WITHOUT_9])
    assert again[JUAN_WITHOUT_9] == first[JUAN]
    assert await _tally(database, business.id) == Tally(chats=2)
    assert await _rows(database, ChatRow) == 2


async def test_lid_becomes_an_alias_of_the_phone_number(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    chat_id = (await _ensure(database, business.id, [JUAN]))[JUAN]
    await database.write(
        lambda session: add_aliases(session, business.id, dict.fromkeys(["1029384756@lid", JUAN], chat_id))
    )
    assert (await chats.fetch_chat(business.id, "1029384756@lid")).jid == JUAN
    assert (await _ensure(database, business.id, ["1029384756@lid"])) == {"1029384756@lid": chat_id}
    assert await _tally(database, business.id) == Tally(chats=1)


async def test_alias_keeps_leading_to_its_first_chat(database: Database) -> None:
    business, _ = await a_business(database)
    ids = await _ensure(database, business.id, [JUAN, "1029384756@lid"])
    await database.write(lambda session: add_aliases(session, business.id, {"1029384756@lid": ids[JUAN]}))
    found = await database.read(lambda session: find_chat_id(session, business.id, ["1029384756@lid", JUAN]))
    assert found == ids["1029384756@lid"]


async def test_number_of_a_service_of_whatsapp_has_a_chat_too(database: Database) -> None:
    business, _ = await a_business(database)
    ids = await _ensure(database, business.id, ["0@s.whatsapp.net"])
    assert await _ensure(database, business.id, ["0@s.whatsapp.net"]) == ids


async def test_customer_of_two_businesses_has_two_chats(database: Database, chats: SqlChatStore) -> None:
    one, _ = await a_business(database)
    two, _ = await a_business(database)
    first, second = await _ensure(database, one.id, [JUAN]), await _ensure(database, two.id, [JUAN])
    assert first != second
    third, _ = await a_business(database)
    with pytest.raises(NotFound):
        await chats.fetch_chat(third.id, JUAN)


async def test_concurrent_creators_get_one_chat(database: Database) -> None:
    business, _ = await a_business(database)
    spellings = [JUAN, JUAN_WITHOUT_9] * 10
    answers = await asyncio.gather(*(_ensure(database, business.id, [jid]) for jid in spellings))
    assert len({chat_id for answer in answers for chat_id in answer.values()}) == 1
    assert await _rows(database, ChatRow) == 1
    assert await _tally(database, business.id) == Tally(chats=1)


async def test_bulk_of_chats_takes_its_time_in_small_pieces(database: Database) -> None:
    business, _ = await a_business(database)
    jids = [jid_of(f"54911{number:08d}") for number in range(2000)]
    ids: dict[str, str] = {}
    for start in range(0, len(jids), 500):
        ids |= await _ensure(database, business.id, jids[start : start + 500])
    assert len(set(ids.values())) == await _rows(database, ChatRow) == 2000
    assert await _rows(database, AliasRow) == 4000
    assert await _tally(database, business.id) == Tally(chats=2000)


# ---------------------------------------------------------------- two connections


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = create_engine(driver_url(postgres_url))
    yield engine
    engine.dispose()


def _wait_for_a_waiter(url: str) -> None:
    deadline = time.monotonic() + 20
    with psycopg.connect(url, autocommit=True) as connection:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while connection.execute(waiting).fetchone() is None:
            assert time.monotonic() < deadline, "nobody waits for a lock"
            threading.Event().wait(0.01)


async def _business_id(url: str) -> str:
    database = open_database(url)
    business, _ = await a_business(database)
    await database.close()
    return business.id


@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_loser_of_a_race_takes_the_winners_chat(postgres_url: str, engine: Engine, ends: str) -> None:
    business_id = await _business_id(postgres_url)

    def create_slowly() -> dict[str, str]:
        with Session(engine) as session, session.begin():
            return ensure_chats(session, business_id, [JUAN_WITHOUT_9, jid_of("5491187654321")], NOW)

    with Session(engine) as first, ThreadPoolExecutor(1) as pool:
        ours = ensure_chats(first, business_id, [JUAN], NOW)[JUAN]
        theirs = pool.submit(create_slowly)
        _wait_for_a_waiter(postgres_url)
        first.commit() if ends == "commit" else first.rollback()
        chat_id = theirs.result(20)[JUAN_WITHOUT_9]
    assert (chat_id == ours) is (ends == "commit")
    with Session(engine) as session:
        assert session.execute(select(func.count()).select_from(ChatRow)).scalar_one() == 2
        assert set(session.scalars(select(AliasRow.chat_id))) == set(session.scalars(select(ChatRow.id)))
    database = open_database(postgres_url)
    assert await _tally(database, business_id) == Tally(chats=2)
    await database.close()


async def test_race_over_one_of_two_spellings_ends_with_one_chat(postgres_url: str, engine: Engine) -> None:
    business_id = await _business_id(postgres_url)

    def create_slowly() -> str:
        with Session(engine) as session, session.begin():
            return ensure_chats(session, business_id, [JUAN], NOW)[JUAN]

    with Session(engine) as first, ThreadPoolExecutor(1) as pool:
        lid_chat = ensure_chats(first, business_id, ["1029384756@lid"], NOW)["1029384756@lid"]
        first.add(AliasRow(business_id=business_id, jid=JUAN, chat_id=lid_chat))
        first.flush()
        theirs = pool.submit(create_slowly)
        _wait_for_a_waiter(postgres_url)
        first.commit()
        assert theirs.result(20) == lid_chat
    with Session(engine) as session:
        aliases = session.scalars(select(AliasRow)).all()
        assert {alias.jid: alias.chat_id for alias in aliases} == dict.fromkeys(
            ["1029384756@lid", JUAN, JUAN_WITHOUT_9], lid_chat
        )
        assert session.execute(select(func.count()).select_from(ChatRow)).scalar_one() == 1


async def test_tally_row_is_not_held_while_a_transaction_works(postgres_url: str, engine: Engine) -> None:
    """Else two transactions that create chats could only take turns, and dead-lock over the chats they change."""
    business_id = await _business_id(postgres_url)
    with Session(engine) as slow:
        ensure_chats(slow, business_id, [JUAN], NOW)
        with Session(engine) as quick, quick.begin():
            quick.connection().exec_driver_sql("SET LOCAL lock_timeout = '5s'")
            ensure_chats(quick, business_id, [jid_of("5491187654321")], NOW)
        slow.commit()
    database = open_database(postgres_url)
    assert await _tally(database, business_id) == Tally(chats=2)
    await database.close()


async def test_patch_waits_for_who_holds_the_chat(postgres_url: str, engine: Engine) -> None:
    business_id = await _business_id(postgres_url)
    database = open_database(postgres_url)
    chat_id = (await _ensure(database, business_id, [JUAN]))[JUAN]
    with Session(engine) as holder:
        chat = lock_chat(holder, chat_id)
        chat.takeover_until = at(3600)
        holder.flush()
        patch = asyncio.create_task(
            SqlChatStore(database).change_chat(business_id, JUAN, ChatChange(bot_enabled=True), NOW)
        )
        await asyncio.to_thread(_wait_for_a_waiter, postgres_url)
        assert not patch.done()
        holder.commit()
    assert (await patch).takeover_until is None
    await database.close()


# ---------------------------------------------------------------- PATCH


async def test_patch_of_an_unknown_customer_creates_the_chat(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database, bot_new_chats=True)
    chat = await chats.change_chat(business.id, JUAN, ChatChange(untouchable=True, name="Mamá"), NOW)
    assert (chat.jid, chat.untouchable, chat.name, chat.bot_enabled) == (JUAN, True, "Mamá", False)
    assert await chats.fetch_chat(business.id, JUAN_WITHOUT_9) == chat
    assert await _tally(database, business.id) == Tally(chats=1, untouchable_chats=1)


async def test_patch_leaves_what_it_does_not_name(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    before = await chats.change_chat(
        business.id, JUAN, ChatChange(bot_enabled=True, untouchable=True, opted_out=True, name="Juan"), NOW
    )
    assert await chats.change_chat(business.id, JUAN, ChatChange(), at(1)) == before


async def test_patch_counts_every_flag_once(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    steps = [
        (ChatChange(bot_enabled=True), Tally(chats=1, active_bot_chats=1)),
        (ChatChange(bot_enabled=True), Tally(chats=1, active_bot_chats=1)),
        (ChatChange(untouchable=True), Tally(chats=1, untouchable_chats=1)),
        (ChatChange(bot_enabled=False, untouchable=False), Tally(chats=1)),
        (ChatChange(bot_enabled=True, untouchable=True), Tally(chats=1, untouchable_chats=1)),
        (ChatChange(untouchable=False), Tally(chats=1, active_bot_chats=1)),
    ]
    for change, tally in steps:
        await chats.change_chat(business.id, JUAN, change, NOW)
        assert await _tally(database, business.id) == tally


async def test_flags_of_many_chats_in_one_transaction_are_counted(database: Database) -> None:
    business, _ = await a_business(database)
    numbers = [jid_of(f"5491100000{number:03d}") for number in range(5)]

    def enable_all(session: Session) -> None:
        for chat_id in ensure_chats(session, business.id, numbers, NOW).values():
            set_flags(session, lock_chat(session, chat_id), bot_enabled=True)

    await database.write(enable_all)
    assert await _tally(database, business.id) == Tally(chats=5, active_bot_chats=5)


async def test_failed_transaction_counts_nothing(database: Database) -> None:
    business, _ = await a_business(database)

    def fail(session: Session) -> None:
        ensure_chats(session, business.id, [JUAN], NOW)
        raise RuntimeError("halt")

    with pytest.raises(RuntimeError, match="halt"):
        await database.write(fail)
    assert await _tally(database, business.id) == Tally()
    assert await _rows(database, ChatRow) == 0


async def _take_over(database: Database, chat_id: str) -> None:
    def take_over(session: Session) -> None:
        chat = lock_chat(session, chat_id)
        chat.taken_over_at, chat.takeover_until = NOW, at(3600)

    await database.write(take_over)


async def _hand_off(database: Database, chat_id: str) -> None:
    def hand_off(session: Session) -> None:
        lock_chat(session, chat_id).handed_off_at = NOW

    await database.write(hand_off)


@pytest.mark.parametrize(("bot_enabled", "until"), [(True, None), (False, at(3600)), (None, at(3600))])
async def test_only_enabling_the_bot_ends_a_takeover(
    database: Database, chats: SqlChatStore, bot_enabled: bool | None, until: datetime | None
) -> None:
    business, _ = await a_business(database)
    chat = await chats.change_chat(business.id, JUAN, ChatChange(), NOW)
    await _take_over(database, chat.id)
    changed = await chats.change_chat(business.id, JUAN, ChatChange(bot_enabled=bot_enabled), at(1))
    assert changed.takeover_until == until
    row = await database.read(lambda session: session.get_one(ChatRow, chat.id).model_dump())
    assert (row["taken_over_at"] is None) is (until is None)
    assert row["bot_decided"] is (bot_enabled is not None)


async def test_chat_taken_over_is_a_humans_for_a_while(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    await chats.change_chat(business.id, JUAN, ChatChange(bot_enabled=True), NOW)
    taken = await chats.take_over(business.id, JUAN_WITHOUT_9, NOW)
    assert (taken.held_by(NOW), taken.takeover_until) == (Holder.HUMAN, NOW + timedelta(minutes=120))
    again = await chats.take_over(business.id, JUAN, at(60))
    assert again.takeover_until == at(60) + timedelta(minutes=120)
    page = await SqlEventStore(database).list_events(business.id, 0, 10)
    assert [event.type for event in page.events] == [EventType.CHAT_TAKEN_OVER]
    assert page.events[0].data == {"jid": JUAN, "until": "2026-03-02T17:00:00Z"}


async def test_chat_that_the_bot_left_to_a_human_is_not_held_for_a_shorter_time(
    database: Database, chats: SqlChatStore
) -> None:
    business, _ = await a_business(database)
    chat = await chats.change_chat(business.id, JUAN, ChatChange(bot_enabled=True), NOW)
    await _hand_off(database, chat.id)
    assert await chats.take_over(business.id, JUAN, at(60)) == await chats.fetch_chat(business.id, JUAN)
    later = await chats.fetch_chat(business.id, JUAN)
    assert (later.handed_off_at, later.takeover_until) == (NOW, None)


async def test_nobody_takes_over_a_chat_that_is_not_there(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    stranger, _ = await a_business(database)
    await chats.change_chat(business.id, JUAN, ChatChange(), NOW)
    with pytest.raises(NotFound):
        await chats.take_over(stranger.id, JUAN, NOW)


async def test_name_given_by_patch_is_ours(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    chat = await chats.change_chat(business.id, JUAN, ChatChange(name="Juan Pérez"), NOW)
    row = await database.read(lambda session: session.get_one(ChatRow, chat.id).model_dump())
    assert (row["name"], row["name_is_ours"]) == ("Juan Pérez", True)


async def test_opting_out_is_told_once(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    for opted_out in (True, True, False, True):
        await chats.change_chat(business.id, JUAN, ChatChange(opted_out=opted_out), NOW)
    page = await SqlEventStore(database).list_events(business.id, 0, 10)
    assert [(event.type, event.data) for event in page.events] == [(EventType.CHAT_OPTED_OUT, {"jid": JUAN})] * 2


async def test_what_is_no_person_gets_no_chat(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    for jid in ("120363000000@g.us", "status@broadcast", "hola"):
        with pytest.raises(InvalidRecipient):
            await chats.change_chat(business.id, jid, ChatChange(untouchable=True), NOW)
    assert await _rows(database, ChatRow) == 0


# ---------------------------------------------------------------- the list


async def _touch(database: Database, jids: Sequence[str], business_id: str, moment: datetime) -> None:
    def touch(session: Session) -> None:
        for chat_id in ensure_chats(session, business_id, jids, NOW).values():
            lock_chat(session, chat_id).active_at = moment

    await database.write(touch)


async def test_newest_activity_comes_first_on_every_page(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    other, _ = await a_business(database)
    numbers = [jid_of(f"5491100000{number:03d}") for number in range(7)]
    await _ensure(database, business.id, numbers)
    await _ensure(database, other.id, numbers)
    await _touch(database, [numbers[2]], business.id, at(60))
    await _touch(database, [numbers[0]], business.id, at(90))
    listed: list[Chat] = []
    for page in range(4):
        some, total = await chats.list_chats(business.id, Page(page=page, page_size=2))
        assert total == 7
        listed += some
    assert [chat.jid for chat in listed[:2]] == [numbers[0], numbers[2]]
    assert sorted(chat.jid for chat in listed) == numbers
    assert [chat.id for chat in listed[2:]] == sorted((chat.id for chat in listed[2:]), reverse=True)


async def test_page_after_the_last_is_empty(database: Database, chats: SqlChatStore) -> None:
    business, _ = await a_business(database)
    assert await chats.list_chats(business.id, Page(page=0, page_size=20)) == ([], 0)
    await _ensure(database, business.id, [JUAN])
    assert await chats.list_chats(business.id, Page(page=1, page_size=20)) == ([], 1)


async def test_ids_of_a_page_are_read_from_the_index_alone(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    business, _ = await a_business(database)
    ids = newest_ids(business.id, Page(page=5, page_size=2))

    def explain(session: Session) -> list[str]:
        sql = str(ids.compile(session.get_bind(), compile_kwargs={"literal_binds": True}))
        return [row[3] for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]

    plan = await database.read(explain)
    await database.close()
    assert plan == ["SEARCH chat USING COVERING INDEX ix_chat_newest (business_id=?)"]
