"""POST /send beyond the public document's examples: recipients, variables, times, and Temporal being away."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from api import starting
from api.starting import Launcher
from boton.domain.messages import Lane
from tests.api.conftest import JUAN, JUAN_JID, PATIENCE, FakeStarter, Tenant, check_problem
from tests.waiting import until


async def send(tenant: Tenant, to: Any, message: str = "Hola", **more: Any) -> dict[str, Any]:
    answer = await tenant.post("/send", {"to": to, "message": message, **more})
    assert answer.status_code == 202, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def texts(tenant: Tenant, jid: str) -> list[str]:
    messages = (await tenant.get(f"/chats/{jid}/messages")).json()["messages"]
    return [message["text"] for message in messages]


@pytest.mark.parametrize(
    "to", [JUAN, int(JUAN), "+54 9 11 1234-5678", "(54) 911 1234.5678", JUAN_JID, {"to": JUAN}, [{"to": int(JUAN)}]]
)
async def test_every_way_to_write_a_recipient(tenant: Tenant, to: Any) -> None:
    document = await send(tenant, to)
    assert [one["jid"] for one in document["recipients"]] == [JUAN_JID]


@pytest.mark.parametrize("to", ["12", "hello", "", "0111234567890", "99912345678", "120363000000000000@g.us", 12, -5])
async def test_wrong_recipients_are_listed_and_the_others_sent(tenant: Tenant, to: Any) -> None:
    document = await send(tenant, [JUAN, to])
    assert [one["to"] for one in document["recipients"]] == [JUAN]
    [rejected] = document["rejected"]
    assert rejected["to"] == str(to)
    assert rejected["error"]["code"] in {"invalid_number", "invalid_jid", "not_a_person"}
    detail = (await tenant.get(f"/sends/{document['id']}")).json()
    assert detail["rejected"] == document["rejected"]


async def test_when_all_are_rejected_nothing_is_stored(tenant: Tenant, starter: FakeStarter) -> None:
    problem = check_problem(await tenant.post("/send", {"to": ["12", "13"], "message": "Hola"}), 422)
    assert problem["code"] == "all_rejected"
    assert [one["to"] for one in problem["rejected"]] == ["12", "13"]
    assert problem["rejected"][0]["error"] == {
        "code": "invalid_number",
        "detail": "not a phone number with country code",
    }
    assert [error["path"] for error in problem["errors"]] == ["to.0", "to.1"]
    assert (await tenant.get("/sends")).json()["total"] == 0
    assert (await tenant.get("/chats")).json()["total"] == 0
    assert starter.sends == []


async def test_repeats_are_sent_once(tenant: Tenant) -> None:
    document = await send(tenant, [JUAN, "+" + JUAN, int(JUAN), JUAN_JID, "541112345678"])
    assert document["total"] == 1
    assert [one["to"] for one in document["recipients"]] == [JUAN]
    assert await texts(tenant, JUAN_JID) == ["Hola"]


async def test_mexican_spellings_are_one_customer(tenant: Tenant) -> None:
    document = await send(tenant, ["5215512345678", "525512345678"])
    assert [one["to"] for one in document["recipients"]] == ["5215512345678"]


@pytest.mark.parametrize(
    "to", [True, False, 1.5, None, [], [True], [1.5], [None], [[JUAN]], {}, {"to": True}, {"to": []}]
)
async def test_what_is_no_recipient_at_all(tenant: Tenant, to: Any) -> None:
    problem = check_problem(await tenant.post("/send", {"to": to, "message": "Hola"}), 422)
    assert problem["errors"][0]["path"].split(".")[0] == "to"


async def test_errors_name_the_entry(tenant: Tenant) -> None:
    body = {"to": [JUAN, True, {"to": JUAN, "varaibles": {}}], "message": "Hola"}
    problem = check_problem(await tenant.post("/send", body), 422)
    assert [error["path"] for error in problem["errors"]] == ["to.1", "to.2.varaibles"]


async def test_ten_thousand_recipients_are_the_most(tenant: Tenant) -> None:
    many = [5491100000000 + number for number in range(10_001)]
    problem = check_problem(await tenant.post("/send", {"to": many, "message": "Hola"}), 422)
    assert problem["errors"][0]["path"] == "to"


async def test_ten_thousand_recipients_do_not_keep_others_waiting(tenant: Tenant) -> None:
    """What counts is how long the event loop's own thread works without a pause: CPU time, whatever else runs. Tried
    three times, because a collection of garbage may have to walk through what all tests before this one have left.
    """
    stretches = [await _longest_stretch(tenant)]
    while stretches[-1] >= 0.1:
        assert len(stretches) < 3, stretches
        stretches.append(await _longest_stretch(tenant))


async def _longest_stretch(tenant: Tenant) -> float:
    """Seconds of the event loop's own work between two pauses, while a bulk is accepted."""
    many = [5491100000000 + number for number in range(10_000)]
    bulk = asyncio.create_task(send(tenant, many))
    longest = 0.0
    while not bulk.done():
        began = time.thread_time()
        await asyncio.sleep(0.001)
        longest = max(longest, time.thread_time() - began)
    document = await bulk
    assert document["total"] == len(document["recipients"]) == 10_000
    return longest


# ---------------------------------------------------------------- what


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"to": JUAN}, "message"),
        ({"to": JUAN, "message": "a", "instruction": "b"}, "message"),
        ({"to": JUAN, "message": ""}, "message"),
        ({"to": JUAN, "message": " \n\t "}, "message"),
        ({"to": JUAN, "instruction": "  "}, "instruction"),
        ({"to": JUAN, "message": "a" * 4097}, "message"),
        ({"to": JUAN, "message": 5}, "message"),
        ({"to": JUAN, "mesage": "a", "message": "a"}, "mesage"),
        ({"message": "a"}, "to"),
        ({"to": JUAN, "message": "a", "category": "spam"}, "category"),
        ({"to": JUAN, "message": "a", "respectQuietHours": "yes"}, "respectQuietHours"),
        ({"to": JUAN, "message": "a", "variables": {"name": None}}, "variables.name"),
        ({"to": JUAN, "message": "a", "variables": {"name": "x" * 4097}}, "variables.name"),
        ({"to": {"to": [JUAN]}, "message": "a"}, "to.to"),
        ({"to": {"to": JUAN, "variables": {"name": 1.5}}, "message": "a"}, "to.variables.name"),
        ({"to": JUAN, "message": "a\0b"}, "message"),
        ({"to": ["5491112345678", {"to": "a\0"}], "message": "a"}, "to.1.to"),
        ({"to": JUAN, "message": "a", "variables": {"name": "\0"}}, "variables.name"),
    ],
)
async def test_a_wrong_body_names_the_field(tenant: Tenant, body: dict[str, Any], path: str) -> None:
    problem = check_problem(await tenant.post("/send", body), 422)
    assert [error["path"] for error in problem["errors"]] == [path]
    assert (await tenant.get("/sends")).json()["total"] == 0


async def test_the_longest_message_is_kept_whole(tenant: Tenant) -> None:
    longest = "ñ" * 4095 + "😀"
    await send(tenant, JUAN, longest)
    assert await texts(tenant, JUAN_JID) == [longest]


async def test_lone_surrogates_are_refused(tenant: Tenant) -> None:
    raw = b'{"to": "5491112345678", "message": "\\ud83d"}'
    answer = await tenant.http.post("/api/v1/send", content=raw, headers={"Content-Type": "application/json"})
    assert check_problem(answer, 422)["errors"][0]["path"] == "message"


async def test_braces_are_text_without_variables(tenant: Tenant) -> None:
    await send(tenant, JUAN, "Hola {{name}}")
    assert await texts(tenant, JUAN_JID) == ["Hola {{name}}"]


async def test_variables_are_filled_in_and_the_recipients_win(tenant: Tenant) -> None:
    to = [{"to": JUAN, "variables": {"name": "Juan"}, "reference": "t-17"}, "5491198765432"]
    document = await send(tenant, to, "Hola {{name}}, {{ amount }}", variables={"name": "vos", "amount": 5})
    assert await texts(tenant, JUAN_JID) == ["Hola Juan, 5"]
    assert await texts(tenant, "5491198765432@s.whatsapp.net") == ["Hola vos, 5"]
    assert [one["reference"] for one in document["recipients"]] == ["t-17", None]


async def test_values_are_not_filled_in_again(tenant: Tenant) -> None:
    await send(tenant, JUAN, "{{a}}", variables={"a": "{{b}}", "b": "secret"})
    assert await texts(tenant, JUAN_JID) == ["{{b}}"]


async def test_a_missing_value_rejects_that_recipient_only(tenant: Tenant) -> None:
    to = [{"to": JUAN, "variables": {"name": "Juan"}}, "5491198765432"]
    document = await send(tenant, to, "Hola {{name}}")
    assert [one["to"] for one in document["recipients"]] == [JUAN]
    [rejected] = document["rejected"]
    assert (rejected["to"], rejected["error"]["code"]) == ("5491198765432", "missing_variable")
    assert "name" in rejected["error"]["detail"]


async def test_length_counts_after_filling_in(tenant: Tenant) -> None:
    to = [{"to": JUAN, "variables": {"x": "a" * 4096}}, {"to": "5491198765432", "variables": {"x": "a" * 4095}}]
    document = await send(tenant, to, "-{{x}}")
    assert [one["error"]["code"] for one in document["rejected"]] == ["too_long"]
    assert [one["to"] for one in document["recipients"]] == ["5491198765432"]


async def test_nothing_left_after_filling_in(tenant: Tenant) -> None:
    problem = check_problem(await tenant.post("/send", {"to": JUAN, "message": "{{x}}", "variables": {"x": " "}}), 422)
    assert problem["rejected"][0]["error"]["code"] == "empty"


# ---------------------------------------------------------------- when


async def test_send_at_in_the_future_is_scheduled(tenant: Tenant) -> None:
    document = await send(tenant, JUAN, sendAt="2026-12-01T15:00:00-03:00", expiresAt="2026-12-01T19:00:00Z")
    assert document["status"] == "scheduled"
    detail = (await tenant.get(f"/sends/{document['id']}")).json()
    assert (detail["status"], detail["sendAt"]) == ("scheduled", "2026-12-01T18:00:00.000Z")
    assert detail["expiresAt"] == "2026-12-01T19:00:00.000Z"


async def test_local_send_at_wants_a_timezone(tenant: Tenant) -> None:
    body = {"to": JUAN, "message": "Hola", "sendAt": "2026-12-01T15:00:00"}
    assert check_problem(await tenant.post("/send", body), 422)["errors"][0]["path"] == "sendAt"
    await tenant.post("/config", {"timezone": "America/Argentina/Buenos_Aires"})
    document = (await tenant.post("/send", body)).json()
    detail = (await tenant.get(f"/sends/{document['id']}")).json()
    assert detail["sendAt"] == "2026-12-01T18:00:00.000Z"


async def test_send_at_just_past_is_now(tenant: Tenant) -> None:
    document = await send(tenant, JUAN, sendAt="2026-11-20T18:00:00Z")
    assert document["status"] == "queued"


@pytest.mark.parametrize(
    "times",
    [
        {"sendAt": "2026-11-20T17:59:00Z"},
        {"sendAt": "tomorrow"},
        {"sendAt": 1800000000},
        {"sendAt": "2099-01-01T00:00:00Z"},
        {"sendAt": "9999-12-31T23:59:59-14:00"},
        {"sendAt": "0001-01-01T00:00:00+14:00"},
        {"expiresAt": "2026-11-20T18:00:00Z"},
        {"sendAt": "2026-12-01T15:00:00Z", "expiresAt": "2026-12-01T15:00:00Z"},
    ],
)
async def test_impossible_times(tenant: Tenant, times: dict[str, Any]) -> None:
    problem = check_problem(await tenant.post("/send", {"to": JUAN, "message": "Hola", **times}), 422)
    assert problem["errors"][0]["path"] in times


# ---------------------------------------------------------------- starting the workflow


async def test_the_workflow_is_started(tenant: Tenant, starter: FakeStarter) -> None:
    document = await send(tenant, JUAN)
    await until(lambda: starter.sends)
    assert starter.sends == [(document["id"], tenant.business.id, tenant.connection.id, (Lane.SLOW,))]


async def test_client_does_not_wait_for_temporal(tenant: Tenant, starter: FakeStarter) -> None:
    starter.hangs = True
    document = await asyncio.wait_for(send(tenant, JUAN), PATIENCE / 60)
    assert document["status"] == "queued"


@pytest.mark.parametrize("trouble", [RuntimeError("down"), None])
async def test_temporal_away_changes_nothing_for_the_client(
    tenant: Tenant,
    starter: FakeStarter,
    trouble: Exception | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starting, "_PATIENCE", 0.01)
    starter.trouble, starter.hangs = trouble, trouble is None
    document = await send(tenant, JUAN, "a very secret text")
    await until(lambda: caplog.records)
    assert document["status"] == "queued"
    assert "secret" not in caplog.text
    assert JUAN not in caplog.text


async def test_a_stopping_api_waits_for_starts_under_way(tenant: Tenant, starter: FakeStarter) -> None:
    launcher: Launcher = tenant.http._transport.app.state.launcher  # type: ignore[attr-defined]
    starter.trouble = RuntimeError("down")
    await send(tenant, JUAN)
    await launcher.finish()
    assert len(starter.sends) == 1


async def test_without_a_phone_it_is_a_conflict(tenant: Tenant) -> None:
    from boton.store.engine import Database

    database: Database = tenant.database
    await database.write(lambda session: session.connection().exec_driver_sql("UPDATE connection SET active = 0"))
    check_problem(await tenant.post("/send", {"to": JUAN, "message": "Hola"}), 409)
    assert (await tenant.get("/status")).json()["connected"] is False
    assert (await tenant.get("/connection")).json()["status"] == "none"


# ---------------------------------------------------------------- telling


async def test_sends_are_listed_newest_first_and_paged(tenant: Tenant) -> None:
    ids = []
    for _ in range(3):
        tenant.clock.advance(seconds=1)
        ids.append((await send(tenant, JUAN))["id"])
    first = (await tenant.get("/sends", pageSize=2)).json()
    second = (await tenant.get("/sends", page=1, pageSize=2)).json()
    assert [one["id"] for one in first["sends"] + second["sends"]] == ids[::-1]
    assert (first["total"], first["hasMore"], second["hasMore"]) == (3, True, False)


async def test_a_sends_detail_and_recipients(tenant: Tenant) -> None:
    to = [{"to": JUAN, "reference": "r1"}, "5491198765432"]
    document = await send(tenant, to)
    detail = (await tenant.get(f"/sends/{document['id']}")).json()
    assert detail["counts"]["queued"] == 2
    assert sum(detail["counts"].values()) == detail["total"] == 2
    assert detail["createdAt"] == "2026-11-20T18:04:05.678Z"
    assert (detail["startedAt"], detail["finishedAt"], detail["rate"]) == (None, None, None)
    page = (await tenant.get(f"/sends/{document['id']}/recipients")).json()
    assert page["total"] == 2
    assert page["recipients"][0] == {
        "to": JUAN,
        "jid": JUAN_JID,
        "messageId": document["recipients"][0]["messageId"],
        "status": "queued",
        "reference": "r1",
        "conversationId": None,
        "error": None,
        "sentAt": None,
        "repliedAt": None,
    }
