"""Chats and messages: paging, one chat, changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import JUAN, JUAN_JID, Tenant, check_problem


async def test_chats_are_paged_newest_first(tenant: Tenant) -> None:
    numbers = [f"549110000000{digit}" for digit in range(3)]
    for number in numbers:
        await tenant.hear("hola", number=number)
    first = (await tenant.get("/chats", pageSize=2)).json()
    last = (await tenant.get("/chats", page=1, pageSize=2)).json()
    assert [chat["jid"].split("@")[0] for chat in first["chats"] + last["chats"]] == numbers[::-1]
    assert (first["hasMore"], last["hasMore"], last["total"]) == (True, False, 3)


async def test_a_large_page_size_is_lowered_and_told(tenant: Tenant) -> None:
    assert (await tenant.get("/chats", pageSize=5000)).json()["pageSize"] == 50
    assert (await tenant.get("/sends", pageSize=5000)).json()["pageSize"] == 50


@pytest.mark.parametrize("page", [10**6, 2**31, 2**63, 10**30])
async def test_a_page_far_beyond_the_end_is_empty(tenant: Tenant, page: int) -> None:
    await tenant.hear("hola")
    send = (await tenant.post("/send", {"to": JUAN, "message": "Hola"})).json()["id"]
    for path, things in (("/chats", "chats"), ("/sends", "sends"), (f"/sends/{send}/recipients", "recipients")):
        answer = await tenant.get(path, page=page)
        assert answer.status_code == 200
        assert (answer.json()[things], answer.json()["hasMore"], answer.json()["total"]) == ([], False, 1)


@pytest.mark.parametrize("query", [{"page": -1}, {"page": "x"}, {"pageSize": 0}, {"pageSize": -1}, {"page": ""}])
async def test_wrong_paging_is_named(tenant: Tenant, query: dict[str, Any]) -> None:
    problem = check_problem(await tenant.get("/chats", **query), 422)
    assert problem["errors"][0]["path"] == next(iter(query))


async def test_messages_are_the_newest_oldest_first(tenant: Tenant) -> None:
    for number in range(5):
        await tenant.hear(str(number))
    document = (await tenant.get(f"/chats/{JUAN_JID}/messages", limit=2)).json()
    assert [message["text"] for message in document["messages"]] == ["3", "4"]
    assert document["hasMore"] is True
    before = document["messages"][0]["id"]
    earlier = (await tenant.get(f"/chats/{JUAN_JID}/messages", limit=2, before=before)).json()
    assert [message["text"] for message in earlier["messages"]] == ["1", "2"]
    after = earlier["messages"][0]["id"]
    later = (await tenant.get(f"/chats/{JUAN_JID}/messages", after=after)).json()
    assert [message["text"] for message in later["messages"]] == ["2", "3", "4"]
    assert later["hasMore"] is False


async def test_a_large_limit_is_lowered_and_told(tenant: Tenant) -> None:
    await tenant.hear("hola")
    assert (await tenant.get(f"/chats/{JUAN_JID}/messages", limit=10**30)).json()["limit"] == 200
    assert (await tenant.get(f"/chats/{JUAN_JID}/messages")).json()["limit"] == 50


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "x"}, {"before": "a b"}, {"before": "a", "after": "b"}])
async def test_wrong_message_queries(tenant: Tenant, query: dict[str, Any]) -> None:
    await tenant.hear("hola")
    check_problem(await tenant.get(f"/chats/{JUAN_JID}/messages", **query), 422)


async def test_an_unknown_message_id(tenant: Tenant) -> None:
    await tenant.hear("hola")
    check_problem(await tenant.get(f"/chats/{JUAN_JID}/messages", before="msg_nope"), 404)


@pytest.mark.parametrize("jid", ["5491100000009@s.whatsapp.net", "nobody", "1@g.us", "%00", "a%00@lid", "x" * 90])
async def test_an_unknown_chat(tenant: Tenant, jid: str) -> None:
    check_problem(await tenant.get(f"/chats/{jid}"), 404)
    check_problem(await tenant.get(f"/chats/{jid}/messages"), 404)


async def test_spellings_lead_to_the_same_chat(tenant: Tenant) -> None:
    await tenant.hear("hola")
    for jid in ("541112345678@s.whatsapp.net", "5491112345678:7@s.whatsapp.net", "5491112345678@c.us"):
        assert (await tenant.get(f"/chats/{jid}")).json()["jid"] == JUAN_JID


async def test_one_chat(tenant: Tenant) -> None:
    await tenant.hear("hola", name="Juan")
    document = (await tenant.get(f"/chats/{JUAN_JID}")).json()
    assert document == {
        "jid": JUAN_JID,
        "name": "Juan",
        "lastMessage": {"text": "hola", "direction": "incoming", "timestamp": "2026-11-20T18:04:06.678Z"},
        "messageCount": 1,
        "botEnabled": True,
        "untouchable": False,
        "optedOut": False,
        "known": True,
        "heldBy": "bot",
        "takeoverUntil": None,
        "conversationId": None,
    }


async def test_a_change_of_a_chat_that_does_not_exist_creates_it(tenant: Tenant) -> None:
    answer = await tenant.patch("/chats/5491100000001@s.whatsapp.net", {"untouchable": True, "name": "Mamá"})
    assert answer.status_code == 200
    assert answer.json()["untouchable"] is True
    assert answer.json()["heldBy"] == "none"
    document = (await tenant.get("/chats/5491100000001@s.whatsapp.net")).json()
    assert (document["name"], document["lastMessage"], document["messageCount"]) == ("Mamá", None, 0)


async def test_a_change_sets_only_what_it_names(tenant: Tenant) -> None:
    await tenant.hear("hola", name="Juan")
    await tenant.patch(f"/chats/{JUAN_JID}", {"botEnabled": False})
    document = (await tenant.patch(f"/chats/{JUAN_JID}", {"optedOut": True})).json()
    assert (document["botEnabled"], document["optedOut"], document["name"]) == (False, True, "Juan")


@pytest.mark.parametrize(
    ("jid", "body", "path"),
    [
        (JUAN_JID, {"botEnabled": "yes"}, "botEnabled"),
        (JUAN_JID, {"botenabled": True}, "botenabled"),
        (JUAN_JID, {"name": ""}, "name"),
        (JUAN_JID, {"name": "a\0"}, "name"),
        (JUAN_JID, {"name": "x" * 201}, "name"),
        (JUAN_JID, [], "body"),
        ("1@g.us", {"untouchable": True}, "jid"),
        ("12", {"untouchable": True}, "jid"),
    ],
)
async def test_wrong_changes(tenant: Tenant, jid: str, body: Any, path: str) -> None:
    problem = check_problem(await tenant.patch(f"/chats/{jid}", body), 422)
    assert [error["path"] for error in problem["errors"]] == [path]
