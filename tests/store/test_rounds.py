"""The model's answers and its tools' are stored once, whatever crashes between two steps."""

from __future__ import annotations

from boton.domain.conversations import TurnBrief
from boton.domain.tools import HandOff, ToolCall
from boton.ports import CallKey, ModelAnswer
from boton.store.engine import Database
from boton.store.tables import RoundRow, TokenDayRow, ToolCallRow, TurnRow
from tests.store.builders import NOW, at
from tests.store.stage import Stage, incoming, set_stage

FIRST = ToolCall(id="call_1", name="hand_off_to_human", arguments='{"reason": "…"}')
SECOND = ToolCall(id="call_1", name="make_coffee", arguments="{")


async def _asked(database: Database) -> tuple[Stage, TurnBrief]:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    return stage, await stage.open_turn()


async def test_calls_are_found_again_after_a_crash_before_their_tools_ran(database: Database) -> None:
    stage, brief = await _asked(database)
    step = await stage.say(brief, calls=[FIRST, SECOND], now=at(1))
    keys = tuple(CallKey(brief.turn_id, 0, position) for position in (0, 1))
    assert (step.state, step.calls) == ("run", keys)
    again = await stage.look(now=at(2))
    assert (again.state, again.calls, again.brief) == ("run", keys, None)
    found = await stage.turns.fetch_call(keys[1])
    assert found is not None
    assert (found[0], found[1].turn_id, found[1].now) == (SECOND, brief.turn_id, brief.now)


async def test_round_that_is_half_answered_goes_on_with_the_other_half(database: Database) -> None:
    stage, brief = await _asked(database)
    step = await stage.say(brief, calls=[FIRST, SECOND])
    await stage.turns.answer_call(step.calls[0], "hecho", HandOff(reason="…"), at(1), ok=True)
    assert (await stage.look(now=at(2))).calls == step.calls[1:]
    await stage.turns.answer_call(step.calls[1], "no hay tal cosa", None, at(3), ok=False)
    brief = await stage.open_turn(now=at(4))
    (told,) = brief.rounds
    assert [(one.call, one.text, one.ok) for one in told.answers] == [
        (FIRST, "hecho", True),
        (SECOND, "no hay tal cosa", False),
    ]


async def test_call_is_answered_once(database: Database) -> None:
    stage, brief = await _asked(database)
    (key,) = (await stage.say(brief, calls=[FIRST])).calls
    await stage.turns.answer_call(key, "hecho", HandOff(reason="…"), at(1), ok=True)
    await stage.turns.answer_call(key, "otra cosa", None, at(2), ok=False)
    assert await stage.turns.fetch_call(key) is None
    (row,) = await stage.all(ToolCallRow)
    assert (row.answer, row.ok, row.answered_at) == ("hecho", True, at(1))
    assert row.effect == {"kind": "hand_off", "reason": "…"}


async def test_answer_that_was_asked_for_twice_counts_once_and_is_paid_for_twice(database: Database) -> None:
    stage, brief = await _asked(database)
    first = await stage.say(brief, calls=[FIRST], now=at(1))
    again = await stage.say(brief, "mejor no", now=at(2))
    assert (again.state, again.calls) == ("run", first.calls)
    (row,) = await stage.all(RoundRow)
    assert (row.number, row.calls, row.created_at) == (0, 1, at(1))
    (turn,) = await stage.all(TurnRow)
    assert (turn.status, turn.tokens_in, turn.tokens_out) == ("open", 20, 4)
    assert [day.tokens for day in await stage.all(TokenDayRow)] == [24]


async def test_second_answer_after_the_last_one_changes_nothing(database: Database) -> None:
    stage, brief = await _asked(database)
    first = await stage.say(brief, "uno", "dos")
    again = await stage.say(brief, calls=[FIRST])
    assert (again.state, again.message_ids) == ("send", first.message_ids)
    assert [row.text for row in await stage.messages() if row.kind == "reply"] == ["uno", "dos"]
    assert await stage.all(ToolCallRow) == []


async def test_call_that_nobody_made_is_not_found(database: Database) -> None:
    stage, brief = await _asked(database)
    assert await stage.turns.fetch_call(CallKey(brief.turn_id, 0, 0)) is None
    await stage.turns.answer_call(CallKey(brief.turn_id, 0, 0), "hecho", None, NOW, ok=True)
    assert await stage.all(ToolCallRow) == []


async def test_what_a_model_writes_that_no_store_can_hold_is_stored_without_it(database: Database) -> None:
    stage, brief = await _asked(database)
    call = ToolCall(id="call\x00", name="to\x00ol", arguments='{"a": "\ud83d"}')
    answer = ModelAnswer(text="un mo\x00mento", calls=(call,))
    (key,) = (await stage.turns.record_answer(brief.turn_id, 0, answer, (), NOW)).calls
    await stage.turns.answer_call(key, "no\x00", None, NOW, ok=False)
    (told,) = (await stage.open_turn()).rounds
    assert told.text == "un momento"
    assert [(one.call.id, one.call.name, one.text) for one in told.answers] == [("call", "tool", "no")]
