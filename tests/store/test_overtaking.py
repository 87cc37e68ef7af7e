"""What a customer or a human does while a turn is under way, and what a phone that was away finds when it is back."""

from __future__ import annotations

import pytest

from boton.domain.chats import Holder
from boton.domain.messages import MessageStatus
from boton.domain.tools import ScheduleFollowUp, ToolCall
from boton.ports import Idle
from boton.store.engine import Database
from tests.store.builders import at
from tests.store.stage import incoming, not_sent, sent, set_stage, typed
from tests.store.test_dialogues import (
    ACHIEVED,
    HAND_OFF,
    QUIET,
    _conversation,
    _dialogue,
    _follow_ups,
    _send,
    _turn,
    hours,
)

_CALL = ToolCall(id="call_1", name="hand_off_to_human", arguments="{}")
_PROMISE = ScheduleFollowUp(at=hours(30), text="¿Pudiste?")


async def test_next_turn_is_told_what_the_bot_has_said_meanwhile(database: Database) -> None:
    """The customer adds something while a reply that cannot be taken back is on its way."""
    stage = await _dialogue(database)
    (draft,) = await _turn(stage, "Listo, el martes.", effects=(_PROMISE,), now=hours(1))
    await stage.receive(incoming("¿y a qué hora?", when=hours(1.01)), now=hours(1.01))
    await _send(stage, draft, now=hours(1.02))
    brief = await stage.open_turn(now=hours(1.03))
    assert [line.text for line in brief.history][-2:] == ["Listo, el martes.", "¿y a qué hora?"]


@pytest.mark.parametrize("by_effect", [True, False], ids=["at its close", "at once"])
async def test_customer_who_takes_it_back_while_the_bot_writes_its_last_word_is_heard(
    database: Database, by_effect: bool
) -> None:
    """A tool whose effect comes with the close of the turn has done nothing yet; any other cannot be taken back."""
    stage = await _dialogue(database)
    await stage.receive(incoming("sí, dale", when=hours(1)), now=hours(1))
    brief = await stage.open_turn(now=hours(1))
    (key,) = (await stage.say(brief, calls=[_CALL], now=hours(1))).calls
    await stage.turns.answer_call(key, "hecho", ACHIEVED if by_effect else None, hours(1), ok=True)
    brief = await stage.open_turn(now=hours(1))
    await stage.receive(incoming("perdón, mejor no", when=hours(1.001)), now=hours(1.001))
    step = await stage.say(brief, "¡Nos vemos!", now=hours(1.002))
    assert (step.state, len(step.message_ids)) == (("think", 0) if by_effect else ("send", 1))
    assert (await _conversation(stage)).outcome is None
    if by_effect:
        assert (await stage.open_turn(now=hours(1.003))).history[-1].text == "perdón, mejor no"


async def test_turn_has_no_effect_once_a_human_holds_the_chat(database: Database) -> None:
    """Nobody has looked at the chat between the human's message and the model's last answer."""
    stage = await _dialogue(database)
    await stage.receive(incoming("quiero un descuento", when=hours(1)), now=hours(1))
    brief = await stage.open_turn(now=hours(1))
    (key,) = (await stage.say(brief, calls=[_CALL], now=hours(1))).calls
    await stage.turns.answer_call(key, "hecho", HAND_OFF, hours(1), ok=True)
    brief = await stage.open_turn(now=hours(1))
    await stage.receive(typed("yo te ayudo", when=hours(1.01)), now=hours(1.01))
    step = await stage.say(brief, "Te paso con una persona.", now=hours(1.02))
    assert step.message_ids == ()
    chat = await stage.chat()
    assert (chat.handed_off_at, chat.takeover_until) == (None, hours(3.01))
    assert (await stage.look(now=hours(1.03))).state == "rest"


@pytest.mark.parametrize("change", [{"bot_enabled": False}, {"untouchable": True}], ids=["off", "untouchable"])
async def test_turn_has_no_effect_once_the_bot_may_not_speak_in_the_chat(
    database: Database, change: dict[str, bool]
) -> None:
    stage = await _dialogue(database)
    await stage.receive(incoming("quiero un descuento", when=hours(1)), now=hours(1))
    brief = await stage.open_turn(now=hours(1))
    (key,) = (await stage.say(brief, calls=[_CALL], now=hours(1))).calls
    await stage.turns.answer_call(key, "hecho", HAND_OFF, hours(1), ok=True)
    brief = await stage.open_turn(now=hours(1))
    await stage.change(**change, now=hours(1.01))
    assert (await stage.say(brief, "Te paso con una persona.", now=hours(1.02))).message_ids == ()
    assert (await stage.chat()).handed_off_at is None


async def test_human_who_writes_while_the_bot_does_takes_over(database: Database) -> None:
    """Their message is older than the reply's last moment, and is recorded after it."""
    stage = await _dialogue(database)
    await stage.receive(incoming("¿cuánto sale?", when=hours(1)), now=hours(1))
    brief = await stage.open_turn(now=hours(1))
    (draft,) = await stage.close_turn(brief, "Sale 100.", now=hours(1.02))
    await stage.receive(typed("Sale 90.", when=hours(1.01)), now=hours(1.03))
    assert await stage.claim_message(draft, now=hours(1.04)) is None
    assert (await stage.message(draft)).error_code == "held_by_human"


async def test_human_whose_message_comes_late_takes_over_while_nothing_of_the_reply_has_left(
    database: Database,
) -> None:
    """They wrote before the turn was opened, and the network told it once the reply was written."""
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿cuánto sale?", when=at(0)), now=at(0))
    draft = await stage.answer(now=at(8))
    await stage.receive(typed("Sale 90.", when=at(6)), now=at(9))
    assert await stage.claim_message(draft, now=at(10)) is None
    assert (await stage.chat()).takeover_until is not None


@pytest.mark.parametrize("by", ["a PATCH", "an instruction"])
@pytest.mark.parametrize("written", [False, True], ids=["thinking", "written"])
async def test_chat_that_comes_back_at_once_is_not_answered_for_what_the_human_dealt_with(
    database: Database, by: str, written: bool
) -> None:
    """Nobody has looked at the chat while the human held it."""
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿cuánto sale?", when=at(0)), now=at(0))
    brief = await stage.open_turn(now=at(4))
    drafts = await stage.close_turn(brief, "Sale 100.", now=at(5)) if written else []
    await stage.receive(typed("Sale 90.", when=at(10)), now=at(10))
    if by == "a PATCH":
        await stage.change(bot_enabled=True, now=at(11))
    else:
        accepted = await stage.open_conversation(accepted_at=at(11), now=at(11))
        await stage.record(sent(await stage.claim(accepted.send.id, now=at(12)), now=at(12)), now=at(12))
    drafts += await stage.close_turn(brief, "Sale 100.", now=at(13))
    assert [await stage.claim_message(draft, now=at(14)) for draft in drafts] == [None] * len(drafts)
    step = await stage.look(now=at(15))
    assert (step.state, step.holder) == ("rest", Holder.BOT)


async def test_message_in_the_second_of_the_hand_off_is_a_human(database: Database) -> None:
    stage = await _dialogue(database)
    moment = hours(1).replace(microsecond=400_000)
    await _turn(stage, "Te paso con una persona.", effects=(HAND_OFF,), now=moment)
    assert (await stage.look(now=moment)).holder is Holder.HUMAN
    await stage.receive(typed("hola, soy Ana", when=moment.replace(microsecond=0)), now=moment)
    chat = await stage.chat()
    assert (chat.handed_off_at, chat.takeover_until) == (None, hours(3))


async def test_follow_up_that_waits_to_be_sent_goes_with_the_answer(database: Database) -> None:
    stage = await _dialogue(database, follow_ups=[{"afterHours": 24}])
    (draft,) = await stage.close_turn(await stage.open_turn(now=hours(24)), "¿Seguís ahí?", now=hours(24))
    await stage.receive(incoming("sí, acá estoy", when=hours(24.1)), now=hours(24.1))
    assert ((await stage.message(draft)).status, (await stage.message(draft)).error_code) == ("cancelled", "answered")
    assert (await stage.open_turn(now=hours(24.2))).history[-1].text == "sí, acá estoy"


async def test_follow_up_and_promise_expire_while_the_phone_is_away(database: Database) -> None:
    stage = await _dialogue(database, follow_ups=[{"afterHours": 24}])
    (draft,) = await stage.close_turn(await stage.open_turn(now=hours(24)), "¿Seguís ahí?", now=hours(24))
    assert await stage.claim_message(draft, now=hours(240)) is None
    assert (await stage.message(draft)).status == "expired"
    await stage.look(now=hours(241))
    assert (await _conversation(stage)).status == "expired"
    other = await _dialogue(database, follow_ups=[])
    await _send(other, *await _turn(other, "dale", effects=(_PROMISE, ACHIEVED), now=hours(1)), now=hours(1))
    (promised,) = (await other.look(now=hours(30))).message_ids
    assert await other.claim_message(promised, now=hours(300)) is None
    assert (await other.message(promised)).status == "expired"


async def test_opening_that_came_back_begins_its_dialogue_when_it_leaves(database: Database) -> None:
    stage = await _dialogue(database, follow_ups=[{"afterHours": 24}])
    accepted = await stage.open_conversation(accepted_at=at(1), now=at(1))
    attempt = await stage.claim(accepted.send.id, now=at(1))
    await stage.record(not_sent(attempt), now=at(2))
    conversation = await _conversation(stage)
    assert (conversation.status, conversation.deadline_at) == ("opening", None)
    assert all(status == "cancelled" for _, status, _ in await _follow_ups(stage))
    again = await stage.advance(accepted.send.id, now=hours(30))
    assert not isinstance(again, Idle)
    await stage.record(sent(again, now=hours(30)), now=hours(30))
    conversation = await _conversation(stage)
    assert (conversation.status, conversation.deadline_at) == ("waiting", hours(102))
    assert (hours(54), "pending", None) in await _follow_ups(stage)


async def test_chat_rests_until_the_end_of_quiet_hours_although_its_time_is_over(database: Database) -> None:
    stage = await _dialogue(database, **QUIET, follow_ups=[{"afterHours": 5.9}], conversation_hours=7)
    await stage.say(await stage.open_turn(now=hours(5.95)), "¿Pudiste verlo?", now=hours(6.1))
    assert (await stage.look(now=hours(8))).until == hours(17)
    assert (await _conversation(stage)).ended_at is None


async def test_promise_is_kept_whichever_tool_was_called_first(database: Database) -> None:
    stage = await _dialogue(database)
    await _turn(stage, "dale", effects=(ACHIEVED, _PROMISE), now=hours(1))
    assert (hours(30), "pending", _PROMISE.text) in await _follow_ups(stage)


async def test_reply_for_a_goal_that_was_replaced_is_written_anew(database: Database) -> None:
    stage = await _dialogue(database)
    (draft,) = await _turn(stage, "A las 10.", now=hours(1))
    accepted = await stage.open_conversation(accepted_at=hours(1.01), now=hours(1.01))
    await stage.record(sent(await stage.claim(accepted.send.id, now=hours(1.02)), now=hours(1.02)), now=hours(1.02))
    assert await stage.claim_message(draft, now=hours(1.03)) is None
    assert (await stage.message(draft)).status == MessageStatus.CANCELLED
    brief = await stage.open_turn(now=hours(1.04))
    assert brief.instruction is not None
    assert any(line.text == "sí, dale" for line in brief.history)
