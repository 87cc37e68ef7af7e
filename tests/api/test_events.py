"""GET /events: order, pages and the long poll."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from api.services import Services
from boton.domain.events import KEPT_FOR
from boton.store.work import SqlWorkStore
from tests.api.conftest import JUAN_JID, Tenant, ask, check_problem, replaced


async def heard(tenant: Tenant, **query: Any) -> dict[str, Any]:
    document: dict[str, Any] = (await tenant.get("/events", **query)).json()
    return document


async def test_a_reader_gets_every_event_in_order(tenant: Tenant) -> None:
    for number in range(5):
        await tenant.hear(str(number))
    seen, after = [], 0
    while True:
        page = await heard(tenant, after=after, limit=2)
        assert len(page["events"]) <= 2
        seen += page["events"]
        after = page["lastSeq"]
        if not page["hasMore"]:
            break
    assert [event["seq"] for event in seen] == sorted({event["seq"] for event in seen})
    received = [event for event in seen if event["type"] == "message.received"]
    assert [event["data"]["text"] for event in received] == ["0", "1", "2", "3", "4"]
    assert received[0]["data"]["jid"] == JUAN_JID
    assert received[0]["at"].endswith("Z")


async def test_nothing_new_answers_where_the_reader_was(tenant: Tenant) -> None:
    newest = (await heard(tenant))["lastSeq"]
    page = await heard(tenant, after=newest)
    assert (page["events"], page["lastSeq"], page["hasMore"]) == ([], newest, False)


async def test_a_large_limit_is_lowered_and_told(tenant: Tenant) -> None:
    assert (await heard(tenant, limit=10**9))["limit"] == 1000


@pytest.mark.parametrize(
    "query", [{"after": -1}, {"after": "x"}, {"after": 2**63}, {"limit": 0}, {"wait": -1}, {"wait": "nan"}]
)
async def test_wrong_queries(tenant: Tenant, query: dict[str, Any]) -> None:
    check_problem(await tenant.get("/events", **query), 422)


async def test_the_long_poll_answers_as_soon_as_something_happens(tenant: Tenant) -> None:
    newest = (await heard(tenant))["lastSeq"]
    began = time.perf_counter()
    poll = asyncio.create_task(heard(tenant, after=newest, wait=30))
    await asyncio.sleep(0)
    await tenant.hear("hola")
    page = await poll
    assert [event["data"]["text"] for event in page["events"]] == ["hola"]
    assert time.perf_counter() - began < 25


async def test_the_long_poll_ends_with_its_time(tenant: Tenant) -> None:
    newest = (await heard(tenant))["lastSeq"]
    began = time.perf_counter()
    page = await heard(tenant, after=newest, wait=0.5)
    assert page["events"] == []
    assert 0.5 <= time.perf_counter() - began < 25


async def test_the_long_poll_ends_when_the_server_stops(tenant: Tenant, services: Services) -> None:
    newest = (await heard(tenant))["lastSeq"]
    stopping = asyncio.Event()
    app = replaced(services, is_stopping=stopping.is_set)
    async with ask(app, headers=dict(tenant.http.headers)) as http, asyncio.timeout(25):
        poll = asyncio.create_task(http.get("/api/v1/events", params={"after": newest, "wait": 30}))
        await asyncio.sleep(0)
        stopping.set()
        assert (await poll).json()["events"] == []


async def test_events_that_are_gone(tenant: Tenant) -> None:
    await tenant.hear("hola")
    tenant.clock.at += KEPT_FOR * 2
    await tenant.hear("again")
    await SqlWorkStore(tenant.database).purge(tenant.clock())
    problem = check_problem(await tenant.get("/events", after=1), 410)
    assert problem["code"] == "events_gone"


async def test_many_who_wait_look_at_the_store_as_one(tenant: Tenant, services: Services) -> None:
    newest = (await heard(tenant))["lastSeq"]
    polls = [asyncio.create_task(heard(tenant, after=newest, wait=30)) for _ in range(50)]
    while len(services.bell.waiting) == 0 or services.bell.waiting[tenant.business.id] < 50:
        await asyncio.sleep(0.01)
    await tenant.hear("hola")
    async with asyncio.timeout(25):
        pages = await asyncio.gather(*polls)
    assert [event["data"]["text"] for page in pages for event in page["events"]] == ["hola"] * 50
    assert services.bell.waiting == {}
