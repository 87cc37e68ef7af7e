"""What follows from a turn: effects of tools, follow-ups, deadlines, and what stops the bot."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from boton.domain.chats import Holder
from boton.domain.conversations import ConversationOutcome, Occasion
from boton.domain.events import EventType
from boton.domain.tools import Effect, FinishConversation, HandOff, ScheduleFollowUp, ToolCall
from boton.store.engine import Database
from boton.store.tables import ConversationRow, FollowUpRow, TurnRow
from tests.store.builders import NOW, at
from tests.store.stage import Stage, failed, incoming, minutes, sent, set_stage, typed

ACHIEVED = FinishConversation(outcome=ConversationOutcome.ACHIEVED, summary="Viene el lunes a las 15.")
HAND_OFF = HandOff(reason="pide un descuento")
QUIET = {"timezone": "UTC", "quiet_hours": {"start": "21:00", "end": "08:00"}}


def hours(number: float) -> datetime:
    return minutes(number * 60)


async def _dialogue(database: Database, **config: Any) -> Stage:
    """An opening has left at NOW."""
    stage = await set_stage(database)
    if config:
        await stage.businesses.update_config(stage.business.id, config)
    await _open(stage)
    return stage


async def _open(stage: Stage, now: datetime = NOW) -> str:
    accepted = await stage.open_conversation(accepted_at=now, now=now)
    await stage.record(sent(await stage.claim(accepted.send.id, now=now), now=now), now=now)
    return accepted.recipients[0].conversation_id or ""


async def _turn(stage: Stage, *parts: str, effects: tuple[Effect, ...] = (), now: datetime) -> list[str]:
    """The customer writes, the model calls a tool for each effect and says the parts; the drafts."""
    await stage.receive(incoming("sí, dale", when=now), now=now)
    brief = await stage.open_turn(now=now)
    if effects:
        calls = [ToolCall(id=f"call_{place}", name="tool", arguments="{}") for place, _ in enumerate(effects)]
        step = await stage.say(brief, calls=calls, now=now)
        for key, effect in zip(step.calls, effects, strict=True):
            await stage.turns.answer_call(key, "hecho", effect, now, ok=True)
        brief = await stage.open_turn(now=now)
    return list((await stage.say(brief, *parts, now=now)).message_ids)


async def _send(stage: Stage, *message_ids: str, now: datetime) -> None:
    for message_id in message_ids:
        attempt = await stage.claim_message(message_id, now=now)
        assert attempt is not None
        await stage.record(sent(attempt, now=now), now=now)


async def _conversation(stage: Stage) -> ConversationRow:
    return max(await stage.all(ConversationRow), key=lambda row: row.id)


async def _follow_ups(stage: Stage) -> list[tuple[datetime, str, str | None]]:
    rows = sorted(await stage.all(FollowUpRow), key=lambda row: row.due_at)
    return [(row.due_at, row.status, row.text) for row in rows]


# ---------------------------------------------------------------- effects


async def test_finished_conversation_is_told_with_its_summary_when_the_turn_closes(database: Database) -> None:
    stage = await _dialogue(database)
    (draft,) = await _turn(stage, "¡Nos vemos el lunes!", effects=(ACHIEVED,), now=hours(1))
    conversation = await _conversation(stage)
    assert (conversation.status, conversation.outcome, conversation.summary, conversation.ended_at) == (
        "done",
        "achieved",
        ACHIEVED.summary,
        hours(1),
    )
    (ended,) = await stage.told(EventType.CONVERSATION_ENDED)
    assert (ended.data["outcome"], ended.data["summary"]) == ("achieved", ACHIEVED.summary)
    await _send(stage, draft, now=hours(1))
    assert (await stage.chat()).next_step_at is None
    assert (await stage.chat()).conversation_id is None


async def test_steps_tell_how_the_chat_stands_once_they_are_done_and_how_its_conversation_ended(
    database: Database,
) -> None:
    stage = await _dialogue(database, follow_ups=[])
    await stage.receive(incoming("¿a qué hora?", when=hours(1)), now=hours(1))
    step = await stage.say(await stage.open_turn(now=hours(1)), "A las 10.", now=hours(1))
    assert (step.state, step.conversation, step.ended) == ("send", "waiting", "")
    await _send(stage, *step.message_ids, now=hours(1))
    step = await stage.look(now=hours(72))
    assert (step.state, step.conversation, step.ended) == ("rest", None, "no_answer")
    assert (await stage.look(now=hours(72))).ended == ""
    await _open(stage, now=hours(73))
    await stage.receive(incoming("sí", when=hours(74)), now=hours(74))
    call = ToolCall(id="call_1", name="tool", arguments="{}")
    (key,) = (await stage.say(await stage.open_turn(now=hours(74)), calls=[call], now=hours(74))).calls
    await stage.turns.answer_call(key, "hecho", ACHIEVED, hours(74), ok=True)
    step = await stage.say(await stage.open_turn(now=hours(74)), "¡Nos vemos!", now=hours(74))
    assert (step.state, step.conversation, step.ended) == ("send", None, "achieved")


async def test_mere_ok_after_the_goal_is_not_answered_and_a_question_is(database: Database) -> None:
    stage = await _dialogue(database)
    await _send(stage, *await _turn(stage, "¡Nos vemos!", effects=(ACHIEVED,), now=hours(1)), now=hours(1))
    await stage.receive(incoming("ok", when=hours(2)), now=hours(2))
    assert (await stage.look(now=hours(2))).state == "rest"
    assert (await stage.messages())[-1].answer == "not_needed"
    await stage.receive(incoming("¿llevo algo?", when=hours(3)), now=hours(3))
    brief = await stage.open_turn(now=hours(3))
    assert (brief.goal_reached, brief.instruction, brief.earlier[-1].summary) == (True, None, ACHIEVED.summary)


async def test_second_ok_after_the_goal_is_not_answered_either(database: Database) -> None:
    stage = await _dialogue(database)
    await _send(stage, *await _turn(stage, "¡Nos vemos!", effects=(ACHIEVED,), now=hours(1)), now=hours(1))
    for text, when in (("ok", hours(2)), ("gracias", hours(3))):
        await stage.receive(incoming(text, when=when), now=when)
        assert (await stage.look(now=when)).state == "rest"
    assert [row.answer for row in (await stage.messages())[-2:]] == ["not_needed"] * 2


async def test_goal_of_an_opening_that_failed_was_never_reached(database: Database) -> None:
    """The customer knows nothing of it: they are answered as if it had not been."""
    stage = await set_stage(database, bot_new_chats=True)
    accepted = await stage.open_conversation()
    await stage.record(failed(await stage.claim(accepted.send.id)))
    assert (await _conversation(stage)).outcome == "error"
    await stage.receive(incoming("¿hay turnos?", when=hours(1)), now=hours(1))
    brief = await stage.open_turn(now=hours(1))
    assert (brief.goal_reached, brief.earlier) == (False, ())
    await _send(stage, *await stage.close_turn(brief, "Sí, ¿el martes?", now=hours(1)), now=hours(1))
    await stage.receive(incoming("dale", when=hours(2)), now=hours(2))
    assert (await stage.look(now=hours(2))).state == "think"


async def test_mere_ok_before_the_goal_is_answered(database: Database) -> None:
    stage = await _dialogue(database)
    await stage.receive(incoming("ok", when=hours(1)), now=hours(1))
    assert (await stage.look(now=hours(1))).state == "think"


@pytest.mark.parametrize(("said", "told"), [("Te escribe Ana.", "Te escribe Ana."), (None, None)])
async def test_hand_off_tells_the_customer_and_the_business(
    database: Database, said: str | None, told: str | None
) -> None:
    stage = await _dialogue(database)
    (draft,) = await _turn(stage, *filter(None, [said]), effects=(HAND_OFF,), now=hours(1))
    notice = await stage.message(draft)
    assert (notice.kind, notice.sender) == ("notice", "bot")
    assert notice.text == told if told is not None else notice.text
    chat, conversation = await stage.chat(), await _conversation(stage)
    assert (chat.handed_off_at, chat.handed_off_reason) == (hours(1), HAND_OFF.reason)
    assert (conversation.status, conversation.outcome) == ("handed_off", "handed_off")
    (handed_off,) = await stage.told(EventType.CHAT_HANDED_OFF)
    assert handed_off.data["reason"] == HAND_OFF.reason
    await _send(stage, draft, now=hours(1))


@pytest.mark.parametrize(
    ("wrote", "language", "told"),
    [
        ("I would like to talk to a person", None, "I am handing you over"),
        ("quiero hablar con una persona", "en", "Te paso con una persona"),
        ("quero falar com uma pessoa", "pt-BR", "Vou passar você"),
        ("???", "en", "I am handing you over"),
    ],
)
async def test_notice_of_a_hand_off_follows_the_customers_language(
    database: Database, wrote: str, language: str | None, told: str
) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.businesses.update_config(stage.business.id, {"language": language})
    await stage.receive(incoming(wrote))
    call = ToolCall(id="call_1", name="tool", arguments="{}")
    (key,) = (await stage.say(await stage.open_turn(), calls=[call])).calls
    await stage.turns.answer_call(key, "hecho", HAND_OFF, NOW, ok=True)
    (draft,) = (await stage.say(await stage.open_turn())).message_ids
    assert ((await stage.message(draft)).text or "").startswith(told)


@pytest.mark.parametrize("by", ["PATCH", "a human who writes"])
async def test_chat_that_was_handed_off_is_a_humans_until_it_is_handed_back(database: Database, by: str) -> None:
    stage = await _dialogue(database)
    await _send(stage, *await _turn(stage, effects=(HAND_OFF,), now=hours(1)), now=hours(1))
    await stage.receive(incoming("¿hola?", when=hours(50)), now=hours(50))
    step = await stage.look(now=hours(50))
    assert (step.state, step.holder, (await stage.messages())[-1].answer) == ("rest", Holder.HUMAN, "held")
    if by == "PATCH":
        await stage.change(bot_enabled=True, now=hours(51))
    else:
        await stage.receive(typed(when=hours(51)), now=hours(51))
    assert (await stage.chat()).handed_off_at is None
    again = hours(51) if by == "PATCH" else hours(53) + timedelta(seconds=1)
    await stage.receive(incoming("¿y?", when=again), now=again)
    assert (await stage.look(now=again)).state == "think"


async def test_failed_call_has_no_effect(database: Database) -> None:
    stage = await _dialogue(database)
    await stage.receive(incoming(when=hours(1)), now=hours(1))
    call = ToolCall(id="call_1", name="tool", arguments="{}")
    (key,) = (await stage.say(await stage.open_turn(now=hours(1)), calls=[call], now=hours(1))).calls
    await stage.turns.answer_call(key, "mal", HAND_OFF, hours(1), ok=False)
    await stage.say(await stage.open_turn(now=hours(1)), "sí", now=hours(1))
    assert (await stage.chat()).handed_off_at is None


async def test_turn_that_a_human_overtakes_has_no_effect(database: Database) -> None:
    stage = await _dialogue(database)
    await stage.receive(incoming(when=hours(1)), now=hours(1))
    call = ToolCall(id="call_1", name="tool", arguments="{}")
    (key,) = (await stage.say(await stage.open_turn(now=hours(1)), calls=[call], now=hours(1))).calls
    await stage.turns.answer_call(key, "hecho", ACHIEVED, hours(1), ok=True)
    brief = await stage.open_turn(now=hours(1))
    await stage.receive(typed(when=hours(1.1)), now=hours(1.1))
    await stage.look(now=hours(1.1))
    assert (await stage.say(brief, "¡Nos vemos!", now=hours(1.2))).message_ids == ()
    assert (await _conversation(stage)).outcome != "achieved"


# ---------------------------------------------------------------- follow-ups


async def test_follow_up_is_planned_with_the_opening_and_written_when_it_is_due(database: Database) -> None:
    stage = await _dialogue(database)
    assert await _follow_ups(stage) == [(hours(24), "pending", None)]
    assert (await stage.chat()).next_step_at == hours(24)
    assert (await stage.look(now=hours(23))).until == hours(24)
    brief = await stage.open_turn(now=hours(24))
    assert (brief.occasion, brief.instruction is not None) == (Occasion.FOLLOW_UP, True)
    assert (await stage.open_turn(now=hours(24))).turn_id == brief.turn_id
    (draft,) = await stage.close_turn(brief, "¿Pudiste verlo?", now=hours(24))
    assert (await stage.message(draft)).kind == "follow_up"
    await _send(stage, draft, now=hours(24))
    assert await _follow_ups(stage) == [(hours(24), "done", None)]
    assert (await stage.chat()).next_step_at == hours(72)


async def test_customer_who_answers_gets_no_follow_up(database: Database) -> None:
    stage = await _dialogue(database)
    await _send(stage, *await _turn(stage, "bien", now=hours(1)), now=hours(1))
    assert await _follow_ups(stage) == [(hours(24), "cancelled", None)]
    assert (await stage.look(now=hours(25))).state == "rest"


async def test_follow_up_that_the_customer_overtakes_is_not_said(database: Database) -> None:
    stage = await _dialogue(database)
    brief = await stage.open_turn(now=hours(24))
    await stage.receive(incoming("sí", when=hours(24.1)), now=hours(24.1))
    assert (await stage.say(brief, "¿Pudiste verlo?", now=hours(24.2))).message_ids == ()
    assert (await stage.open_turn(now=hours(24.2))).occasion is Occasion.REPLY


async def test_follow_up_is_moved_out_of_quiet_hours(database: Database) -> None:
    stage = await _dialogue(database, **QUIET, follow_ups=[{"afterHours": 8}])
    assert await _follow_ups(stage) == [(hours(17), "pending", None)]


async def test_follow_up_that_was_written_late_waits_for_the_end_of_quiet_hours(database: Database) -> None:
    stage = await _dialogue(database, **QUIET, follow_ups=[{"afterHours": 5.9}])
    brief = await stage.open_turn(now=hours(5.95))
    step = await stage.say(brief, "¿Pudiste verlo?", now=hours(6.1))
    assert (step.state, step.until) == ("rest", hours(17))
    assert (await stage.chat()).next_step_at == hours(17)
    assert (await stage.look(now=hours(17))).state == "send"


async def test_promised_follow_up_outlives_the_goal_and_is_sent_as_it_was_promised(database: Database) -> None:
    stage = await _dialogue(database)
    promise = ScheduleFollowUp(at=hours(100), text="¿Te sirvió?")
    await _send(stage, *await _turn(stage, "dale", effects=(promise, ACHIEVED), now=hours(1)), now=hours(1))
    assert (await _conversation(stage)).status == "done"
    assert (await stage.chat()).next_step_at == hours(100)
    (draft,) = (await stage.look(now=hours(100))).message_ids
    row = await stage.message(draft)
    assert (row.kind, row.text) == ("follow_up", "¿Te sirvió?")
    await _send(stage, draft, now=hours(100))
    assert (await stage.look(now=hours(101))).state == "rest"


async def test_conversation_lasts_until_what_the_bot_has_promised_can_be_answered(database: Database) -> None:
    stage = await _dialogue(database)
    promise = ScheduleFollowUp(at=hours(80), text="¿Te sirvió?")
    await _send(stage, *await _turn(stage, "dale", effects=(promise,), now=hours(1)), now=hours(1))
    assert (await stage.look(now=hours(72))).until == hours(80)
    await _send(stage, *(await stage.look(now=hours(80))).message_ids, now=hours(80))
    assert (await _conversation(stage)).status == "waiting"
    await stage.look(now=hours(152))
    assert (await _conversation(stage)).status == "expired"


@pytest.mark.parametrize("end", ["hand-off", "a new opening"])
async def test_promised_follow_up_goes_with_its_conversation(database: Database, end: str) -> None:
    stage = await _dialogue(database)
    promise = ScheduleFollowUp(at=hours(80), text="¿Te sirvió?")
    await _send(stage, *await _turn(stage, "dale", effects=(promise,), now=hours(1)), now=hours(1))
    match end:
        case "hand-off":
            await _turn(stage, effects=(HAND_OFF,), now=hours(2))
        case _:
            await _open(stage, now=hours(2))
    assert (hours(80), "cancelled", "¿Te sirvió?") in await _follow_ups(stage)


# ---------------------------------------------------------------- ends


async def test_conversation_without_an_answer_expires(database: Database) -> None:
    stage = await _dialogue(database, follow_ups=[])
    assert (await stage.look(now=hours(71))).until == hours(72)
    assert (await stage.look(now=hours(72))).state == "rest"
    conversation = await _conversation(stage)
    assert (conversation.status, conversation.outcome) == ("expired", "no_answer")
    (ended,) = await stage.told(EventType.CONVERSATION_ENDED)
    assert (ended.data["status"], ended.data["outcome"]) == ("expired", "no_answer")
    assert (await stage.chat()).next_step_at is None


async def test_new_opening_replaces_the_goal_and_keeps_the_history(database: Database) -> None:
    stage = await _dialogue(database)
    await _send(stage, *await _turn(stage, "bien", now=hours(1)), now=hours(1))
    second = await _open(stage, now=hours(2))
    assert sorted(row.status for row in await stage.all(ConversationRow)) == ["cancelled", "waiting"]
    assert (await stage.chat()).conversation_id == second
    await stage.receive(incoming("¿y ahora?", when=hours(3)), now=hours(3))
    brief = await stage.open_turn(now=hours(3))
    assert len(brief.history) == 5
    assert [one.status for one in brief.earlier] == ["cancelled"]


# ---------------------------------------------------------------- limits


async def test_turn_is_written_anew_at_most_twice(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("mensaje 0"))
    brief = await stage.open_turn()
    for place in (1, 2):
        await stage.receive(incoming(f"mensaje {place}", when=at(place)), now=at(place))
        assert (await stage.say(brief, "aquí estoy", now=at(place))).state == "think"
        brief = await stage.open_turn(now=at(place))
    await stage.receive(incoming("otro más", when=at(5)), now=at(5))
    step = await stage.say(brief, "aquí estoy", now=at(6))
    assert (step.state, step.until) == ("send", at(6))
    assert sorted(row.recomposed for row in await stage.all(TurnRow)) == [0, 1, 2]
    await _send(stage, *step.message_ids, now=at(7))
    following = await stage.open_turn(now=at(8))
    assert following.history[-1].text == "otro más"


async def test_what_comes_in_while_the_model_is_busy_is_answered_together_however_long_that_takes(
    database: Database,
) -> None:
    """Nothing was written in vain."""
    stage = await set_stage(database, bot_new_chats=True)
    for place in range(5):
        await stage.receive(incoming(f"mensaje {place}", when=minutes(place)), now=minutes(place))
        brief = await stage.open_turn(now=minutes(place))
    assert [line.text for line in brief.history] == [f"mensaje {place}" for place in range(5)]
    await stage.receive(incoming("otro más", when=minutes(6)), now=minutes(6))
    assert (await stage.say(brief, "aquí estoy", now=minutes(6))).state == "think"


async def test_queued_reply_that_the_customer_overtakes_is_written_anew(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("uno"))
    draft = await stage.answer()
    await stage.receive(incoming("dos", when=at(1)), now=at(1))
    brief = await stage.open_turn(now=at(2))
    assert [line.text for line in brief.history] == ["uno", "dos"]
    row = await stage.message(draft)
    assert (row.status, row.error_code) == ("cancelled", "superseded")


async def test_reply_of_which_a_part_was_claimed_is_sent_to_its_end(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("uno"))
    first, second = (await stage.say(await stage.open_turn(), "parte 1", "parte 2")).message_ids
    await _send(stage, first, now=at(1))
    await stage.receive(incoming("dos", when=at(2)), now=at(2))
    assert (await stage.look(now=at(3))).message_ids == (second,)


async def test_turn_whose_tool_has_done_something_is_not_written_anew(database: Database) -> None:
    stage = await _dialogue(database)
    drafts = await _turn(stage, "¡Nos vemos!", effects=(ACHIEVED,), now=hours(1))
    await stage.receive(incoming("dos", when=hours(2)), now=hours(2))
    assert list((await stage.look(now=hours(2))).message_ids) == drafts


async def test_takeover_between_the_parts_of_a_reply_cancels_the_rest(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("uno"))
    first, second = (await stage.say(await stage.open_turn(), "parte 1", "parte 2")).message_ids
    await _send(stage, first, now=at(10))
    await stage.receive(typed(when=at(20)), now=at(20))
    assert await stage.claim_message(second, now=at(21)) is None
    row = await stage.message(second)
    assert (row.status, row.error_code) == ("cancelled", "held_by_human")


async def test_reply_expires_when_the_message_is_too_old_to_be_answered(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming(when=at(5)), now=at(10))
    draft = await stage.answer(now=at(20))
    late = at(5) + timedelta(minutes=360)
    assert (await stage.message(draft)).expires_at == late
    assert await stage.claim_message(draft, now=late) is None
    assert (await stage.message(draft)).status == "expired"


async def test_bot_writes_at_most_ten_messages_without_an_answer(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    parts = [f"parte {number}" for number in range(11)]
    drafts = list((await stage.say(await stage.open_turn(), *parts)).message_ids)
    await _send(stage, *drafts[:10], now=at(1))
    assert await stage.claim_message(drafts[10], now=at(2)) is None
    assert (await stage.message(drafts[10])).error_code == "bot_unanswered"
    await stage.receive(incoming("¡basta!", when=at(60)), now=at(60))
    await _send(stage, await stage.answer(now=at(61)), now=at(62))


async def test_day_whose_tokens_are_used_up_leaves_the_chat_to_a_human(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.businesses.update_config(stage.business.id, {"daily_token_budget": 12, "timezone": "UTC"})
    await stage.receive(incoming())
    await _send(stage, await stage.answer(), now=at(1))
    await stage.receive(incoming(when=at(60)), now=at(60))
    step = await stage.look(now=at(61))
    assert (step.state, step.holder) == ("rest", Holder.HUMAN)
    (dropped,) = [row for row in await stage.all(TurnRow) if row.status == "dropped"]
    assert dropped.reason == "token_budget"
    assert len(await stage.told(EventType.CHAT_HANDED_OFF)) == 1
    tomorrow = hours(24)
    await stage.receive(incoming(when=tomorrow), now=tomorrow)
    assert (await stage.look(now=tomorrow)).state == "think"


async def test_day_of_the_tokens_ends_at_the_midnight_of_the_business(database: Database) -> None:
    """Half past nine in the evening in UTC-3 is another day in UTC."""
    stage = await set_stage(database, bot_new_chats=True)
    zone = "America/Argentina/Buenos_Aires"
    await stage.businesses.update_config(stage.business.id, {"daily_token_budget": 12, "timezone": zone})
    await stage.receive(incoming())
    await _send(stage, await stage.answer(), now=at(1))
    evening, after_midnight = hours(9.5), hours(12.01)
    await stage.receive(incoming(when=evening), now=evening)
    assert (await stage.look(now=evening)).holder is Holder.HUMAN
    await stage.receive(incoming(when=after_midnight), now=after_midnight)
    assert (await stage.look(now=after_midnight)).state == "think"
