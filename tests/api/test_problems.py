"""What is wrong with a request is told as a problem document, whatever it is."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.services import Services
from tests.api.conftest import BASE, JUAN, Tenant, check_problem, replaced

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/nothing", "/api/v1/chats/", "/dashboard/layout.html", "/docs/x"])
async def test_unknown_addresses(tenant: Tenant, path: str) -> None:
    assert check_problem(await tenant.http.get(path), 404)["code"] == "not_found"


async def test_a_wrong_method_names_the_right_ones(tenant: Tenant) -> None:
    answer = await tenant.http.get("/api/v1/send")
    check_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"to": ', b"\xff", b"[" * 5000, b'{"to": ' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}"]
)
async def test_malformed_json(tenant: Tenant, raw: bytes) -> None:
    for path in ("/api/v1/send", "/api/v1/config"):
        check_problem(await tenant.http.post(path, content=raw, headers=JSON), 400)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"5", b'"x"'])
async def test_json_that_is_no_object(tenant: Tenant, raw: bytes) -> None:
    problem = check_problem(await tenant.http.post("/api/v1/send", content=raw, headers=JSON), 422)
    assert problem["errors"][0]["path"] == "body"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"])
async def test_only_json_is_taken(tenant: Tenant, kind: str) -> None:
    answer = await tenant.http.post("/api/v1/config", content=b"{}", headers={"Content-Type": kind})
    assert "application/json" in check_problem(answer, 415)["detail"]


async def test_json_may_name_its_charset(tenant: Tenant) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await tenant.http.post("/api/v1/config", content=b"{}", headers=headers)).status_code == 200


async def test_a_body_that_is_too_large(tenant: Tenant) -> None:
    body = b'{"to": "' + b" " * (5 * 1024 * 1024) + b'"}'
    check_problem(await tenant.http.post("/api/v1/send", content=body, headers=JSON), 413)


async def test_many_unknown_fields_are_all_named(tenant: Tenant) -> None:
    problem = check_problem(await tenant.post("/config", {"a": 1, "b": 2}), 422)
    assert problem["errors"] == [{"path": "a", "detail": "unknown field"}, {"path": "b", "detail": "unknown field"}]


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer nope", "Basic eA==", "Bearer " + "x" * 9000, "Bearer ñ"]
)
async def test_without_a_valid_token(anyone: httpx.AsyncClient, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    for method, path in (("GET", "status"), ("POST", "send"), ("PATCH", "chats/x"), ("GET", "events")):
        answer = await anyone.request(method, f"/api/v1/{path}", headers=headers)
        check_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_revoked_token(tenant: Tenant, services: Services) -> None:
    [token] = await services.businesses.list_tokens(tenant.business.id)
    assert (await tenant.get("/status")).status_code == 200
    await services.businesses.revoke_token(token.id, tenant.clock())
    check_problem(await tenant.get("/status"), 401)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8000", "127.0.0.1:8000"])
async def test_loopback_hosts_are_answered(anyone: httpx.AsyncClient, host: str) -> None:
    assert (await anyone.get("/health/live", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8000", "", "localhost:", "[::1", "127.0.0.1:x"]
)
async def test_other_hosts_are_not(anyone: httpx.AsyncClient, host: str) -> None:
    for path in ("/health/live", "/api/v1/status", "/", "/docs"):
        check_problem(await anyone.get(path, headers={"Host": host}), 400)


async def test_a_public_api_answers_any_host(services: Services) -> None:
    transport = httpx.ASGITransport(app=replaced(services, public=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://bot.example.com") as http:
        assert (await http.get("/health/live")).status_code == 200


class BrokenBusinesses:
    """A store whose disk is gone."""

    async def authenticate(self, secret: str, _now: object) -> Any:
        raise OSError(f"disk error while reading {secret}")


async def test_our_own_faults_tell_nothing(services: Services) -> None:
    app: FastAPI = replaced(services, businesses=BrokenBusinesses())
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
        answer = await http.get("/api/v1/status", headers={"Authorization": "Bearer s3cret"})
    check_problem(answer, 500)
    assert "disk" not in answer.text
    assert "s3cret" not in answer.text


# ---------------------------------------------------------------- walls between businesses


async def test_walls_between_businesses(tenant: Tenant, stranger: Tenant) -> None:
    await tenant.hear("hola")
    send = (await tenant.post("/send", {"to": JUAN, "message": "Hola"})).json()["id"]
    chat = f"/chats/{JUAN}@s.whatsapp.net"
    for path in (chat, f"{chat}/messages", f"/sends/{send}", f"/sends/{send}/recipients"):
        assert (await tenant.get(path)).status_code == 200
        check_problem(await stranger.get(path), 404)
    for path, things in (("/chats", "chats"), ("/sends", "sends")):
        assert (await stranger.get(path)).json()[things] == []
    events = (await stranger.get("/events")).json()["events"]
    assert [event["data"]["connectionId"] for event in events] == [stranger.connection.id]
    assert (await stranger.get("/status")).json()["phone"] == "5491138620999"
    assert (await stranger.get("/connection")).json()["phone"] == "5491138620999"


async def test_writing_stays_behind_the_wall(tenant: Tenant, stranger: Tenant) -> None:
    await tenant.hear("hola", name="Juan")
    chat = f"/chats/{JUAN}@s.whatsapp.net"
    before = (await tenant.get(chat)).json(), (await tenant.get("/config")).json()
    await stranger.patch(chat, {"untouchable": True, "name": "Mine"})
    await stranger.post("/config", {"guardrails": "mine", "botNewChats": False})
    await stranger.post("/send", {"to": JUAN, "message": "Mine"})
    assert ((await tenant.get(chat)).json(), (await tenant.get("/config")).json()) == before
    messages = (await tenant.get(f"{chat}/messages")).json()["messages"]
    assert [message["text"] for message in messages] == ["hola"]


async def test_a_message_id_of_another_business(tenant: Tenant, stranger: Tenant) -> None:
    await tenant.hear("hola")
    await stranger.hear("hola")
    path = f"/chats/{JUAN}@s.whatsapp.net/messages"
    foreign = (await tenant.get(path)).json()["messages"][0]["id"]
    check_problem(await stranger.get(path, before=foreign), 404)
