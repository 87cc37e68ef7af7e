"""What the bot owes, and how it is answered once."""

from __future__ import annotations

import pytest

from boton.domain.chats import Holder
from boton.domain.connections import Gateway
from boton.domain.events import EventType
from boton.domain.messages import MessageStatus, Sender
from boton.domain.sends import SendKind
from boton.errors import NotFound
from boton.ports import Idle, ModelAnswer
from boton.store.engine import Database
from boton.store.tables import ConversationRow, TurnRow
from tests.store.builders import NOW, at
from tests.store.stage import (
    NUMBER,
    OTHER,
    Stage,
    failed,
    incoming,
    minutes,
    numbers,
    sent,
    set_stage,
    typed,
)

REPLY = "¡Hola!"


async def _answers(stage: Stage) -> list[str | None]:
    return [row.answer for row in await stage.messages() if row.direction == "incoming"]


async def test_turn_answers_everything_that_is_due(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("hola", push_name="Juan"), incoming("¿tienen turno?", when=at(1)))
    brief = await stage.open_turn()
    assert (brief.opening, brief.customer_name, brief.instruction) == (False, "Juan", None)
    assert [(line.sender, line.text) for line in brief.history] == [
        (Sender.CUSTOMER, "hola"),
        (Sender.CUSTOMER, "¿tienen turno?"),
    ]
    assert brief.config.business_name == "Mi Negocio"
    (draft,) = await stage.close_turn(brief, now=at(5))
    row = await stage.message(draft)
    assert (row.kind, row.sender, row.status, row.text, row.turn_id) == (
        "reply",
        "bot",
        "queued",
        "¡Hola!",
        brief.turn_id,
    )
    assert await _answers(stage) == ["answered", "answered"]
    assert await stage.undelivered() == (stage.connection.id, [draft])
    attempt = await stage.claim_message(draft)
    assert attempt is not None
    await stage.record(sent(attempt))
    assert (await stage.look(now=at(9))).brief is None
    assert (await stage.chat()).next_step_at is None
    (turn,) = await stage.all(TurnRow)
    assert (turn.status, turn.tokens_in, turn.tokens_out, turn.closed_at) == ("closed", 10, 2, at(5))


async def test_turn_is_found_again_by_its_last_message(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    first = await stage.open_turn()
    assert (await stage.open_turn()).turn_id == first.turn_id
    await stage.receive(incoming())
    assert (await stage.open_turn()).turn_id != first.turn_id


async def test_closing_twice_gives_the_same_drafts(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    brief = await stage.open_turn()
    first = await stage.close_turn(brief)
    again = await stage.close_turn(brief, "otra cosa")
    assert list(first) == list(again)
    assert len([row for row in await stage.messages() if row.sender == "bot"]) == 1


async def test_message_that_comes_while_the_model_thinks_is_answered_with_the_others(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("uno"))
    brief = await stage.open_turn()
    await stage.receive(incoming("dos", when=at(1)))
    step = await stage.say(brief, REPLY, now=at(2))
    assert (step.state, step.brief, step.message_ids) == ("think", None, ())
    assert await _answers(stage) == ["due", "due"]
    assert (await stage.chat()).next_step_at is not None
    following = await stage.open_turn(now=at(3))
    assert [line.text for line in following.history] == ["uno", "dos"]
    assert len(await stage.close_turn(following, now=at(4))) == 1
    assert await _answers(stage) == ["answered", "answered"]
    turns = sorted(await stage.all(TurnRow), key=lambda row: row.id)
    assert [(turn.status, turn.reason, turn.recomposed) for turn in turns] == [
        ("dropped", "superseded", 0),
        ("closed", None, 1),
    ]


async def test_what_waited_too_long_for_its_turn_is_not_answered_any_more(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("uno"))
    await stage.receive(incoming("dos", when=minutes(10)), now=minutes(10))
    assert (await stage.look(now=minutes(369))).brief is not None
    assert (await stage.look(now=minutes(371))).brief is None
    assert await _answers(stage) == ["too_old", "too_old"]
    assert (await stage.chat()).next_step_at is None


async def test_slow_attempt_does_not_answer_again_what_a_later_turn_has_answered(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("uno"))
    slow = await stage.open_turn()
    await stage.receive(incoming("dos", when=at(1)))
    quick = await stage.open_turn(now=at(2))
    assert len(await stage.close_turn(quick, now=at(3))) == 1
    assert await stage.close_turn(slow, now=at(4)) == []
    assert await stage.close_turn(slow, now=at(5)) == []
    assert len([row for row in await stage.messages() if row.sender == "bot"]) == 1


async def test_slow_attempt_does_not_answer_what_a_human_has_dealt_with(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming(when=at(0)))
    slow = await stage.open_turn()
    await stage.receive(typed(when=at(10)), now=at(10))
    assert (await stage.look(now=at(11))).brief is None
    await stage.change(bot_enabled=True, now=at(20))
    assert await stage.close_turn(slow, now=at(21)) == []
    assert await stage.undelivered() == ("", [])


@pytest.mark.parametrize(
    ("change", "reason"), [({"untouchable": True}, "untouchable"), ({"bot_enabled": False}, "bot_off"), (None, "held")]
)
async def test_what_the_bot_may_not_answer_any_more_is_not_due_any_more(
    database: Database, change: dict[str, bool] | None, reason: str
) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming(when=at(0)))
    if change is None:
        await stage.receive(typed(when=at(10)), now=at(10))
    else:
        await stage.change(**change)
    assert (await stage.look(now=at(11))).brief is None
    assert await _answers(stage) == [reason]
    assert (await stage.chat()).next_step_at is None


async def test_turn_that_the_model_could_not_answer_is_dropped(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    brief = await stage.open_turn()
    await stage.receive(incoming())
    await stage.turns.fail_turn(brief.turn_id, "ModelRefused", "no answer", at(5))
    assert await _answers(stage) == ["failed", "due"]
    (turn,) = await stage.all(TurnRow)
    assert (turn.status, turn.reason, turn.closed_at) == ("dropped", "ModelRefused", at(5))
    assert await stage.close_turn(brief, now=at(6)) == []
    assert (await stage.look(now=at(6))).state == "rest"
    assert await _answers(stage) == ["failed", "held"]


async def test_chat_whose_turn_the_model_could_not_answer_is_left_to_a_human(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.open_conversation()
    await stage.record(sent(await stage.claim(accepted.send.id)))
    await stage.receive(incoming("sí", when=at(60)), now=at(60))
    brief = await stage.open_turn(now=at(61))
    for _ in range(2):
        await stage.turns.fail_turn(brief.turn_id, "ModelRefused", "no answer", at(65))
    chat = await stage.chat()
    assert (chat.taken_over_at, chat.takeover_until) == (at(65), at(65 + 120 * 60))
    assert (chat.handed_off_at, chat.conversation_id) == (None, None)
    (told,) = await stage.told(EventType.CHAT_HANDED_OFF)
    assert (told.data["jid"], told.data["reason"]) == (chat.jid, "no answer")
    (ended,) = await stage.told(EventType.CONVERSATION_ENDED)
    assert (ended.data["status"], ended.data["outcome"]) == ("handed_off", "error")
    assert (await stage.look(now=at(66))).holder is Holder.HUMAN
    after = at(66 + 120 * 60)
    await stage.receive(incoming("¿hola?", when=after), now=after)
    assert (await stage.look(now=after)).state == "think"


async def test_turn_that_is_closed_is_not_given_up_any_more(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    brief = await stage.open_turn()
    await stage.close_turn(brief, now=at(7))
    await stage.turns.fail_turn(brief.turn_id, "ModelRefused", "no answer", at(8))
    assert await _answers(stage) == ["answered"]
    assert (await stage.chat()).takeover_until is None


async def test_answer_that_no_store_can_hold_is_stored_without_it(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    brief = await stage.open_turn()
    (draft,) = await stage.close_turn(brief, "ho\x00la\ud83d")
    assert (await stage.message(draft)).text == "hola?"


async def test_unknown_turn_is_not_found(database: Database) -> None:
    stage = await set_stage(database)
    with pytest.raises(NotFound):
        await stage.turns.record_answer("trn_0", 0, ModelAnswer(text=REPLY), (REPLY,), NOW)
    with pytest.raises(NotFound):
        await stage.turns.fail_turn("trn_0", "x", "y", NOW)


async def test_draft_not_sent_yet_keeps_the_chat_due(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    await stage.answer()
    assert (await stage.look(now=at(60))).brief is None
    assert (await stage.chat()).next_step_at == at(60)


async def test_drafts_of_two_numbers_are_listed_one_number_at_a_time(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿tienen turno?"))
    first = await stage.answer()
    added = await stage.connections.create_connection(stage.business.id, Gateway.WHATSAPP, "5491100000000", NOW)
    epoch = await stage.connections.raise_epoch(added.id, NOW)
    await Stage(database, stage.business, added, epoch).receive(incoming("STOP"))
    (notice,) = [row.id for row in await stage.messages() if row.kind == "notice"]
    assert await stage.undelivered() == (stage.connection.id, [first])
    assert await stage.claim_message(notice) is None
    await stage.claim_message(first)
    assert await stage.undelivered() == (added.id, [notice])


async def test_history_holds_what_was_said_and_nothing_else(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.deliver(now=at(1))
    refused = await stage.claim((await stage.accept()).send.id, now=at(2))
    await stage.record(failed(refused))
    await stage.accept(expires_at=at(1))
    await stage.receive(incoming("hola", when=at(3)), now=at(3))
    brief = await stage.open_turn(now=at(4))
    assert [(line.sender, line.text) for line in brief.history] == [
        (Sender.API, f"hola {NUMBER}"),
        (Sender.CUSTOMER, "hola"),
    ]


async def test_turns_of_two_chats_do_not_mix(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("uno"), incoming("dos", number=OTHER))
    brief = await stage.open_turn()
    await stage.close_turn(brief)
    assert [line.text for line in (await stage.open_turn(OTHER)).history] == ["dos"]
    assert await _answers(stage) == ["answered", "due"]


# -------------------------------------------------------------------- openings


async def test_opening_is_written_as_instructed(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER, kind=SendKind.INSTRUCTION)
    ids = [one.message_id for one in accepted.recipients]
    first, second = await stage.turns.open_openings(ids, NOW)
    assert (first.opening, first.instruction, first.connection_id) == (True, f"hola {NUMBER}", stage.connection.id)
    assert second.instruction == f"hola {OTHER}"
    for text in (REPLY, "otra cosa"):
        assert (await stage.say(first, text)).state == "rest"
    assert [one.turn_id for one in await stage.turns.open_openings(ids, NOW)] == [second.turn_id]
    row = await stage.message(ids[0])
    assert (row.text, row.status, row.turn_id) == ("¡Hola!", "queued", None)
    assert await stage.undelivered() == ("", [])
    assert (await stage.claim(accepted.send.id)).text == "¡Hola!"


async def test_model_reads_nothing_of_a_chat_that_became_untouchable_while_its_opening_was_to_be_written(
    database: Database,
) -> None:
    """It was busy, and is asked again."""
    stage = await set_stage(database)
    accepted = await stage.accept(kind=SendKind.INSTRUCTION)
    ids = [one.message_id for one in accepted.recipients]
    assert len(await stage.turns.open_openings(ids, NOW)) == 1
    await stage.change(untouchable=True)
    assert await stage.turns.open_openings(ids, at(60)) == []
    assert isinstance(await stage.advance(accepted.send.id, now=at(61)), Idle)
    assert (await stage.message(ids[0])).error_code == "untouchable"


async def test_message_of_a_send_is_no_draft_of_its_chat(database: Database) -> None:
    stage = await set_stage(database)
    await stage.accept()
    assert await stage.undelivered() == ("", [])
    assert (await stage.look()).brief is None
    assert (await stage.chat()).next_step_at is None


async def test_answer_in_a_conversation_knows_its_instruction(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.open_conversation()
    await stage.record(sent(await stage.claim(accepted.send.id)))
    await stage.receive(incoming("sí, dale", when=at(60)), now=at(60))
    brief = await stage.open_turn(now=at(61))
    assert (brief.opening, brief.instruction) == (False, f"hola {NUMBER}")
    assert [line.sender for line in brief.history] == [Sender.BOT, Sender.CUSTOMER]
    await stage.close_turn(brief, now=at(62))
    (conversation,) = await stage.all(ConversationRow)
    assert (conversation.status, conversation.turns) == ("replying", 2)
    (received,) = await stage.told(EventType.MESSAGE_RECEIVED)
    assert received.data["conversationId"] == accepted.recipients[0].conversation_id


async def test_opening_that_nobody_could_write_fails_with_its_conversation(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(*numbers(2), kind=SendKind.INSTRUCTION)
    brief, _ = await stage.turns.open_openings([one.message_id for one in accepted.recipients], NOW)
    for _ in range(2):
        await stage.turns.fail_turn(brief.turn_id, "ModelRefused", "no answer", at(5))
    row = await stage.message(accepted.recipients[0].message_id)
    assert (row.status, row.error_code) == ("failed", "ModelRefused")
    conversation = next(one for one in await stage.all(ConversationRow) if one.chat_id == row.chat_id)
    assert (conversation.status, conversation.outcome, conversation.ended_at) == ("done", "error", at(5))
    assert len(await stage.told(EventType.CONVERSATION_ENDED)) == 1
    assert await stage.statuses_told() == ["failed"]
    step = await stage.advance(accepted.send.id)
    assert step == Idle(why="compose", message_ids=(accepted.recipients[1].message_id,))


async def test_opening_settled_while_the_model_wrote_stays_as_it_is(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(kind=SendKind.INSTRUCTION, expires_at=minutes(1))
    (brief,) = await stage.turns.open_openings([accepted.recipients[0].message_id], NOW)
    await stage.advance(accepted.send.id, now=minutes(2))
    await stage.close_turn(brief, now=minutes(3))
    assert await stage.status(accepted) in {MessageStatus.EXPIRED, MessageStatus.QUEUED}
    assert await stage.advance(accepted.send.id, now=minutes(4)) == Idle(why="done")
    assert await stage.status(accepted) is MessageStatus.EXPIRED


async def test_chat_that_is_owed_an_answer_stays_due_while_its_opening_is_written(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming(when=at(1)), now=at(1))
    await stage.open_conversation(accepted_at=at(2), now=at(2))
    assert (await stage.chat()).next_step_at == at(2)


async def test_what_is_owed_after_the_confirmation_of_an_opt_out_is_due_at_once(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿tienen turno?"), incoming("STOP"))
    step = await stage.look(now=at(1))
    assert (step.state, step.until) == ("send", at(1))


async def test_what_is_to_be_answered_stands_last_also_when_it_came_before_the_reply(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("uno"))
    draft = await stage.answer(now=at(2))
    attempt = await stage.claim_message(draft, now=at(3))
    assert attempt is not None
    await stage.receive(incoming("dos", when=at(1)), now=at(3))
    await stage.record(sent(attempt), now=at(3))
    following = await stage.open_turn(now=at(4))
    assert [line.text for line in following.history] == ["uno", "¡Hola! Soy el bot.", "dos"]
