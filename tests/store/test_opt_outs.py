"""A customer who opts out: what the chat keeps, what is told, and the notice that confirms it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from boton.domain.events import EventType
from boton.domain.messages import MessageType, Sender
from boton.store.engine import Database
from boton.store.tables import ConnectionRow, MessageRow
from tests.store.builders import NOW, at
from tests.store.stage import JID, NUMBER, OTHER, Stage, incoming, minutes, sent, set_stage, typed


async def _notices(stage: Stage) -> list[MessageRow]:
    return [row for row in await stage.messages() if row.kind == "notice"]


async def _restore(stage: Stage, moment: datetime) -> None:
    """What a restore leaves behind."""
    await stage.database.write(
        lambda session: session.execute(
            update(ConnectionRow).where(col(ConnectionRow.id) == stage.connection.id).values(answers_from=moment)
        )
    )


async def test_opt_out_is_kept_told_and_confirmed_in_one_step(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    chat_ids = await stage.receive(incoming("¡Baja!", when=at(-1)), now=NOW)
    chat = await stage.chat()
    assert (chat.opted_out, chat.next_step_at, chat_ids) == (True, NOW, [chat.id])
    assert [event.data for event in await stage.told(EventType.CHAT_OPTED_OUT)] == [{"jid": JID}]
    asked, notice = await stage.messages()
    assert asked.answer == "opted_out"
    assert (notice.kind, notice.sender, notice.status, notice.lane) == ("notice", "bot", "queued", "fast")
    assert (notice.jid, notice.at, notice.send_id, notice.turn_id) == (JID, NOW, None, None)
    assert notice.text is not None
    assert "Mi Negocio" in notice.text


async def test_confirmation_is_a_draft_that_the_chat_sends_as_the_bots_message(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("STOP"))
    (notice,) = await _notices(stage)
    assert (await stage.look(now=at(1))).brief is None
    assert (await stage.chat()).next_step_at == at(1)
    assert await stage.undelivered(now=at(2)) == (stage.connection.id, [notice.id])
    attempt = await stage.claim_message(notice.id, now=at(2))
    assert attempt is not None
    await stage.record(sent(attempt), now=at(2))
    assert await stage.undelivered(now=at(2)) == ("", [])
    assert (await stage.look(now=at(3))).brief is None
    assert (await stage.chat()).next_step_at is None
    _, messages, _ = await stage.chats.list_messages(stage.business.id, JID, limit=10)
    assert [(one.sender, one.bot_generated) for one in messages] == [(Sender.CUSTOMER, False), (Sender.BOT, True)]


@pytest.mark.parametrize("lock", ["held", "bot off"])
async def test_confirmation_goes_out_whoever_has_the_chat(database: Database, lock: str) -> None:
    stage = await set_stage(database, bot_new_chats=lock == "held")
    if lock == "held":
        await stage.receive(typed(when=at(-60)), now=at(-60))
    await stage.receive(incoming("STOP"))
    (notice,) = await _notices(stage)
    assert (await stage.look(now=at(1))).brief is None
    assert await stage.claim_message(notice.id, now=at(2)) is not None


async def test_reply_that_was_waiting_still_goes_out(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿tienen turno?"))
    draft = await stage.answer()
    await stage.receive(incoming("STOP", when=at(1)), now=at(1))
    (notice,) = await _notices(stage)
    assert await stage.undelivered(now=at(2)) == (stage.connection.id, [draft, notice.id])
    assert await stage.claim_message(draft, now=at(2)) is not None


async def test_question_before_the_opt_out_is_answered_the_opt_out_is_not(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿tienen turno?"), incoming("STOP"))
    (notice,) = await _notices(stage)
    assert await stage.undelivered(now=at(1)) == (stage.connection.id, [notice.id])
    assert await stage.claim_message(notice.id, now=at(1)) is not None
    brief = await stage.open_turn(now=at(2))
    assert [line.text for line in brief.history][-1] == "¿tienen turno?"
    (reply,) = await stage.close_turn(brief, now=at(2))
    assert await stage.undelivered(now=at(3)) == (stage.connection.id, [reply])


async def test_second_opt_out_is_not_confirmed_again_until_it_was_undone(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming("STOP"), incoming("stop"))
    assert await stage.receive(incoming("baja")) == []
    assert (len(await _notices(stage)), len(await stage.told(EventType.CHAT_OPTED_OUT))) == (1, 1)
    assert {row.answer for row in await stage.messages() if row.direction == "incoming"} == {"opted_out"}
    await stage.change(opted_out=False)
    await stage.receive(incoming("stop"))
    assert (len(await _notices(stage)), len(await stage.told(EventType.CHAT_OPTED_OUT))) == (2, 2)


async def test_opted_out_chat_is_attended_as_before(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("STOP"))
    assert await stage.receive(incoming("¿a qué hora abren?")) == [(await stage.chat()).id]
    assert (await stage.messages())[-1].answer == "due"


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({"when": NOW}, minutes(361)),
        ({"when": minutes(-2)}, NOW),
    ],
    ids=["too old", "before a restore"],
)
async def test_old_opt_out_counts_and_is_not_confirmed(
    database: Database, changes: dict[str, Any], now: datetime
) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await _restore(stage, minutes(-1))
    assert await stage.receive(incoming("STOP", **changes), now=now) == []
    assert (await stage.chat()).opted_out
    assert len(await stage.told(EventType.CHAT_OPTED_OUT)) == 1
    assert await _notices(stage) == []


async def test_untouchable_customer_who_opts_out_is_not_written_to(database: Database) -> None:
    stage = await set_stage(database)
    await stage.change(untouchable=True)
    assert await stage.receive(incoming("STOP")) == []
    assert (await stage.chat()).opted_out
    assert await _notices(stage) == []


@pytest.mark.parametrize(
    "message",
    [
        incoming("STOP", history=True),
        incoming("STOP", type=MessageType.IMAGE),
        incoming("no quiero la baja"),
        incoming("CANCELAR"),
        typed("STOP"),
    ],
    ids=["history", "caption", "more words", "about an appointment", "typed by the business"],
)
async def test_what_is_no_opt_out(database: Database, message: Any) -> None:
    stage = await set_stage(database)
    await stage.receive(message)
    assert not (await stage.chat()).opted_out
    assert await _notices(stage) == []


async def test_words_and_language_of_the_business_are_its_own(database: Database) -> None:
    stage = await set_stage(database)
    await stage.businesses.update_config(stage.business.id, {"opt_out_words": ("no more",), "language": "en"})
    await stage.receive(incoming("STOP"), incoming("No more!", number=OTHER))
    assert not (await stage.chat(NUMBER)).opted_out
    assert (await stage.chat(OTHER)).opted_out
    (notice,) = await _notices(stage)
    assert notice.text is not None
    assert notice.text.startswith("Done")


# -------------------------------------------------------------------- a restore


async def test_what_came_before_a_restore_is_not_the_bots_to_answer(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await _restore(stage, NOW)
    assert await stage.receive(incoming("¿hola?", when=at(-1)), now=at(5)) == []
    assert (await stage.messages())[0].answer == "restored"
    assert await stage.receive(incoming("¿hay alguien?", when=at(1)), now=at(5)) == [(await stage.chat()).id]


async def test_what_was_typed_before_a_restore_is_no_takeover(database: Database) -> None:
    stage = await set_stage(database)
    await _restore(stage, NOW)
    await stage.receive(typed(when=at(-1)), now=at(5))
    assert (await stage.chat()).takeover_until is None
    await stage.receive(typed(when=at(1)), now=at(5))
    assert (await stage.chat()).takeover_until is not None
