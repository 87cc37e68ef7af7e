"""GET /conversations, and cancelling one."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from boton.domain.messages import Lane
from boton.ports import ModelAnswer
from boton.store.assistant import SqlAssistantStore
from boton.store.outbox import SqlOutboxStore
from boton.store.tables import ChatRow
from boton.store.turns import SqlTurnStore
from tests.api.conftest import JUAN, JUAN_JID, FakeStarter, Tenant, check_problem
from tests.waiting import until

ANA = "5491198765432"


async def begin(tenant: Tenant, *numbers: str) -> dict[str, Any]:
    """POST /send with an instruction."""
    answer = await tenant.post("/send", {"to": list(numbers or (JUAN,)), "instruction": "Ofrece turno para manana"})
    assert answer.status_code == 202, answer.text
    sent: dict[str, Any] = answer.json()
    return sent


async def open_all(tenant: Tenant, send: dict[str, Any]) -> None:
    """The bot writes its openings, and they are claimed."""
    turns, outbox = SqlTurnStore(tenant.database), SqlOutboxStore(tenant.database)
    ids = [one["messageId"] for one in send["recipients"]]
    for brief in await turns.open_openings(ids, tenant.clock()):
        await turns.record_answer(brief.turn_id, 0, ModelAnswer(text="Hola"), ("Hola",), tenant.clock())
    await outbox.advance_send(
        send["id"],
        tenant.connection.id,
        tenant.epoch,
        Lane.SLOW,
        record=(),
        room=len(ids),
        flows=False,
        now=tenant.clock(),
    )


async def chat_id_of(tenant: Tenant) -> str:
    of_juan = select(col(ChatRow.id)).where(col(ChatRow.jid) == JUAN_JID)
    return await tenant.database.read(lambda session: session.execute(of_juan).scalar_one())


def id_of(send: dict[str, Any], place: int = 0) -> str:
    return str(send["recipients"][place]["conversationId"])


async def test_conversation_is_told_from_its_beginning(tenant: Tenant) -> None:
    send = await begin(tenant)
    found = (await tenant.get(f"/conversations/{id_of(send)}")).json()
    assert found == {
        "id": id_of(send),
        "jid": JUAN_JID,
        "instruction": "Ofrece turno para manana",
        "status": "opening",
        "outcome": None,
        "summary": None,
        "turns": 0,
        "reference": None,
        "createdAt": "2026-11-20T18:04:05.678Z",
        "endedAt": None,
    }
    await open_all(tenant, send)
    found = (await tenant.get(f"/conversations/{id_of(send)}")).json()
    assert (found["status"], found["turns"]) == ("waiting", 1)
    assert (await tenant.get(f"/chats/{JUAN_JID}")).json()["conversationId"] == id_of(send)


async def test_list_is_newest_first_and_paged(tenant: Tenant) -> None:
    sends = []
    for number in (JUAN, ANA):
        tenant.clock.advance(seconds=1)
        sends.append(await begin(tenant, number))
    page = (await tenant.get("/conversations", pageSize=1)).json()
    assert [one["id"] for one in page["conversations"]] == [id_of(sends[1])]
    assert (page["total"], page["page"], page["pageSize"], page["hasMore"]) == (2, 0, 1, True)
    last = (await tenant.get("/conversations", pageSize=1, page=1)).json()
    assert ([one["id"] for one in last["conversations"]], last["hasMore"]) == ([id_of(sends[0])], False)
    assert (await tenant.get("/conversations", pageSize=5000)).json()["pageSize"] == 50


async def test_list_is_filtered_by_chat_and_status(tenant: Tenant) -> None:
    first, second = await begin(tenant), await begin(tenant, ANA)
    await open_all(tenant, second)
    by_jid = (await tenant.get("/conversations", jid=f"{JUAN[:2]}{JUAN[3:]}@s.whatsapp.net")).json()
    assert [one["id"] for one in by_jid["conversations"]] == [id_of(first)]
    waiting = (await tenant.get("/conversations", status="waiting")).json()
    assert [one["id"] for one in waiting["conversations"]] == [id_of(second)]
    nobody = (await tenant.get("/conversations", jid="5491100000000@s.whatsapp.net")).json()
    assert (nobody["conversations"], nobody["total"]) == ([], 0)


@pytest.mark.parametrize("query", [{"status": "asleep"}, {"jid": "nobody"}, {"page": -1}, {"pageSize": "many"}])
async def test_bad_query_is_refused(tenant: Tenant, query: dict[str, Any]) -> None:
    check_problem(await tenant.get("/conversations", **query), 422)


async def test_other_business_sees_none_of_them(tenant: Tenant, stranger: Tenant) -> None:
    send = await begin(tenant)
    check_problem(await stranger.get(f"/conversations/{id_of(send)}"), 404)
    check_problem(await stranger.post(f"/conversations/{id_of(send)}/cancel", {}), 404)
    assert (await stranger.get("/conversations")).json()["total"] == 0
    check_problem(await tenant.get("/conversations/cnv_unknown"), 404)


async def test_cancel_before_the_opening_left_sends_nothing(tenant: Tenant, starter: FakeStarter) -> None:
    send = await begin(tenant, JUAN, ANA)
    cancelled = await tenant.post(f"/conversations/{id_of(send)}/cancel", {})
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert cancelled.json()["endedAt"] is not None
    recipients = (await tenant.get(f"/sends/{send['id']}/recipients")).json()["recipients"]
    assert [one["status"] for one in recipients] == ["cancelled", "queued"]
    assert recipients[0]["error"]["code"] == "conversation_cancelled"
    await until(lambda: starter.chats)
    again = await tenant.post(f"/conversations/{id_of(send)}/cancel", {})
    assert again.json() == cancelled.json()
    ended = [one for one in (await tenant.get("/events")).json()["events"] if one["type"] == "conversation.ended"]
    assert [one["data"]["status"] for one in ended] == ["cancelled"]
    await tenant.post(f"/conversations/{id_of(send, 1)}/cancel", {})
    assert (await tenant.get(f"/sends/{send['id']}")).json()["status"] == "finished"


async def test_cancel_takes_back_what_the_bot_had_ready_to_say(tenant: Tenant) -> None:
    send = await begin(tenant)
    await open_all(tenant, send)
    await tenant.hear("¿A qué hora?")
    turns = SqlTurnStore(tenant.database)
    step = await turns.advance_chat(await chat_id_of(tenant), tenant.clock())
    assert step.brief is not None
    await turns.record_answer(step.brief.turn_id, 0, ModelAnswer(text="A las 10"), ("A las 10",), tenant.clock())
    await tenant.post(f"/conversations/{id_of(send)}/cancel", {})
    messages = (await tenant.get(f"/chats/{JUAN_JID}/messages")).json()["messages"]
    assert [one["status"] for one in messages if one["text"] == "A las 10"] == ["cancelled"]
    assert (await tenant.get(f"/chats/{JUAN_JID}")).json()["conversationId"] is None


async def test_what_has_ended_cannot_be_cancelled(tenant: Tenant) -> None:
    send = await begin(tenant)
    await open_all(tenant, send)
    tenant.clock.advance(hours=73)
    await SqlTurnStore(tenant.database).advance_chat(await chat_id_of(tenant), tenant.clock())
    found = (await tenant.get(f"/conversations/{id_of(send)}")).json()
    assert (found["status"], found["outcome"]) == ("expired", "no_answer")
    problem = check_problem(await tenant.post(f"/conversations/{id_of(send)}/cancel", {}), 409)
    assert "expired" in problem["detail"]


async def test_status_tells_a_language_model_that_fails(tenant: Tenant) -> None:
    store = SqlAssistantStore(tenant.database)
    await store.note_assistant("check BOTON_LLM_API_KEY", tenant.clock())
    tenant.clock.advance(hours=1)
    await store.note_assistant("check BOTON_LLM_API_KEY", tenant.clock())
    assert (await tenant.get("/status")).json()["assistant"] == {
        "status": "failing",
        "reason": "check BOTON_LLM_API_KEY",
        "since": "2026-11-20T18:04:05.678Z",
    }
    await store.note_assistant(None, tenant.clock())
    assert (await tenant.get("/status")).json()["assistant"]["status"] == "ok"
