"""What a model may do, and what it is told when it calls wrongly."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from boton.domain.conversations import ConversationOutcome, TurnBrief
from boton.domain.tools import (
    Effect,
    FinishConversation,
    HandOff,
    ScheduleFollowUp,
    ToolCall,
    effect_from_json,
    effect_to_json,
)
from boton.llm.own_tools import OWN_TOOLS
from boton.llm.purposes import FINISH, FOLLOW_UP, HAND_OFF
from boton.llm.tools import ToolOutcome, ToolRegistry
from boton.ports import ToolSpec
from tests.llm.briefs import NOW, brief, customer

REGISTRY = ToolRegistry(OWN_TOOLS)
OPEN = brief(customer("sí"), instruction="Ofrece turno", config={"timezone": "America/Argentina/Buenos_Aires"})
SECRET = "mi-dolencia-privada"


async def call(name: str, arguments: Any, turn: TurnBrief = OPEN) -> ToolOutcome:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return await REGISTRY.run(ToolCall(id="1", name=name, arguments=text), turn)


def offered(turn: TurnBrief) -> list[str]:
    return [spec.name for spec in REGISTRY.offered(turn)]


def test_conversation_tools_need_an_open_conversation() -> None:
    assert offered(OPEN) == [FINISH, HAND_OFF, FOLLOW_UP]
    assert offered(brief(customer("hola"))) == [HAND_OFF]
    assert offered(brief(customer("hola"), instruction="Ofrece turno", goal_reached=True)) == [HAND_OFF]


@pytest.mark.parametrize("outcome", ["achieved", "declined", "no_answer"])
async def test_conversation_is_finished_with_its_outcome(outcome: str) -> None:
    done = await call(FINISH, {"outcome": outcome, "summary": " Turno el lunes a las 10. \u0000"})
    assert done.ok
    assert done.effect == FinishConversation(outcome=ConversationOutcome(outcome), summary="Turno el lunes a las 10.")


async def test_chat_is_handed_off_with_a_reason() -> None:
    done = await call(HAND_OFF, {"reason": "pide un reembolso"}, brief(customer("hola")))
    assert done.effect == HandOff(reason="pide un reembolso")


@pytest.mark.parametrize(
    ("at", "utc"),
    [
        ("2026-03-03T10:00", datetime(2026, 3, 3, 13, tzinfo=UTC)),
        ("2026-03-03 10:00:30", datetime(2026, 3, 3, 13, 0, 30, tzinfo=UTC)),
        ("2026-03-03T10:00Z", datetime(2026, 3, 3, 10, tzinfo=UTC)),
        ("2026-03-03T10:00:00+02:00", datetime(2026, 3, 3, 8, tzinfo=UTC)),
    ],
)
async def test_follow_up_is_at_the_business_local_time_unless_it_says_otherwise(at: str, utc: datetime) -> None:
    done = await call(FOLLOW_UP, {"at": at, "text": "¿Pudiste verlo?"})
    assert done.effect == ScheduleFollowUp(at=utc, text="¿Pudiste verlo?")


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-03-02T11:30", "must be in the future"),
        ("2026-03-01T10:00", "must be in the future"),
        ("2026-04-02T10:00", "at most 30 days"),
        ("9999-12-31T23:59", "at: "),
        ("0001-01-01T00:00+14:00", "at: "),
        ("2026-02-30T10:00", "no such day or hour"),
        ("2026-03-03T10:00Z and then", "no such day or hour"),
        ("2026-03-03", "at: "),
        ("mañana", "at: "),
        (1772600000, "at: "),
        (None, "at: "),
    ],
)
async def test_follow_up_at_a_wrong_time_is_told_so(at: object, told: str) -> None:
    done = await call(FOLLOW_UP, {"at": at, "text": "Hola"})
    assert (done.ok, done.effect) == (False, None)
    assert told in done.text


@pytest.mark.parametrize("days", [30, timedelta(minutes=1) / timedelta(days=1)])
async def test_follow_up_may_be_soon_and_up_to_thirty_days_away(days: float) -> None:
    assert (await call(FOLLOW_UP, {"at": (NOW + timedelta(days=days)).isoformat(), "text": "Hola"})).ok


MALFORMED = {
    "empty": "",
    "no JSON": "outcome: achieved",
    "cut JSON": '{"outcome": "achi',
    "surrogate": '{"outcome": "achieved", "summary": "\ud83d"',
    "escaped surrogate": '{"outcome": "achieved", "summary": "\\ud83d"',
    "a list": "[]",
    "a string": '"achieved"',
    "null": "null",
    "deep": "[" * 100_000,
    "unknown outcome": {"outcome": "error", "summary": "x"},
    "nothing": {},
    "no summary": {"outcome": "achieved"},
    "empty summary": {"outcome": "achieved", "summary": " \u200b "},
    "long summary": {"outcome": "achieved", "summary": "x" * 1001},
    "summary is a number": {"outcome": "achieved", "summary": 7},
    "one field too many": {"outcome": "achieved", "summary": "x", "refund": 100},
}


@pytest.mark.parametrize("arguments", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_does_not_fit_is_answered_with_what_to_change(arguments: Any) -> None:
    done = await call(FINISH, arguments)
    assert (done.ok, done.effect) == (False, None)
    assert done.text.startswith("Nothing was done. Call again")
    assert len(done.text) <= 1000


async def test_faults_name_the_field_and_hide_the_value() -> None:
    done = await call(FINISH, {"outcome": SECRET, "summary": SECRET * 100})
    assert "outcome: " in done.text
    assert "'achieved', 'declined' or 'no_answer'" in done.text
    assert "summary: " in done.text
    assert SECRET not in done.text


@pytest.mark.parametrize("name", ["send_money", "", FINISH.upper(), "x" * 5000])
async def test_unknown_tool_is_answered_with_those_there_are(name: str) -> None:
    done = await call(name, {})
    assert (done.ok, done.effect) == (False, None)
    assert f"You may call: {FINISH}, {HAND_OFF}, {FOLLOW_UP}." in done.text
    assert len(done.text) < 300


async def test_tool_that_is_not_offered_does_nothing() -> None:
    done = await call(FINISH, {"outcome": "achieved", "summary": "x"}, brief(customer("hola")))
    assert (done.ok, done.effect) == (False, None)
    assert f"You may call: {HAND_OFF}." in done.text


def test_schemas_are_flat_and_closed() -> None:
    for spec in REGISTRY.offered(OPEN):
        told = json.dumps(spec.parameters)
        assert "$" not in told
        assert spec.parameters["type"] == "object"
        assert spec.parameters["additionalProperties"] is False
        assert set(spec.parameters["required"]) == set(spec.parameters["properties"])
    finish = REGISTRY.offered(OPEN)[0].parameters["properties"]["outcome"]
    assert finish["enum"] == ["achieved", "declined", "no_answer"]


async def test_a_business_may_have_tools_of_its_own() -> None:
    class Prices:
        spec = ToolSpec(name="find_price", description="…", parameters={"type": "object", "properties": {}})

        def is_offered(self, brief: TurnBrief) -> bool:
            return True

        async def run(self, call: ToolCall, brief: TurnBrief) -> ToolOutcome:
            return ToolOutcome(text="$ 100", ok=True)

    registry = ToolRegistry([*OWN_TOOLS, Prices()])
    done = await registry.run(ToolCall(id="1", name="find_price", arguments="{}"), brief(customer("¿precio?")))
    assert (done.ok, done.text, done.effect) == (True, "$ 100", None)


@pytest.mark.parametrize(
    "effect",
    [
        FinishConversation(outcome=ConversationOutcome.DECLINED, summary="No quiso."),
        HandOff(reason="pide a Ana"),
        ScheduleFollowUp(at=NOW, text="¿Y?"),
    ],
)
def test_effects_survive_the_store(effect: Effect) -> None:
    assert effect_from_json(json.loads(json.dumps(effect_to_json(effect)))) == effect


@pytest.mark.parametrize("stored", [{}, {"kind": "refund"}, {"kind": "finish", "outcome": "x", "summary": ""}])
def test_unknown_effect_is_an_error(stored: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        effect_from_json(stored)
