"""How fast the number writes: `pacing` of POST /config, the slow lane, estimates, and what waits for all that."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from boton.store.tables import ConnectionRow, SendRow
from tests.api.conftest import JUAN, FakeStarter, Tenant, check_problem
from tests.waiting import until

FINE = {
    "profile": "normal",
    "fastGapSeconds": [0, 0.5],
    "slowGapSeconds": [10, 10],
    "dailyLimit": None,
    "warmUpFrom": 5,
    "warmUpDays": 0,
    "unansweredMarketing": None,
    "typing": False,
    "checkRecipients": True,
}


async def send(tenant: Tenant, count: int, **more: Any) -> dict[str, Any]:
    to = [str(5491100000000 + number) for number in range(count)]
    answer = await tenant.post("/send", {"to": to, "message": "Hola", **more})
    assert answer.status_code == 202, answer.text
    document: dict[str, Any] = answer.json()
    return document


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "pacing", [FINE, {"profile": "careful"}, {"dailyLimit": 30}, {"dailyLimit": None, "typing": True}, {}]
)
async def test_pacing_is_answered_as_it_was_given(tenant: Tenant, pacing: dict[str, Any]) -> None:
    await tenant.post("/config", {"pacing": FINE})
    assert (await tenant.post("/config", {"pacing": pacing})).json()["pacing"] == pacing
    document = (await tenant.get("/config")).json()
    assert document["pacing"] == pacing
    assert (await tenant.post("/config", document)).json() == document


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("profile", "reckless", "profile"),
        ("profile", None, "profile"),
        ("fastGapSeconds", [5, 3], "fastGapSeconds"),
        ("fastGapSeconds", None, "fastGapSeconds"),
        ("slowGapSeconds", [1], "slowGapSeconds"),
        ("slowGapSeconds", [1, 2, 3], "slowGapSeconds"),
        ("slowGapSeconds", [-1, 2], "slowGapSeconds.0"),
        ("slowGapSeconds", [1, 3601], "slowGapSeconds.1"),
        ("slowGapSeconds", ["1", 2], "slowGapSeconds.0"),
        ("slowGapSeconds", 20, "slowGapSeconds"),
        ("dailyLimit", 0, "dailyLimit"),
        ("dailyLimit", 1.5, "dailyLimit"),
        ("warmUpFrom", None, "warmUpFrom"),
        ("warmUpDays", 366, "warmUpDays"),
        ("unansweredMarketing", 0, "unansweredMarketing"),
        ("typing", 1, "typing"),
        ("checkRecipients", "yes", "checkRecipients"),
        ("dailylimit", 5, "dailylimit"),
    ],
)
async def test_wrong_pacing_is_named_and_changes_nothing(tenant: Tenant, field: str, value: Any, path: str) -> None:
    problem = check_problem(await tenant.post("/config", {"pacing": {**FINE, field: value}}), 422)
    assert [error["path"] for error in problem["errors"]] == [f"pacing.{path}"]
    assert (await tenant.get("/config")).json()["pacing"] is None


async def test_document_says_what_each_profile_is(tenant: Tenant) -> None:
    schema = (await tenant.http.get("/openapi.json")).json()["components"]["schemas"]["Pacing"]
    assert "required" not in schema
    assert "careful 200, normal 500, off null" in schema["properties"]["dailyLimit"]["description"]


# ---------------------------------------------------------------- how long it takes


async def test_nothing_is_estimated_where_nothing_is_paced(tenant: Tenant) -> None:
    accepted = await send(tenant, 3)
    assert (accepted["estimatedEnd"], accepted["warning"]) == (None, None)


async def test_end_is_estimated_at_the_pace_of_the_number(tenant: Tenant) -> None:
    await tenant.post("/config", {"pacing": {"profile": "careful", "slowGapSeconds": [30, 90]}})
    accepted = await send(tenant, 3)
    assert (accepted["estimatedEnd"], accepted["warning"]) == ("2026-11-20T18:07:05.678Z", None)
    tenant.clock.advance(minutes=1)
    detail = (await tenant.get(f"/sends/{accepted['id']}")).json()
    assert (detail["estimatedEnd"], detail["rate"]) == ("2026-11-20T18:08:05.678Z", None)
    paused = (await tenant.http.post(f"/api/v1/sends/{accepted['id']}/pause")).json()
    assert paused["estimatedEnd"] is None


async def test_known_contacts_do_not_take_the_slow_lanes_time(tenant: Tenant) -> None:
    await tenant.post("/config", {"pacing": {"fastGapSeconds": [2, 4], "slowGapSeconds": [60, 60]}})
    to = [{"to": JUAN, "known": True}, {"to": "5491198765432", "known": True}]
    accepted = (await tenant.post("/send", {"to": to, "message": "Hola"})).json()
    assert accepted["estimatedEnd"] == "2026-11-20T18:04:11.678Z"
    assert (await tenant.get(f"/chats/{JUAN}@s.whatsapp.net")).json()["known"] is True


async def test_more_than_a_day_deserves_a_warning_again_and_again(tenant: Tenant) -> None:
    await tenant.post("/config", {"pacing": {"profile": "careful"}})
    body = {"to": [str(5491100000000 + number) for number in range(50)], "message": "Hola"}
    headers = {"Idempotency-Key": "k1"}
    first = (await tenant.http.post("/api/v1/send", json=body, headers=headers)).json()
    end = datetime.fromisoformat(first["estimatedEnd"])
    assert end - tenant.clock() > timedelta(days=1)
    assert first["estimatedEnd"] in first["warning"]
    await tenant.post("/config", {"pacing": {"profile": "off"}})
    tenant.clock.advance(hours=5)
    assert (await tenant.http.post("/api/v1/send", json=body, headers=headers)).json() == first


async def test_scheduled_send_is_estimated_from_its_time_on(tenant: Tenant) -> None:
    await tenant.post("/config", {"pacing": {"slowGapSeconds": [60, 60]}})
    accepted = await send(tenant, 2, sendAt="2026-11-25T15:00:00Z")
    assert (accepted["estimatedEnd"], accepted["warning"]) == ("2026-11-25T15:02:00.000Z", None)


async def singles(tenant: Tenant, *numbers: int, **more: Any) -> list[dict[str, Any]]:
    """One send each."""
    return [
        (await tenant.post("/send", {"to": str(5491100000000 + one), "message": "Hola", **more})).json()
        for one in numbers
    ]


async def test_what_waits_before_it_takes_its_time_too(tenant: Tenant) -> None:
    await tenant.post("/config", {"pacing": {"slowGapSeconds": [60, 60]}})
    first, second, third = await singles(tenant, 1, 2, 3)
    ends = [one["estimatedEnd"] for one in (first, second, third)]
    assert ends == ["2026-11-20T18:05:05.678Z", "2026-11-20T18:06:05.678Z", "2026-11-20T18:07:05.678Z"]
    await tenant.http.post(f"/api/v1/sends/{first['id']}/cancel")
    await tenant.http.post(f"/api/v1/sends/{second['id']}/pause")
    assert (await tenant.get(f"/sends/{third['id']}")).json()["estimatedEnd"] == "2026-11-20T18:05:05.678Z"


async def test_thirtieth_first_contact_of_a_new_number_is_told_that_it_takes_days(tenant: Tenant) -> None:
    await tenant.post("/config", {"pacing": {"profile": "careful"}})
    *_, last = await singles(tenant, *range(50))
    assert datetime.fromisoformat(last["estimatedEnd"]) - tenant.clock() > timedelta(days=1)
    assert last["warning"]


async def test_end_heeds_who_goes_first_and_that_equals_take_turns(tenant: Tenant) -> None:
    await tenant.post("/config", {"pacing": {"slowGapSeconds": [60, 60]}})
    await send(tenant, 9, category="marketing")
    await send(tenant, 4)
    await send(tenant, 100, sendAt="2026-11-25T15:00:00Z")
    (confirmation,) = await singles(tenant, 200)
    (offer,) = await singles(tenant, 201, category="marketing")
    assert confirmation["estimatedEnd"] == "2026-11-20T18:06:05.678Z"
    assert offer["estimatedEnd"] == "2026-11-20T18:10:05.678Z"


# ---------------------------------------------------------------- how long it is worth sending


@pytest.mark.parametrize(
    ("more", "ttl"),
    [({}, 12 * 3600), ({"category": "marketing"}, None), ({"expiresAt": "2026-11-21T00:00:00Z"}, None)],
)
async def test_transactional_messages_live_as_long_as_the_business_says(
    tenant: Tenant, more: dict[str, Any], ttl: int | None
) -> None:
    await tenant.post("/config", {"sendTtlHours": 12})
    accepted = await send(tenant, 1, **more)
    row = await tenant.database.read(lambda session: session.get_one(SendRow, accepted["id"]).ttl_seconds)
    assert row == ttl


# ---------------------------------------------------------------- waiting


async def make_wait(tenant: Tenant, send_id: str) -> None:
    until = tenant.clock() + timedelta(hours=9)
    values = {"waiting": "daily_limit", "waiting_until": until, "status": "running", "next_step_at": until}
    await tenant.database.write(lambda session: session.execute(update(SendRow).values(values)) and None)
    document = (await tenant.get(f"/sends/{send_id}")).json()
    assert document["waiting"] == {"reason": "daily_limit", "until": "2026-11-21T03:04:05.678Z"}


@pytest.mark.parametrize(
    "change",
    [
        {"pacing": None},
        {"quietHours": {"start": "21:00", "end": "08:00"}},
        {"timezone": "America/Argentina/Buenos_Aires"},
        {"sendTtlHours": 5},
    ],
)
async def test_another_pace_wakes_what_waits_for_it(
    tenant: Tenant, starter: FakeStarter, change: dict[str, Any]
) -> None:
    send_id = (await send(tenant, 1))["id"]
    await make_wait(tenant, send_id)
    await tenant.post("/config", {"guardrails": "Nada de diagnósticos"})
    assert (await tenant.get(f"/sends/{send_id}")).json()["waiting"]["until"] == "2026-11-21T03:04:05.678Z"
    await tenant.post("/config", change)
    await until(lambda: starter.woken)
    assert starter.woken == [send_id]


async def test_when_temporal_is_away_the_sweeper_wakes_them(tenant: Tenant, starter: FakeStarter) -> None:
    ids = [(await send(tenant, 1))["id"] for _ in range(15)]
    await until(lambda: len(starter.sends) == len(ids))
    await make_wait(tenant, ids[0])
    starter.trouble = RuntimeError("down")
    await tenant.post("/config", {"sendTtlHours": 5})
    await until(lambda: starter.woken)
    await tenant.http._transport.app.state.launcher.finish()  # type: ignore[attr-defined]
    assert 1 <= len(starter.woken) <= 8, "the rest would fail likewise"
    rows = await tenant.database.read(lambda session: [session.get_one(SendRow, id).next_step_at for id in ids])
    assert rows == [tenant.clock()] * len(ids)


# ---------------------------------------------------------------- the slow lane


async def test_closed_slow_lane_says_why_and_is_opened(tenant: Tenant, starter: FakeStarter) -> None:
    send_id = (await send(tenant, 1))["id"]
    now = tenant.clock()
    closed = {
        "slow_closed_at": now,
        "slow_closed_until": now + timedelta(hours=24),
        "slow_closed_code": "463",
        "slow_closures": 1,
    }
    await tenant.database.write(lambda session: session.execute(update(ConnectionRow).values(closed)) and None)
    await make_wait(tenant, send_id)
    assert (await tenant.get("/status")).json()["slowLane"] == {
        "open": False,
        "reason": "WhatsApp does not let this number write to new contacts for now (463).",
        "code": "463",
        "reopensAt": "2026-11-21T18:04:05.678Z",
    }
    is_open = {"open": True, "reason": None, "code": None, "reopensAt": None}
    for _ in range(2):
        assert (await tenant.post("/connection/slow-lane", {"open": True})).json() == is_open
    assert (await tenant.get("/status")).json()["slowLane"] == is_open
    await until(lambda: send_id in starter.woken)


async def test_closure_ends_by_itself(tenant: Tenant) -> None:
    now = tenant.clock()
    closed = {"slow_closed_at": now, "slow_closed_until": now + timedelta(minutes=15), "slow_closed_code": "429"}
    await tenant.database.write(lambda session: session.execute(update(ConnectionRow).values(closed)) and None)
    assert (await tenant.get("/status")).json()["slowLane"]["code"] == "429"
    tenant.clock.advance(minutes=15)
    assert (await tenant.get("/status")).json()["slowLane"]["open"] is True


@pytest.mark.parametrize("body", [{"open": False}, {"open": 1}, {}, {"open": None}, {"closed": True}])
async def test_slow_lane_can_only_be_opened(tenant: Tenant, body: dict[str, Any]) -> None:
    check_problem(await tenant.post("/connection/slow-lane", body), 422)


async def test_business_without_a_phone_has_no_lane_to_open(tenant: Tenant) -> None:
    await tenant.database.write(lambda session: session.execute(update(ConnectionRow).values(active=False)) and None)
    check_problem(await tenant.post("/connection/slow-lane", {"open": True}), 409)
