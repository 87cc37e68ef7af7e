"""A business with a second connection: what was queued for the one it has left is held, and holds nothing else up."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col

from boton.domain.connections import Gateway
from boton.domain.messages import MessageKind
from boton.errors import StaleEpoch
from boton.store.connections import SqlConnectionStore
from boton.store.drafting import add_drafts
from boton.store.engine import Database
from boton.store.steps import lock_chat
from boton.store.tables import ConnectionRow
from tests.store.builders import NOW, at
from tests.store.stage import Stage, incoming, minutes, sent, set_stage


async def add_connection(stage: Stage, phone: str = "5491138620900") -> Stage:
    """The same business through another phone number."""
    connections = SqlConnectionStore(stage.database)
    connection = await connections.create_connection(stage.business.id, Gateway.SIMULATOR, phone, NOW)
    return Stage(stage.database, stage.business, connection, await connections.raise_epoch(connection.id, NOW))


async def set_active(stage: Stage, active: bool) -> None:
    this = update(ConnectionRow).where(col(ConnectionRow.id) == stage.connection.id)
    await stage.database.write(lambda session: session.execute(this.values(active=active)) and None)


async def switch(old: Stage) -> Stage:
    new = await add_connection(old)
    await set_active(old, False)
    return new


async def send_all(stage: Stage, *, now: datetime = NOW) -> list[str]:
    """What the chat has to say through this connection; the texts that left."""
    connection_id, drafts = await stage.undelivered(now=now)
    assert connection_id == stage.connection.id
    attempts = [await stage.claim_message(draft, now=now) for draft in drafts]
    for attempt in filter(None, attempts):
        await stage.record(sent(attempt, now=now), now=now)
    return [attempt.text for attempt in attempts if attempt is not None]


async def test_draft_of_the_connection_that_was_left_is_held(database: Database) -> None:
    old = await set_stage(database, bot_new_chats=True)
    await old.receive(incoming())
    draft = await old.answer()
    new = await switch(old)
    step = await new.look(now=at(1))
    assert (step.state, step.message_ids, step.until) == ("rest", (), None)
    assert await new.claim_message(draft, now=at(1)) is None
    with pytest.raises(StaleEpoch):
        await old.claim_message(draft, now=at(1))
    assert (await old.message(draft)).status == "queued"


async def test_chat_of_which_all_is_held_is_not_overdue_for_ever(database: Database) -> None:
    old = await set_stage(database, bot_new_chats=True)
    await old.receive(incoming())
    await old.answer()
    new = await switch(old)
    await new.look(now=at(1))
    assert (await new.chat()).next_step_at is None
    overdue = await new.work.list_overdue(minutes(60), timedelta(seconds=30), 10)
    assert {one.kind for one in overdue} == {"connection"}


async def test_customer_is_answered_at_once_through_the_new_connection(database: Database) -> None:
    old = await set_stage(database, bot_new_chats=True)
    await old.receive(incoming())
    draft = await old.answer()
    new = await switch(old)
    await new.receive(incoming("¿siguen ahí?", when=at(5)), now=at(5))
    brief = await new.open_turn(now=at(6))
    assert brief.connection_id == new.connection.id
    await new.close_turn(brief, "Sí, por acá.", now=at(7))
    assert await send_all(new, now=at(8)) == ["Sí, por acá."]
    await set_active(old, True)
    assert (await new.look(now=at(9))).state == "rest"
    assert (await old.message(draft)).status == "cancelled", "it was written anew with what came since"


async def test_half_said_reply_of_the_old_connection_holds_up_no_answer(database: Database) -> None:
    """One that cannot be written anew, because its first part has left."""
    old = await set_stage(database, bot_new_chats=True)
    await old.receive(incoming())
    first, second = (await old.say(await old.open_turn(), "Hola.", "¿Qué tal?")).message_ids
    attempt = await old.claim_message(first)
    assert attempt is not None
    await old.record(sent(attempt))
    new = await switch(old)
    await new.receive(incoming("¿y?", when=at(5)), now=at(5))
    await new.close_turn(await new.open_turn(now=at(6)), "Bien.", now=at(7))
    assert await send_all(new, now=at(8)) == ["Bien."]
    assert (await old.message(second)).status == "queued"


async def test_held_draft_leaves_when_its_connection_is_back(database: Database) -> None:
    old = await set_stage(database, bot_new_chats=True)
    await old.receive(incoming())
    draft = await old.answer()
    await set_active(old, False)
    assert (await old.look(now=at(1))).state == "rest"
    await set_active(old, True)
    assert await old.undelivered(now=at(2)) == (old.connection.id, [draft])
    assert await send_all(old, now=at(3)) == ["¡Hola! Soy el bot."]


async def test_time_of_a_conversation_runs_out_while_a_draft_is_held(database: Database) -> None:
    old = await set_stage(database)
    accepted = await old.open_conversation()
    await old.record(sent(await old.claim(accepted.send.id)))
    await old.receive(incoming("sí", when=at(60)), now=at(60))
    await old.close_turn(await old.open_turn(now=at(61)), now=at(62))
    new = await switch(old)
    await new.look(now=at(63) + timedelta(hours=72))
    assert accepted.recipients[0].conversation_id is not None
    conversation = await new.conversations.fetch_conversation(new.business.id, accepted.recipients[0].conversation_id)
    assert (conversation.status, conversation.outcome) == ("expired", "no_answer")


async def test_what_two_connections_are_to_say_leaves_through_each_its_own(database: Database) -> None:
    first = await set_stage(database, bot_new_chats=True)
    await first.receive(incoming())
    reply = await first.answer()
    second = await add_connection(first)
    await second.receive(incoming("BAJA", when=at(5)), now=at(5))
    assert await first.undelivered(now=at(6)) == (first.connection.id, [reply])
    assert await second.claim_message(reply, now=at(6)) is None
    assert len(await send_all(first, now=at(7))) == 1
    assert (await first.chat()).next_step_at == at(7), "there is more to say"
    assert len(await send_all(second, now=at(9))) == 1
    assert (await second.look(now=at(10))).state == "rest"


async def test_follow_ups_of_two_connections_wait_for_the_end_of_quiet_hours(database: Database) -> None:
    """Nobody looks in a tight loop at what may not leave."""
    first = await set_stage(database)
    await first.businesses.update_config(
        first.business.id, {"timezone": "UTC", "quiet_hours": {"start": "14:00", "end": "16:00"}}
    )
    second = await add_connection(first)
    for stage in (first, second):
        await _queue_follow_up(stage)
    step = await first.look(now=at(5))
    assert (step.state, step.until) == ("rest", NOW.replace(hour=16, minute=0))
    assert (await first.look(now=minutes(61))).state == "send"


async def _queue_follow_up(stage: Stage) -> None:
    await stage.change(bot_enabled=True)
    chat_id = (await stage.chat()).id

    await stage.database.write(
        lambda session: add_drafts(
            session, lock_chat(session, chat_id), stage.connection.id, MessageKind.FOLLOW_UP, ["¿Seguimos?"], NOW
        )
    )


async def test_history_of_a_phone_that_was_linked_before_is_not_stored_twice(database: Database) -> None:
    """A new link is told the same messages again."""
    old = await set_stage(database)
    message = incoming("hola", when=at(0))
    await old.receive(message)
    new = await switch(old)
    await new.receive(replace(message, history=True), now=at(5))
    assert [row.text for row in await new.messages()] == ["hola"]
