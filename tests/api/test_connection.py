"""/connection and /held: what a client sees of linking a phone, of going to another number, of what is held then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.main import create_app
from api.services import Services
from boton.domain.connections import Gateway
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database
from boton.store.pairing import SqlPairingStore
from tests.api.conftest import JUAN, Clock, FakeStarter, Tenant, ask, check_problem
from tests.scanning import read_code
from tests.waiting import until

NOTHING_HELD = {"held": [], "total": 0, "page": 0, "pageSize": 20, "hasMore": False}
PHONE = "5491150000001"
QR = "https://wa.me/settings/linked_devices#2@abc,def"
BY_QR = {"gateway": "whatsapp", "method": "qr"}


async def link(tenant: Tenant, body: Any = BY_QR, **headers: str) -> dict[str, Any]:
    answer = await tenant.http.post("/api/v1/connection", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def linking_id(tenant: Tenant) -> str:
    connection = await SqlConnectionStore(tenant.database).fetch_active_connection(tenant.business.id)
    assert connection is not None
    return connection.id


async def show(tenant: Tenant, *, qr: str | None = QR, code: str | None = None) -> int:
    """As the pairing process does; its epoch."""
    store, id = SqlPairingStore(tenant.database), await linking_id(tenant)
    epoch, _ = await store.begin_pairing(id)
    soon = tenant.clock() + timedelta(seconds=60)
    await store.record_step(id, epoch, qr=qr, code=code, expires_at=soon, now=tenant.clock())
    return epoch


async def scan(tenant: Tenant, epoch: int, phone: str = PHONE) -> None:
    await SqlPairingStore(tenant.database).finish_pairing(await linking_id(tenant), epoch, phone, tenant.clock())


async def state(tenant: Tenant) -> dict[str, Any]:
    found: dict[str, Any] = (await tenant.get("/connection")).json()
    return found


# ---------------------------------------------------------------- linking


async def test_qr_is_told_as_text_and_as_pictures_until_it_is_scanned(tenant: Tenant, starter: FakeStarter) -> None:
    first = await link(tenant)
    assert {name: first[name] for name in ("status", "gateway", "phone", "qr", "pairingCode", "expiresAt")} == {
        "status": "linking",
        "gateway": "whatsapp",
        "phone": None,
        "qr": None,
        "pairingCode": None,
        "expiresAt": None,
    }
    both = {tenant.connection.id, await linking_id(tenant)}
    await until(lambda: set(starter.connections) == both)
    check_problem(await tenant.get("/connection/qr.png"), 404)
    epoch = await show(tenant)
    told = await state(tenant)
    assert (told["qr"], told["expiresAt"]) == (QR, "2026-11-20T18:05:05.678Z")
    assert "scan" in told["reason"]
    assert (await tenant.get("/connection")).headers["cache-control"] == "no-store"
    png, svg = await tenant.get("/connection/qr.png"), await tenant.get("/connection/qr.svg")
    assert (png.headers["content-type"], read_code(png.content)) == ("image/png", QR)
    assert svg.headers["content-type"] == "image/svg+xml"
    assert b"<svg" in svg.content
    assert png.headers["cache-control"] == "no-store"
    await scan(tenant, epoch)
    told = await state(tenant)
    assert (told["status"], told["phone"], told["qr"]) == ("connecting", PHONE, None)
    check_problem(await tenant.get("/connection/qr.svg"), 404)


async def test_code_that_has_expired_is_told_no_more(tenant: Tenant, clock: Clock) -> None:
    body = {"gateway": "whatsapp", "method": "code", "phone": f"+{PHONE}"}
    assert (await link(tenant, body))["phone"] == PHONE
    await show(tenant, qr=None, code="QG4X-CMR2")
    told = await state(tenant)
    assert (told["pairingCode"], told["qr"]) == ("QG4X-CMR2", None)
    assert "type the pairing code" in told["reason"]
    clock.advance(seconds=61)
    assert (await state(tenant))["pairingCode"] is None


async def test_linking_that_nobody_attends_to_says_so(tenant: Tenant, clock: Clock) -> None:
    await link(tenant)
    clock.advance(seconds=30)
    assert "boton connections" in (await state(tenant))["reason"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "gateway"),
        ({"gateway": "telegram"}, "gateway"),
        ({"gateway": "whatsapp", "method": "sms"}, "method"),
        ({"gateway": "whatsapp", "method": "code"}, "phone"),
        ({"gateway": "whatsapp", "phone": "12"}, "phone"),
        ({"gateway": "whatsapp", "phone": ["1"]}, "phone"),
        ({"gateway": "whatsapp", "fone": "1"}, "fone"),
    ],
)
async def test_bad_body(tenant: Tenant, body: Any, path: str) -> None:
    document = check_problem(await tenant.post("/connection", body), 422)
    assert document["errors"][0]["path"].startswith(path)
    assert (await state(tenant))["status"] == "connected"


async def test_phone_of_another_business_is_refused(tenant: Tenant, stranger: Tenant) -> None:
    taken = {"gateway": "simulator", "phone": stranger.connection.phone}
    check_problem(await tenant.post("/connection", taken), 409)
    assert (await state(tenant))["phone"] == tenant.connection.phone


async def test_number_that_is_well_stays_as_it_is(tenant: Tenant, starter: FakeStarter) -> None:
    told = await link(tenant, {"gateway": "simulator", "phone": tenant.connection.phone})
    assert told["status"] == "connected"
    assert starter.connections == []


async def test_same_key_links_once(tenant: Tenant) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = await link(tenant, **key)
    epoch = await show(tenant)
    assert await link(tenant, **key) == first
    await scan(tenant, epoch)
    assert (await state(tenant))["status"] == "connecting"
    other = await tenant.http.post("/api/v1/connection", json={"gateway": "simulator"}, headers=key)
    check_problem(other, 422)


async def test_simulator_exists_only_where_it_is_on(services: Services, tenant: Tenant) -> None:
    app = create_app(replace(services, gateways=frozenset({Gateway.WHATSAPP})))
    async with ask(app, headers=tenant.http.headers) as http:
        document = check_problem(await http.post("/api/v1/connection", json={"gateway": "simulator"}), 422)
    assert "BOTON_SIMULATOR" in document["detail"]


async def test_another_business_sees_nothing_of_it(tenant: Tenant, stranger: Tenant) -> None:
    await link(tenant)
    await show(tenant)
    assert (await state(stranger))["qr"] is None
    check_problem(await stranger.get("/connection/qr.png"), 404)
    assert (await stranger.get("/held")).json() == NOTHING_HELD


async def test_without_a_token(app: FastAPI) -> None:
    async with ask(app) as http:
        for method, path in (
            ("DELETE", "/connection"),
            ("POST", "/connection"),
            ("GET", "/connection/qr.png"),
            ("GET", "/held"),
            ("POST", "/held/resume"),
        ):
            check_problem(await http.request(method, f"/api/v1{path}", json={}), 401)


# ---------------------------------------------------------------- logging out, switching


async def test_logging_out_leaves_no_number_and_is_safe_to_repeat(tenant: Tenant, starter: FakeStarter) -> None:
    for _ in range(2):
        answer = await tenant.http.delete("/api/v1/connection")
        assert (answer.status_code, answer.json()["status"]) == (200, "none")
    await until(lambda: starter.connections)
    assert starter.connections == [tenant.connection.id]
    check_problem(await tenant.post("/send", {"to": JUAN, "message": "hola"}), 409)
    assert (await link(tenant, {"gateway": "simulator"}))["phone"] == tenant.connection.phone


async def test_queue_is_held_then_resumed_over_the_new_number(tenant: Tenant, starter: FakeStarter) -> None:
    sends = [(await tenant.post("/send", {"to": f"549111234{n:04}", "message": "hola"})).json()["id"] for n in range(3)]
    await link(tenant)
    held = (await tenant.get("/held")).json()
    assert [(one["kind"], one["id"], one["reason"], one["messages"]) for one in held["held"]] == [
        ("send", id, "switched", 1) for id in sends
    ]
    assert (await tenant.get(f"/sends/{sends[0]}")).json()["status"] == "paused"
    new = (await tenant.post("/send", {"to": JUAN, "message": "hola"})).json()["id"]
    connection_id = await linking_id(tenant)
    await until(lambda: new in {one[0] for one in starter.sends})
    assert {one[2] for one in starter.sends if one[0] == new} == {connection_id}
    left = (await tenant.post("/held/cancel", {"ids": sends[:1]})).json()
    assert left["total"] == 2
    assert (await tenant.get(f"/sends/{sends[0]}")).json()["status"] == "cancelled"
    resumed = (await tenant.post(f"/sends/{sends[1]}/resume", {})).json()
    assert resumed["status"] == "queued"
    assert (await tenant.post("/held/resume", {})).json() == NOTHING_HELD
    check_problem(await tenant.post("/held/resume", {"ids": ["snd_0"]}), 404)


async def test_held_list_has_pages_as_every_list(tenant: Tenant, stranger: Tenant) -> None:
    for who in (tenant, stranger):
        await who.hear("hola")
        await who.post("/send", {"to": JUAN, "message": "hola"})
        await who.post("/send", {"to": JUAN, "message": "otra"})
        await who.post("/reminders", {"to": JUAN, "message": "hola", "at": "2026-12-24T10:00:00Z"})
        await who.http.delete("/api/v1/connection")
    pages = [(await tenant.get("/held", page=page, pageSize=3)).json() for page in range(3)]
    assert [[one["kind"] for one in page["held"]] for page in pages] == [["send", "send", "reminder"], ["chat"], []]
    told = [{name: page[name] for name in ("total", "page", "pageSize", "hasMore")} for page in pages]
    assert told == [{"total": 4, "page": n, "pageSize": 3, "hasMore": n == 0} for n in range(3)]
    whole = (await tenant.get("/held")).json()["held"]
    assert whole == pages[0]["held"] + pages[1]["held"]
    left = (await tenant.post("/held/cancel", {})).json()
    assert left == NOTHING_HELD
    check_problem(await tenant.get("/held", page=-1), 422)


async def test_nothing_is_resumed_without_a_number(tenant: Tenant) -> None:
    await tenant.post("/send", {"to": JUAN, "message": "hola"})
    await tenant.http.delete("/api/v1/connection")
    check_problem(await tenant.post("/held/resume", {}), 409)
    assert (await tenant.get("/held")).json()["total"] == 1


async def test_chats_and_history_stay(tenant: Tenant) -> None:
    await tenant.hear("hola")
    await tenant.patch(f"/chats/{JUAN}@s.whatsapp.net", {"optedOut": True})
    await link(tenant)
    chats = (await tenant.get("/chats")).json()
    assert chats["total"] == 1
    assert (await tenant.get(f"/chats/{JUAN}@s.whatsapp.net")).json()["optedOut"] is True


async def test_connection_changed_is_told_without_secrets(tenant: Tenant, store: Database) -> None:
    seq = (await tenant.get("/events", after=0)).json()["lastSeq"]
    await link(tenant)
    await show(tenant)
    events = (await tenant.get("/events", after=seq)).json()["events"]
    told = [(one["data"]["gateway"], one["data"]["status"]) for one in events if one["type"] == "connection.changed"]
    assert told == [("simulator", "stopped"), ("whatsapp", "linking"), ("whatsapp", "linking")]
    assert "2@abc" not in str(events)


async def test_answer_when_temporal_is_away(tenant: Tenant, starter: FakeStarter) -> None:
    starter.trouble = httpx.ConnectError("away")
    assert (await link(tenant))["status"] == "linking"
