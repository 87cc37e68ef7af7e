"""Every scenario is played to its expected end by its scripted model; its checks notice a model that does it wrong."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from bench.dialogues.loading import load_all
from bench.dialogues.models import ScriptedModel, do_not_sleep
from bench.dialogues.playing import play
from bench.dialogues.scenario import KINDS, Scenario, Wrong
from bench.dialogues.scores import score
from boton.domain.businesses import BotPurpose
from boton.llm.offline import OfflineAssistant
from boton.store.engine import Database

SCENARIOS = load_all()
OFFLINE = [scenario for scenario in SCENARIOS if scenario.offline]
WRONG = [(scenario, wrong) for scenario in SCENARIOS for wrong in scenario.wrong]
NOT_THE_MODELS = {"opted_out"}
"""Kinds of checks that no model can break: see test_checks."""


def name_of(value: object) -> str:
    return value.name if isinstance(value, Scenario) else ""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name_of)
async def test_scripted_model_passes_every_check(scenario: Scenario, store: Database) -> None:
    model = ScriptedModel(scenario.model)
    played = await play(scenario, model, store, sleep=do_not_sleep)
    assert [str(verdict) for verdict in score(played).failed] == []
    assert model.left == 0


@pytest.mark.parametrize(("scenario", "wrong"), WRONG, ids=name_of)
async def test_checks_notice_a_model_that_does_it_wrong(scenario: Scenario, wrong: Wrong, store: Database) -> None:
    played = await play(scenario, ScriptedModel(wrong.model), store, sleep=do_not_sleep)
    assert {verdict.check.kind for verdict in score(played).failed} == set(wrong.breaks)


@pytest.mark.parametrize("scenario", OFFLINE, ids=name_of)
async def test_offline_assistant_passes_what_is_marked_so(scenario: Scenario, store: Database) -> None:
    played = await play(scenario, OfflineAssistant(), store)
    assert [str(verdict) for verdict in score(played).failed] == []


def test_each_kind_of_check_is_shown_to_fail() -> None:
    assert {kind for _, wrong in WRONG for kind in wrong.breaks} == set(KINDS) - NOT_THE_MODELS


def test_scenarios_cover_what_was_promised() -> None:
    assert len(SCENARIOS) >= 20
    assert {scenario.business.purpose for scenario in SCENARIOS} == set(BotPurpose)
    assert min(Counter(scenario.language for scenario in SCENARIOS).values()) >= 5
    assert sum(scenario.name.startswith("injection-") for scenario in SCENARIOS) >= 5
    assert {scenario.instruction is None for scenario in SCENARIOS} == {True, False}


async def test_score_is_a_line_of_json_like_a_figure(store: Database) -> None:
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "language-changes")
    told = json.loads(score(await play(scenario, ScriptedModel(scenario.wrong[0].model), store)).to_json())
    assert told == {
        "name": "language-changes",
        "value": 4,
        "unit": "checks",
        "against": 5,
        "ratio": 0.8,
        "failed": ["language: en, afterTurn: 1"],
    }
