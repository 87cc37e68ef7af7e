"""Health, metrics, and the documents about the API."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from temporalio import activity, workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from api import health
from api.health import Down
from api.services import Check, Services
from boton import names
from boton.domain.connections import ConnectionStatus
from boton.temporal import TemporalAddress, connect
from tests.api.conftest import JUAN, Tenant, ask, check_problem, replaced
from tests.temporal_server import TemporalServer
from tests.waiting import eventually


async def works() -> None:
    return None


async def breaks() -> None:
    raise OSError("secret path")


async def hangs() -> None:
    await asyncio.Event().wait()


async def is_down() -> None:
    raise Down("start it")


async def test_live(anyone: httpx.AsyncClient) -> None:
    assert (await anyone.get("/health/live")).json() == {"status": "ok"}


async def test_ready(anyone: httpx.AsyncClient, checks: dict[str, Check]) -> None:
    checks.update(store=works, temporal=works)
    answer = await anyone.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "parts": {"store": "ok", "temporal": "ok"}}


async def test_ready_names_what_is_down_and_does_not_wait_for_it(
    anyone: httpx.AsyncClient, checks: dict[str, Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_PATIENCE", 1.0)
    last_one_is_asked = asyncio.Event()

    async def hangs_last() -> None:
        last_one_is_asked.set()
        await hangs()

    checks.update(temporal=hangs, workers=is_down, connections=breaks, store=last_one_is_asked.wait, more=hangs_last)
    answer = await anyone.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "down",
        "parts": {
            "store": "ok",
            "temporal": "down: no answer within 1 s",
            "workers": "down: start it",
            "connections": "down: OSError",
            "more": "down: no answer within 1 s",
        },
    }


async def test_a_temporal_that_is_not_there(services: Services, tenant: Tenant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = await connect(TemporalAddress(target=f"127.0.0.1:{port}"), lazy=True)
    checks: dict[str, Check] = {
        "store": health.check_store(services.businesses),
        "temporal": health.check_temporal(client),
        "workers": health.check_workers(client),
    }
    parts = await health.inspect(checks)
    assert parts["store"] == "ok"
    for part in ("temporal", "workers"):
        assert parts[part] in {"down: Temporal does not answer", "down: no answer within 1 s"}


async def test_workers_and_hosts_are_seen_by_their_polls(services: Services, tenant: Tenant) -> None:
    server = TemporalServer()
    try:
        client = await server.connect()
        checks: dict[str, Check] = {
            "temporal": health.check_temporal(client),
            "workers": health.check_workers(client),
            "connections": health.check_connections(client),
        }
        missing = {
            "temporal": "ok",
            "workers": "down: no worker is running; start `boton worker`",
            "connections": "down: no connection host is running; start `boton connections`",
        }
        await eventually(lambda: health.inspect(checks), lambda told: told == missing)
        work = Worker(
            client, task_queue=names.WORK_QUEUE, workflows=[Nothing], workflow_runner=UnsandboxedWorkflowRunner()
        )
        host = Worker(client, task_queue=names.CONNECTIONS_QUEUE, activities=[do_nothing])
        async with work, host:
            await eventually(lambda: health.inspect(checks), lambda told: set(told.values()) == {"ok"})
    finally:
        server.kill()


@workflow.defn
class Nothing:
    @workflow.run
    async def run(self) -> None: ...


@activity.defn
async def do_nothing() -> None: ...


async def test_a_number_that_is_away_is_told_and_leaves_the_api_ready(
    services: Services, tenant: Tenant, checks: dict[str, Check], anyone: httpx.AsyncClient
) -> None:
    await tenant.connect(ConnectionStatus.DISCONNECTED)
    checks[health.NUMBERS] = health.check_numbers(services.connections)
    answer = await anyone.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["parts"]["numbers"] == "down: 1 of 1 phone numbers not connected"


# ---------------------------------------------------------------- metrics


async def test_metrics_count_requests_by_route_and_hold_no_number(tenant: Tenant, anyone: httpx.AsyncClient) -> None:
    await tenant.hear("hola")
    await tenant.get(f"/chats/{JUAN}@s.whatsapp.net")
    await tenant.get(f"/chats/{JUAN}@s.whatsapp.net/messages")
    await tenant.post("/send", {"to": "12", "message": "Hola"})
    await tenant.http.get(f"/nothing/{JUAN}")
    await tenant.http.request("BREW", "/api/v1/status")
    text = (await anyone.get("/metrics")).text
    assert JUAN not in text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["boton_http_requests"].samples
        if sample.name.endswith("_total")
    }
    assert counted["GET", "/api/v1/chats/{jid}", "200"] == 1
    assert counted["GET", "/api/v1/chats/{jid}/messages", "200"] == 1
    assert counted["POST", "/api/v1/send", "422"] == 1
    assert counted["GET", "none", "404"] == 1
    assert any(method == "other" for method, _, _ in counted)


async def test_metrics_of_a_public_api_want_a_token(services: Services, tenant: Tenant) -> None:
    async with ask(replaced(services, public=True)) as http:
        check_problem(await http.get("/metrics"), 401)
        check_problem(await http.get("/metrics", headers={"Authorization": "Bearer nope"}), 401)
        answer = await http.get("/metrics", headers={"Authorization": f"Bearer {tenant.token}"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


# ---------------------------------------------------------------- documents


async def test_docs_need_nothing_from_elsewhere(anyone: httpx.AsyncClient) -> None:
    page = await anyone.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/docs/{asset}" in page.text
        assert (await anyone.get(f"/docs/{asset}")).status_code == 200


async def test_openapi_examples_work_when_sent(anyone: httpx.AsyncClient, tenant: Tenant) -> None:
    document = (await anyone.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/api/v1/status",
        "/api/v1/connection",
        "/api/v1/connection/qr.png",
        "/api/v1/connection/qr.svg",
        "/api/v1/connection/slow-lane",
        "/api/v1/held",
        "/api/v1/held/cancel",
        "/api/v1/held/resume",
        "/api/v1/chats",
        "/api/v1/chats/{jid}",
        "/api/v1/chats/{jid}/messages",
        "/api/v1/send",
        "/api/v1/sends",
        "/api/v1/sends/{id}",
        "/api/v1/sends/{id}/recipients",
        "/api/v1/sends/{id}/pause",
        "/api/v1/sends/{id}/resume",
        "/api/v1/sends/{id}/cancel",
        "/api/v1/conversations",
        "/api/v1/conversations/{id}",
        "/api/v1/conversations/{id}/cancel",
        "/api/v1/config",
        "/api/v1/reminders",
        "/api/v1/reminders/{id}",
        "/api/v1/events",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    tried = 0
    told = [("/api/v1/send", "post"), ("/api/v1/config", "post"), ("/api/v1/chats/{jid}", "patch")]
    for path, method in (*told, ("/api/v1/connection", "post")):
        examples = document["paths"][path][method]["requestBody"]["content"]["application/json"]["examples"]
        for example in examples.values():
            answer = await tenant.http.request(method, path.format(jid=JUAN), json=example["value"])
            assert answer.is_success, answer.text
            tried += 1
    assert tried >= 8


async def test_every_reference_of_the_openapi_document_leads_somewhere(app: FastAPI) -> None:
    document = app.openapi()
    references = set(_references(document))
    assert references
    for reference in references:
        here = document
        for part in reference.removeprefix("#/").split("/"):
            here = here[part]


def _references(value: object) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in _references(item)]
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in _references(item)]
    return []


@pytest.mark.parametrize("path", ["/api/v1/send", "/api/v1/status"])
async def test_errors_are_in_the_document(app: FastAPI, path: str) -> None:
    operation = next(iter(app.openapi()["paths"][path].values()))
    for status in ("401", "422"):
        assert "application/problem+json" in operation["responses"][status]["content"]


def test_timestamps_are_utc_with_milliseconds() -> None:
    from api.schemas.base import to_timestamp

    assert to_timestamp(datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)) == "2026-01-02T03:04:05.006Z"
