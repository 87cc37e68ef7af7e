"""GET and POST /config."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Tenant, check_problem

EVERYTHING = {
    "businessName": "Clínica Sol",
    "businessDescription": "Odontología",
    "botPurpose": "schedule",
    "guardrails": "Nada de diagnósticos",
    "customInstructions": "Tratá de vos",
    "botNewChats": True,
    "timezone": "America/Argentina/Buenos_Aires",
    "language": "es-AR",
    "takeoverMinutes": 30,
    "quietHours": {"start": "21:00", "end": "08:00"},
    "pacing": {"profile": "normal"},
    "debounceSeconds": 2.5,
    "followUps": [{"afterHours": 4}, {"afterHours": 48}],
    "conversationHours": 24,
    "optOutWords": ["BAJA"],
    "sendTtlHours": 12,
    "answerWithinMinutes": 60,
    "dailyTokenBudget": 250_000,
    "autoReplies": ["Ya te respondemos"],
}


async def test_everything_can_be_set_and_set_back(tenant: Tenant) -> None:
    defaults = (await tenant.get("/config")).json()
    assert set(defaults) == set(EVERYTHING)
    assert (await tenant.post("/config", EVERYTHING)).json() == EVERYTHING
    assert (await tenant.get("/config")).json() == EVERYTHING
    nothing = dict.fromkeys(set(EVERYTHING) - {"businessName"})
    back = (await tenant.post("/config", nothing)).json()
    assert back == defaults | {"businessName": "Clínica Sol", "botNewChats": False}


async def test_an_answer_can_be_posted_again(tenant: Tenant) -> None:
    document = (await tenant.get("/config")).json()
    assert (await tenant.post("/config", document)).json() == document


async def test_what_is_left_out_stays(tenant: Tenant) -> None:
    await tenant.post("/config", EVERYTHING)
    assert (await tenant.post("/config", {"takeoverMinutes": 5})).json() == EVERYTHING | {"takeoverMinutes": 5}
    assert (await tenant.post("/config", {})).json()["takeoverMinutes"] == 5


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("businessName", "", "businessName"),
        ("businessName", "  ", "businessName"),
        ("businessName", None, "businessName"),
        ("businessName", "x" * 201, "businessName"),
        ("guardrails", "x" * 8001, "guardrails"),
        ("guardrails", "\0", "guardrails"),
        ("botPurpose", "dance", "botPurpose"),
        ("botNewChats", 1, "botNewChats"),
        ("timezone", "Mars/Olympus", "timezone"),
        ("timezone", "../../etc/passwd", "timezone"),
        ("timezone", "America", "timezone"),
        ("timezone", "", "timezone"),
        ("language", "Spanish", "language"),
        ("takeoverMinutes", 0, "takeoverMinutes"),
        ("takeoverMinutes", 2**63, "takeoverMinutes"),
        ("takeoverMinutes", 1.5, "takeoverMinutes"),
        ("quietHours", {"start": "25:00", "end": "08:00"}, "quietHours.start"),
        ("quietHours", {"start": "21:00"}, "quietHours.end"),
        ("quietHours", {"start": "08:00", "end": "08:00"}, "quietHours"),
        ("pacing", {"profile": "reckless"}, "pacing.profile"),
        ("debounceSeconds", -1, "debounceSeconds"),
        ("debounceSeconds", 21, "debounceSeconds"),
        ("followUps", [{"afterHours": 0}], "followUps.0.afterHours"),
        ("followUps", [{"afterHours": 1}] * 6, "followUps"),
        ("optOutWords", [""], "optOutWords.0"),
        ("optOutWords", "BAJA", "optOutWords"),
        ("conversationHours", 0, "conversationHours"),
        ("sendTtlHours", 10_000, "sendTtlHours"),
        ("answerWithinMinutes", 0, "answerWithinMinutes"),
        ("dailyTokenBudget", -1, "dailyTokenBudget"),
        ("autoReplies", ["x"] * 51, "autoReplies"),
        ("customInstruction", "typo", "customInstruction"),
        ("bot_purpose", "attend", "bot_purpose"),
    ],
)
async def test_wrong_values_are_named_and_change_nothing(tenant: Tenant, field: str, value: Any, path: str) -> None:
    before = (await tenant.get("/config")).json()
    problem = check_problem(await tenant.post("/config", {"guardrails": "new", field: value}), 422)
    assert [error["path"] for error in problem["errors"]] == [path]
    assert (await tenant.get("/config")).json() == before


@pytest.mark.parametrize("raw", [b'{"debounceSeconds": NaN}', b'{"debounceSeconds": Infinity}'])
async def test_numbers_that_are_none(tenant: Tenant, raw: bytes) -> None:
    answer = await tenant.http.post("/api/v1/config", content=raw, headers={"Content-Type": "application/json"})
    check_problem(answer, 422)
