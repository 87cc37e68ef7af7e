"""POST /sends/{id}/pause, /resume and /cancel."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from boton.store.tables import MessageRow, SendRow
from tests.api.conftest import JUAN, FakeStarter, Tenant, check_problem
from tests.waiting import until


async def accept(tenant: Tenant, **more: Any) -> str:
    answer = await tenant.post("/send", {"to": [JUAN, "5491198765432"], "message": "Hola", **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def change(tenant: Tenant, send_id: str, how: str) -> dict[str, Any]:
    answer = await tenant.http.post(f"/api/v1/sends/{send_id}/{how}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert document == (await tenant.get(f"/sends/{send_id}")).json()
    return document


async def test_pause_and_resume_answer_the_send_and_wake_its_workflow(tenant: Tenant, starter: FakeStarter) -> None:
    send_id = await accept(tenant)
    for _ in range(2):
        paused = await change(tenant, send_id, "pause")
        assert (paused["status"], paused["waiting"], paused["hold"]) == ("paused", None, None)
    for _ in range(2):
        assert (await change(tenant, send_id, "resume"))["status"] == "queued"
    await until(lambda: starter.woken == [send_id] * 4)


async def test_scheduled_send_is_scheduled_again_when_it_is_resumed(tenant: Tenant) -> None:
    send_id = await accept(tenant, sendAt="2026-12-01T15:00:00Z")
    scheduled = (await tenant.get(f"/sends/{send_id}")).json()
    assert scheduled["waiting"] == {"reason": "scheduled", "until": "2026-12-01T15:00:00.000Z"}
    assert (await change(tenant, send_id, "pause"))["waiting"] is None
    resumed = await change(tenant, send_id, "resume")
    assert (resumed["status"], resumed["waiting"]) == ("scheduled", scheduled["waiting"])


async def test_cancel_leaves_a_full_account(tenant: Tenant) -> None:
    send_id = await accept(tenant)
    for _ in range(2):
        cancelled = await change(tenant, send_id, "cancel")
        assert (cancelled["status"], cancelled["counts"]["cancelled"]) == ("cancelled", 2)
        assert sum(cancelled["counts"].values()) == cancelled["total"]
        assert cancelled["finishedAt"] == "2026-11-20T18:04:05.678Z"
    recipients = (await tenant.get(f"/sends/{send_id}/recipients")).json()["recipients"]
    assert {(one["status"], one["error"]["code"]) for one in recipients} == {("cancelled", "send_cancelled")}
    for how in ("pause", "resume"):
        check_problem(await tenant.http.post(f"/api/v1/sends/{send_id}/{how}"), 409)
    events = (await tenant.get("/events")).json()["events"]
    assert [event["data"]["status"] for event in events if event["type"] == "send.finished"] == ["cancelled"]


async def test_what_is_over_is_not_woken(tenant: Tenant, starter: FakeStarter) -> None:
    await change(tenant, await accept(tenant), "cancel")
    await until(lambda: starter.sends)
    assert starter.woken == []


async def test_finished_send_is_a_conflict(tenant: Tenant) -> None:
    send_id = await accept(tenant)
    await tenant.database.write(
        lambda session: [
            session.execute(update(SendRow).values(status="finished", next_step_at=None)),
            session.execute(update(MessageRow).values(status="sent")),
        ]
    )
    for how in ("pause", "resume", "cancel"):
        problem = check_problem(await tenant.http.post(f"/api/v1/sends/{send_id}/{how}"), 409)
        assert send_id in problem["detail"]


@pytest.mark.parametrize("how", ["pause", "resume", "cancel"])
async def test_nobody_elses_send(tenant: Tenant, stranger: Tenant, how: str) -> None:
    send_id = await accept(tenant)
    check_problem(await stranger.http.post(f"/api/v1/sends/{send_id}/{how}"), 404)
    check_problem(await stranger.http.post(f"/api/v1/sends/snd_none/{how}"), 404)
    assert (await tenant.get(f"/sends/{send_id}")).json()["status"] == "queued"


async def test_held_send_says_why(tenant: Tenant) -> None:
    send_id = await accept(tenant)
    await tenant.database.write(
        lambda session: session.execute(update(SendRow).values(status="paused", hold="restored")) and None
    )
    assert (await tenant.get(f"/sends/{send_id}")).json()["hold"] == "restored"
    assert (await change(tenant, send_id, "resume"))["hold"] is None


async def test_sends_are_listed_by_status(tenant: Tenant) -> None:
    paused, queued = await accept(tenant), await accept(tenant)
    await change(tenant, paused, "pause")
    for status, ids in (("paused", [paused]), ("queued", [queued]), ("finished", [])):
        document = (await tenant.get("/sends", status=status)).json()
        assert ([one["id"] for one in document["sends"]], document["total"]) == (ids, len(ids))
    check_problem(await tenant.get("/sends", status="sleeping"), 422)
