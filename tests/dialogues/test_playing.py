"""The stage and the simulated customer: turns by condition, silence, failures of the model."""

from __future__ import annotations

from typing import Any

import pytest

from bench.dialogues.checks import find_fault
from bench.dialogues.customer import Heard, Script
from bench.dialogues.models import ScriptedModel, do_not_sleep
from bench.dialogues.playing import Played, play
from bench.dialogues.scenario import Check, Scenario, Turn
from bench.dialogues.transcript import Who
from bench.progress import BenchFailed
from boton.domain.conversations import ConversationOutcome
from boton.errors import ModelMisconfigured
from boton.ports import LanguageModel, ModelAnswer, Prompt
from boton.store.engine import Database

MISCONFIGURED = "The language model's server answered 401: check BOTON_LLM_API_KEY."


def a_scenario(*script: dict[str, Any], model: list[dict[str, Any]], **changes: Any) -> Scenario:
    values = {
        "name": "a-scenario",
        "about": "for a test",
        "language": "es",
        "business": {"name": "Mi Negocio"},
        "customer": {"name": "Juan", "goal": "none", "script": script},
        "checks": [{"language": "es"}],
        "model": model,
    }
    return Scenario.model_validate({**values, **changes})


async def play_script(scenario: Scenario, store: Database) -> Played:
    return await play(scenario, ScriptedModel(scenario.model), store, sleep=do_not_sleep)


def texts(played: Played, who: Who = Who.BOT) -> list[str]:
    return [entry.text for entry in played.entries if entry.who is who]


class NoKey(LanguageModel):
    async def answer(self, prompt: Prompt) -> ModelAnswer:
        raise ModelMisconfigured(MISCONFIGURED)

    async def close(self) -> None: ...


def test_turn_whose_condition_does_not_hold_is_passed_over_and_may_come_later() -> None:
    asked = {"when": {"says": "nombre"}, "say": "Juan"}
    script = Script([Turn.model_validate(turn) for turn in (asked, {"say": "hola"}, {"say": "chau"})])
    heard = [Heard(texts=[], ended=False), Heard(texts=["¿Tu nombre?"], ended=False), Heard(texts=["Ok"], ended=False)]
    turns = [script.take_next(each) for each in heard]
    assert [turn.say[0].text for turn in turns if turn is not None] == ["hola", "Juan", "chau"]
    assert script.take_next(heard[0]) is None


def test_conditions_of_a_turn_must_all_hold() -> None:
    turn = Turn.model_validate({"when": {"silent": True, "ended": False}, "say": "¿hola?"})
    assert Script([turn]).take_next(Heard(texts=[], ended=True)) is None
    assert Script([turn]).take_next(Heard(texts=["sí"], ended=False)) is None
    assert Script([turn]).take_next(Heard(texts=[], ended=False)) is turn


async def test_burst_is_answered_once(store: Database) -> None:
    played = await play_script(a_scenario({"say": ["hola", "una cosa"]}, model=[{"say": "Te leo."}]), store)
    assert (texts(played, Who.CUSTOMER), texts(played)) == (["hola", "una cosa"], ["Te leo."])


async def test_silence_lets_the_follow_up_and_the_end_come(store: Database) -> None:
    scenario = a_scenario(
        {"wait": "80h"}, instruction="Saludá.", model=[{"say": "Hola, ¿estás?"}, {"say": "¿Seguís ahí?"}]
    )
    played = await play_script(scenario, store)
    assert texts(played) == ["Hola, ¿estás?", "¿Seguís ahí?"]
    assert played.conversation is not None
    assert (played.conversation.outcome, played.ended_at_turn) == (ConversationOutcome.NO_ANSWER, 1)


async def test_model_that_fails_for_good_is_given_up_as_the_workflow_does(store: Database) -> None:
    played = await play_script(
        a_scenario(
            {"say": "hola"}, instruction="Saludá.", model=[{"say": "Hola."}, {"fails": "malformed", "times": 4}]
        ),
        store,
    )
    assert played.conversation is not None
    assert (played.conversation.outcome, played.holder) == (ConversationOutcome.ERROR, "human")


async def test_server_that_is_away_is_no_fault_of_the_model(store: Database) -> None:
    with pytest.raises(BenchFailed):
        await play_script(a_scenario({"say": "hola"}, model=[{"fails": "busy", "times": 4}]), store)


async def test_wrong_setting_is_told_and_nothing_is_scored(store: Database) -> None:
    with pytest.raises(BenchFailed, match="BOTON_LLM_API_KEY"):
        await play(a_scenario({"say": "hola"}, model=[]), NoKey(), store)


async def test_script_that_is_too_short_is_told(store: Database) -> None:
    with pytest.raises(BenchFailed, match="once more than it has answers"):
        await play_script(a_scenario({"say": "hola"}, model=[]), store)


async def test_silence_before_any_word_is_a_mistake_of_the_script(store: Database) -> None:
    with pytest.raises(BenchFailed, match="begin with a message"):
        await play_script(a_scenario({"wait": "24h"}, model=[]), store)


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ({"optedOut": True}, None),
        ({"optedOut": False}, "it was True"),
        ({"messagesAtMost": 0, "atTurn": 2}, None),
        ({"messagesAtMost": 0, "atTurn": 1}, "it were 1"),
        ({"says": "promocional", "afterTurn": 1}, "it did not"),
        ({"summary": "es"}, "there is none"),
        ({"endsByTurn": 2}, "it went on after turn 2"),
    ],
)
async def test_check_tells_what_was_seen_instead(check: dict[str, Any], fault: str | None, store: Database) -> None:
    played = await play_script(a_scenario({"say": "baja"}, {"say": "STOP"}, model=[]), store)
    assert find_fault(Check.model_validate(check), played) == fault


async def test_rules_are_recognised_in_part_and_the_business_is_no_secret(store: Database) -> None:
    business = {
        "name": "Mi Negocio",
        "description": "Abrimos de lunes a viernes de nueve a dieciocho y los sábados de nueve a trece horas.",
        "guardrails": "Nunca hables de la competencia.",
    }
    told = [business["description"], "Debo: nunca hables de la COMPETENCIA", "Uso hand_off_to_human"]
    scenario = a_scenario(*[{"say": "¿y?"}] * 3, model=[{"say": text} for text in told], business=business)
    played = await play_script(scenario, store)
    rules = [Check.model_validate({"keepsRules": True, "atTurn": turn}) for turn in (1, 2, 3)]
    faults = [find_fault(check, played) for check in rules]
    assert faults == [None, "at turn 2: nunca hables de la competencia", "at turn 3: hand_off_to_human"]
