"""Backups of both stores, restored into both: the same rows, nothing that goes on by itself, all or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from boton.domain.chats import AnswerDecision
from boton.domain.connections import ConnectionStatus
from boton.domain.events import EventType
from boton.domain.holds import HeldKind
from boton.domain.messages import MessageStatus
from boton.domain.sends import SendStatus
from boton.domain.tools import HandOff, ToolCall
from boton.errors import Conflict
from boton.ids import Prefix, new_id
from boton.ports import ModelAnswer
from boton.store.backup import Contents, back_up
from boton.store.businesses import SqlBusinessStore
from boton.store.copying import copy_rows, our_tables, postgres_engine
from boton.store.engine import Database, open_database, sqlite_engine
from boton.store.events import SqlEventStore
from boton.store.holds import SqlHoldStore
from boton.store.meta import BACKUP_KEY
from boton.store.migrate import check, sqlite_file
from boton.store.outbox import SqlOutboxStore
from boton.store.restore import NoBackup, Permission, restore
from boton.store.sqlite_files import FileDamaged, StoreInUse
from boton.store.tables import (
    ChatRow,
    ConnectionRow,
    LeaseRow,
    MessageRow,
    ReminderRow,
    SendRow,
    TallyRow,
    TurnRow,
)
from boton.store.turns import SqlTurnStore
from boton.store.work import SqlWorkStore
from tests.store.builders import NOW, at
from tests.store.stage import OTHER, Stage, incoming, numbers, sent, set_stage, unconfirmed

LATER = NOW + timedelta(hours=3)
REPLACE = Permission(replace=True)
WRITER, READER, THIRD, FOURTH = (f"549112000000{number}" for number in range(1, 5))


class Scene:
    """A store in the middle of its work. Texts with what stores spell differently: emoji, quotes, JSON, nothing."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.bulk = self.scheduled = self.paused = self.done = ""
        self.chat = self.flying = self.lost = self.due = self.draft = self.answered = self.reminder = ""


async def set_scene(database: Database) -> Scene:
    stage = await set_stage(database, bot_new_chats=True)
    scene = Scene(stage)
    await stage.businesses.update_config(stage.business.id, {"auto_replies": ["¡Gracias!"], "opt_out_words": ["BAJA"]})
    await _send(scene)
    await _receive(scene)
    lease = LeaseRow(name="sweeper", holder="h", until=at(60))
    await database.write(lambda session: session.add_all([_reminder(scene), lease]))
    await stage.work.note_namespace("the-first-temporal", NOW)
    return scene


async def _send(scene: Scene) -> None:
    stage = scene.stage
    bulk = await stage.accept(*numbers(5))
    scene.bulk, first, second = bulk.send.id, bulk.recipients[0].message_id, bulk.recipients[1].message_id
    flying, lost = await stage.claim_message(first), await stage.claim_message(second)
    assert flying is not None
    assert lost is not None
    await stage.record(unconfirmed(lost))
    scene.flying, scene.lost = first, second
    scene.scheduled = (await stage.accept(OTHER, send_at=at(7200))).send.id
    scene.paused = (await stage.accept(OTHER)).send.id
    await stage.database.write(lambda session: _set(session.get_one(SendRow, scene.paused), status="paused"))
    done = await stage.accept(OTHER)
    attempt = await stage.claim_message(done.recipients[0].message_id)
    assert attempt is not None
    await stage.record(sent(attempt))
    scene.done = done.send.id
    finished = {"status": "finished", "finished_at": NOW, "next_step_at": None}
    await stage.database.write(lambda session: _set(session.get_one(SendRow, scene.done), **finished))


async def _receive(scene: Scene) -> None:
    stage = scene.stage
    await stage.receive(incoming('«¿hola?» 🙂\n"null"', number=WRITER), incoming("gracias", number=READER))
    scene.draft = await stage.answer(READER)
    rows = {row.jid.split("@")[0]: row.id for row in await stage.messages() if row.direction == "incoming"}
    scene.chat = (await stage.chat(WRITER)).id
    scene.due, scene.answered = rows[WRITER], rows[READER]


async def _converse(stage: Stage) -> None:
    """Tools that a model called, and what is planned after an opening."""
    await stage.receive(incoming("¿descuento?", number=THIRD))
    call = ToolCall(id="call_1", name="hand_off_to_human", arguments='{"reason": "null"}')
    (key,) = (await stage.say(await stage.open_turn(THIRD), calls=[call])).calls
    await stage.turns.answer_call(key, "hecho", HandOff(reason="«descuento»"), NOW, ok=True)
    opened = await stage.open_conversation(FOURTH)
    await stage.record(sent(await stage.claim(opened.send.id)))


def _set(row: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def _reminder(scene: Scene) -> ReminderRow:
    stage = scene.stage
    scene.reminder = new_id(Prefix.REMINDER)
    return ReminderRow(
        id=scene.reminder,
        business_id=stage.business.id,
        connection_id=stage.connection.id,
        chat_id=scene.chat,
        message="mañana a las 15",
        status="scheduled",
        recipient=OTHER,
        starts_at=at(3600),
        next_at=at(3600),
        next_step_at=at(3600),
        created_at=NOW,
    )


def rows_of(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """As SQLite keeps them, in an order of their own. The mark of the backup is not the store's."""
    with closing(sqlite3.connect(file)) as connection:
        found = {}
        for table in our_tables():
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            found[table.name] = sorted(connection.execute(f'SELECT {columns} FROM "{table.name}"').fetchall(), key=repr)
    found["meta"] = [row for row in found["meta"] if row[0] != BACKUP_KEY]
    return found


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


def an_empty_file(folder: Path, name: str) -> Path:
    (folder / name).touch(mode=0o600)
    return folder / name


async def test_rows_are_the_same_after_a_journey_through_postgresql(
    sqlite_url: str, postgres_url: str, tmp_path: Path
) -> None:
    database = open_database(sqlite_url)
    await _converse((await set_scene(database)).stage)
    await database.close()
    before, after = an_empty_file(tmp_path, "before.db"), an_empty_file(tmp_path, "after.db")
    back_up(sqlite_url, before, NOW)
    source, target = sqlite_engine(sqlite_url, begin="BEGIN"), postgres_engine(postgres_url)
    with source.begin() as reading, target.begin() as writing:
        copy_rows(reading, writing)
    source.dispose()
    target.dispose()
    back_up(postgres_url, after, NOW)
    assert rows_of(after) == rows_of(before)
    filled = ("business", "chat", "message", "send", "event", "turn", "reminder")
    assert all(rows_of(after)[name] for name in (*filled, "turn_round", "tool_call", "follow_up", "token_day"))


# ---------------------------------------------------------------- what a restore does


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that was never migrated, of each kind."""
    if request.param == "sqlite":
        (tmp_path / "new").mkdir()
        return f"sqlite:///{tmp_path / 'new' / 'boton.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


class Restored:
    """The scene, backed up from one store and restored into another."""

    def __init__(self, scene: Scene, database: Database, backup: Path, url: str) -> None:
        self.scene = scene
        self.database = database
        self.backup = backup
        self.url = url
        self.holds = SqlHoldStore(database)

    async def one(self, table: type[Any], id: str) -> Any:
        return await self.database.read(lambda session: table(**session.get_one(table, id).model_dump()))

    async def all(self, table: type[Any]) -> list[Any]:
        return await self.database.read(
            lambda session: [table(**row.model_dump()) for row in session.scalars(select(table))]
        )

    async def send(self, id: str) -> tuple[str, str | None, bool]:
        """Its status, why it is held, and whether it is due."""
        row = await self.one(SendRow, id)
        return row.status, row.hold, row.next_step_at is not None


@pytest_asyncio.fixture
async def restored(database: Database, new_url: str, store_url: str, tmp_path: Path) -> AsyncIterator[Restored]:
    scene = await set_scene(database)
    backup = an_empty_file(tmp_path, "backup.db")
    contents = back_up(store_url, backup, NOW)
    assert contents == Contents(businesses=1, chats=8, messages=11, sends=3, reminders=1, answers=1)
    outcome = restore(new_url, backup, tmp_path, Permission(), LATER)
    assert (outcome.made_at, outcome.contents, outcome.aside) == (NOW, contents, None)
    check(new_url)
    opened = open_database(new_url)
    yield Restored(scene, opened, backup, new_url)
    await opened.close()


async def test_everything_unfinished_is_held(restored: Restored) -> None:
    scene = restored.scene
    for id in (scene.bulk, scene.scheduled, scene.paused):
        assert await restored.send(id) == ("paused", "restored", False)
    assert await restored.send(scene.done) == ("finished", None, False)
    reminder = await restored.one(ReminderRow, scene.reminder)
    assert (reminder.status, reminder.hold, reminder.next_step_at) == ("scheduled", "restored", None)
    assert [row.next_step_at for row in await restored.all(ChatRow)] == [None] * 8
    assert await restored.all(LeaseRow) == []
    overdue = await SqlWorkStore(restored.database).list_overdue(LATER, timedelta(0), 100)
    assert {one.kind for one in overdue} <= {"connection"}


async def test_what_was_in_flight_is_asked_for_and_never_queued_again(restored: Restored) -> None:
    flying, lost = [await restored.one(MessageRow, id) for id in (restored.scene.flying, restored.scene.lost)]
    assert (flying.status, flying.error_code) == ("unconfirmed", "restored")
    assert (lost.status, lost.error_code) == ("unconfirmed", "unconfirmed")
    asked = await SqlOutboxStore(restored.database).list_left_in_flight(restored.scene.stage.connection.id, 2**40)
    assert {attempt.message_id for attempt in asked} == {flying.id, lost.id}


async def test_a_draft_is_cancelled_and_its_question_waits_for_a_new_turn(restored: Restored) -> None:
    scene = restored.scene
    draft = await restored.one(MessageRow, scene.draft)
    assert (draft.status, draft.error_code) == ("cancelled", "restored")
    answers = [(await restored.one(MessageRow, id)).answer for id in (scene.due, scene.answered)]
    assert answers == [AnswerDecision.SUSPENDED] * 2
    assert (await restored.one(TurnRow, draft.turn_id)).trigger_id != scene.answered


async def test_links_and_readers_of_the_time_since_are_outranked(restored: Restored) -> None:
    (connection,) = await restored.all(ConnectionRow)
    assert (connection.epoch, connection.answers_from) == (int(LATER.timestamp()), LATER)
    (tally,) = await restored.all(TallyRow)
    assert tally.event_seq > LATER.timestamp() * 1000 - 1
    page = await SqlEventStore(restored.database).list_events(restored.scene.stage.business.id, 1000, 10)
    (event,) = page.events
    assert (event.type, event.data["messageId"]) == (EventType.MESSAGE_STATUS, restored.scene.flying)


async def test_temporal_counts_as_a_new_one(restored: Restored) -> None:
    assert await SqlWorkStore(restored.database).note_namespace("the-first-temporal", LATER)


async def test_the_backup_is_left_as_it_is_and_can_be_restored_again(restored: Restored, tmp_path: Path) -> None:
    before = restored.backup.read_bytes()
    await restored.database.close()
    restore(restored.url, restored.backup, tmp_path, REPLACE, LATER)
    assert restored.backup.read_bytes() == before
    assert restored.backup.stat().st_mode & 0o077 == 0
    left = names_in(tmp_path)
    assert [name for name in left if "restoring" in name] == []
    assert [name for name in left if name.startswith("backup.db")] == ["backup.db"]


# ---------------------------------------------------------------- what becomes of it


async def test_held_work_is_listed(restored: Restored) -> None:
    scene = restored.scene
    held = await restored.holds.list_held()
    assert {(one.kind, one.id, one.messages) for one in held} == {
        (HeldKind.SEND, scene.bulk, 3),
        (HeldKind.SEND, scene.scheduled, 1),
        (HeldKind.SEND, scene.paused, 1),
        (HeldKind.REMINDER, scene.reminder, 1),
        (HeldKind.CHAT, scene.chat, 1),
        (HeldKind.CHAT, (await restored.one(MessageRow, scene.answered)).chat_id, 1),
    }
    assert {(one.business_id, one.reason) for one in held} == {(scene.stage.business.id, "restored")}
    assert await restored.holds.list_held("biz_other") == []
    assert await restored.holds.fetch_backup_time() == NOW


async def test_resumed_work_is_overdue_and_its_answers_are_written_anew(restored: Restored) -> None:
    scene = restored.scene
    await restored.holds.resume(await restored.holds.list_held(), LATER)
    assert await restored.holds.list_held() == []
    overdue = await SqlWorkStore(restored.database).list_overdue(LATER, timedelta(seconds=30), 100)
    answered = await restored.one(MessageRow, scene.answered)
    ids = {one.id for one in overdue if one.kind != "connection"}
    assert ids >= {scene.bulk, scene.scheduled, scene.paused, scene.chat, answered.chat_id}
    assert (await restored.one(ReminderRow, scene.reminder)).next_step_at < LATER
    turns = SqlTurnStore(restored.database)
    brief = (await turns.advance_chat(answered.chat_id, at(60))).brief
    assert brief is not None
    step = await turns.record_answer(brief.turn_id, 0, ModelAnswer(text="De nada."), ("De nada.",), at(60))
    assert step.state == "send"
    assert scene.draft not in step.message_ids


async def test_what_is_scheduled_for_later_waits_in_its_workflow_from_now_on(restored: Restored) -> None:
    held = [one for one in await restored.holds.list_held() if one.id == restored.scene.scheduled]
    await restored.holds.resume(held, at(60))
    row = await restored.one(SendRow, restored.scene.scheduled)
    assert (row.status, row.next_step_at, row.hold) == ("scheduled", at(0), None)


async def test_cancelled_work_never_goes_out(restored: Restored) -> None:
    scene = restored.scene
    await restored.holds.cancel(await restored.holds.list_held(), LATER)
    assert await restored.holds.list_held() == []
    for id in (scene.bulk, scene.scheduled, scene.paused):
        assert (await restored.send(id))[0] == SendStatus.CANCELLED
    reminder = await restored.one(ReminderRow, scene.reminder)
    assert (reminder.status, reminder.hold, reminder.next_at) == ("cancelled", None, None)
    assert (await restored.one(MessageRow, scene.due)).answer == AnswerDecision.RESTORED
    statuses = {row.status for row in await restored.all(MessageRow) if row.direction == "outgoing"}
    assert statuses == {MessageStatus.CANCELLED, MessageStatus.UNCONFIRMED, MessageStatus.SENT}


# ---------------------------------------------------------------- what is refused


@pytest.fixture
def backup(sqlite_url: str, tmp_path: Path) -> Path:
    file = an_empty_file(tmp_path, "backup.db")
    back_up(sqlite_url, file, NOW)
    return file


async def test_a_store_with_a_business_is_replaced_only_when_told_to(
    database: Database, store_url: str, backup: Path, tmp_path: Path
) -> None:
    stage = await set_stage(database)
    await database.close()
    with pytest.raises(Conflict, match="--replace"):
        restore(store_url, backup, tmp_path, Permission(), LATER)
    aside = restore(store_url, backup, tmp_path, REPLACE, LATER).aside
    opened = open_database(store_url)
    assert await SqlBusinessStore(opened).list_businesses() == []
    await opened.close()
    if aside is not None:
        assert stage.business.id in {row[0] for row in rows_of(aside)["business"]}
    assert (aside is None) == (sqlite_file(store_url) is None)


async def test_a_store_that_somebody_has_open_is_not_replaced(sqlite_url: str, backup: Path, tmp_path: Path) -> None:
    database = open_database(sqlite_url)
    await set_stage(database)
    with pytest.raises(StoreInUse, match="stop everything"):
        restore(sqlite_url, backup, tmp_path, REPLACE, LATER)
    assert len(await SqlBusinessStore(database).list_businesses()) == 1
    await database.close()


async def test_postgresql_with_a_number_heard_of_lately_is_not_replaced(
    postgres_url: str, backup: Path, tmp_path: Path
) -> None:
    database = open_database(postgres_url)
    stage = await set_stage(database)
    await stage.connections.record_status(stage.connection.id, stage.epoch, ConnectionStatus.CONNECTED, None, at(0))
    with pytest.raises(Conflict, match="--force"):
        restore(postgres_url, backup, tmp_path, REPLACE, at(59))
    restore(postgres_url, backup, tmp_path, Permission(replace=True, force=True), at(59))
    assert await SqlBusinessStore(database).list_businesses() == []
    await database.close()


NO_BACKUPS = {
    "a text": b"BEGIN TRANSACTION; -- a dump\n" * 100,
    "nothing": b"",
}


@pytest.mark.parametrize("content", NO_BACKUPS.values(), ids=NO_BACKUPS)
def test_what_is_no_backup_is_refused(sqlite_url: str, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.db"
    file.write_bytes(content)
    for other in (file, tmp_path, tmp_path / "absent.db", Path(sqlite_url.removeprefix("sqlite:///"))):
        with pytest.raises(NoBackup, match="is no backup"):
            restore(sqlite_url, other, tmp_path, REPLACE, LATER)


def test_a_backup_of_a_newer_version_is_refused(sqlite_url: str, backup: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(NoBackup, match="newer version"):
        restore(sqlite_url, backup, tmp_path, REPLACE, LATER)
    assert list(tmp_path.rglob("*.restoring*")) == []


async def test_a_damaged_backup_leaves_the_store_untouched(sqlite_url: str, backup: Path, tmp_path: Path) -> None:
    database = open_database(sqlite_url)
    stage = await set_stage(database)
    await database.close()
    with closing(sqlite3.connect(backup)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'message'").fetchone()
    with backup.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x5a" * 4096)
    with pytest.raises(FileDamaged):
        restore(sqlite_url, backup, tmp_path, REPLACE, LATER)
    assert [row[0] for row in rows_of(Path(sqlite_url.removeprefix("sqlite:///")))["business"]] == [stage.business.id]


def test_a_damaged_store_is_moved_aside(backup: Path, tmp_path: Path) -> None:
    store = tmp_path / "damaged.db"
    store.write_bytes(b"not what it was" * 1000)
    store.with_name("damaged.db-wal").write_bytes(b"of the old one")
    with pytest.raises(Conflict, match="--replace"):
        restore(f"sqlite:///{store}", backup, tmp_path, Permission(), LATER)
    aside = restore(f"sqlite:///{store}", backup, tmp_path, REPLACE, LATER).aside
    assert aside is not None
    assert aside.read_bytes() == b"not what it was" * 1000
    assert not store.with_name("damaged.db-wal").exists()
    check(f"sqlite:///{store}")
