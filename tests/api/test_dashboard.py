"""The page at `/`: who gets in, what forms may do, and that nothing is shown unescaped or twice."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from api.dashboard import words
from api.dashboard.admin import PASSWORD_KEY, AdminAccess, GuessBrake
from api.main import create_app
from api.services import Services
from boton.domain.connections import ConnectionStatus
from boton.passwords import hash_password
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database
from boton.store.meta import SqlMetaStore
from boton.store.pairing import SqlPairingStore
from tests.api.browsing import find, form_token, log_in
from tests.api.conftest import BASE, PASSWORD, Tenant, ask, check_problem, replaced


async def test_without_the_password_nothing_is_shown(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/")
    assert page.status_code == 200
    assert "Contraseña" in page.text
    assert "Mi Negocio" not in page.text
    wrong = await log_in(browser, "wrong")
    assert wrong.status_code == 401
    assert "no es correcta" in wrong.text
    assert not browser.cookies


async def test_the_page_shows_connection_tokens_and_links(browser: httpx.AsyncClient) -> None:
    page = (await log_in(browser)).text
    for shown in (
        "Mi Negocio",
        "+5491138620812",
        "Conectado",
        "API Access",
        "/docs",
        "127.0.0.1:8900",
        "127.0.0.1:8233",
    ):
        assert shown in page


async def test_the_cookie_is_closed_to_scripts_and_other_sites(app: FastAPI) -> None:
    async with ask(app) as http:
        answer = await log_in(http)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


async def test_the_page_is_not_kept_nor_framed(browser: httpx.AsyncClient) -> None:
    headers = (await browser.get("/")).headers
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]


async def test_a_token_is_shown_once_and_works_until_revoked(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    page = (await log_in(browser)).text
    form = {"form_token": form_token(page), "business": tenant.business.id, "name": "CRM <b>"}
    created = await browser.post("/dashboard/tokens", data=form)
    assert created.status_code == 200
    assert "CRM &lt;b&gt;" in created.text
    assert "<b>" not in created.text
    secret = find(r'id="secret" type="text" readonly value="([^"]+)"', created.text)
    headers = {"Authorization": f"Bearer {secret}"}
    assert (await browser.get("/api/v1/status", headers=headers)).json()["business"] == "Mi Negocio"
    again = (await browser.get("/")).text
    assert secret not in again
    assert "CRM &lt;b&gt;" in again
    newest = re.findall(r'name="token" value="([^"]+)"', again)
    tokens = [token async for token in _tokens(browser, newest, form_token(again), headers)]
    assert tokens == [401]
    assert "CRM &lt;b&gt;" not in (await browser.get("/")).text


async def _tokens(
    browser: httpx.AsyncClient, ids: list[str], signed: str, headers: dict[str, str]
) -> AsyncIterator[int]:
    """Revokes token after token until the headers' one stopped working."""
    for id in ids:
        assert (await browser.post("/dashboard/tokens/revoke", data={"form_token": signed, "token": id})).is_success
        status = (await browser.get("/api/v1/status", headers=headers)).status_code
        if status != 200:
            yield status


async def test_everything_is_escaped(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.post("/config", {"businessName": "<script>alert(1)</script>\"'"})
    page = (await log_in(browser)).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize("path", ["logout", "tokens", "tokens/revoke"])
async def test_forms_want_a_session_and_their_own_page(browser: httpx.AsyncClient, tenant: Tenant, path: str) -> None:
    url = f"/dashboard/{path}"
    check_problem(await browser.post(url, data={"business": tenant.business.id}), 401)
    page = (await log_in(browser)).text
    good = {"form_token": form_token(page), "business": tenant.business.id}
    check_problem(await browser.post(url, data={"business": tenant.business.id}), 403)
    check_problem(await browser.post(url, data=good | {"form_token": "forged"}), 403)
    check_problem(await browser.post(url, data=good, headers={"Origin": "http://evil.example"}), 403)
    check_problem(await browser.post(url, data=good, headers={"Sec-Fetch-Site": "cross-site"}), 403)


async def test_a_form_of_another_session(app: FastAPI, browser: httpx.AsyncClient) -> None:
    async with ask(app, follow_redirects=True) as other:
        foreign = form_token((await log_in(other)).text)
    await log_in(browser)
    check_problem(await browser.post("/dashboard/logout", data={"form_token": foreign}), 403)


async def test_other_sites_cannot_log_in(browser: httpx.AsyncClient) -> None:
    answer = await browser.post(
        "/dashboard/login", data={"password": PASSWORD}, headers={"Origin": "http://evil.example"}
    )
    check_problem(answer, 403)


async def test_our_own_origin_is_fine(browser: httpx.AsyncClient) -> None:
    headers = {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}
    answer = await browser.post("/dashboard/login", data={"password": PASSWORD}, headers=headers)
    assert "Mi Negocio" in answer.text


async def test_logging_out(browser: httpx.AsyncClient) -> None:
    page = (await log_in(browser)).text
    after = await browser.post("/dashboard/logout", data={"form_token": form_token(page)})
    assert "Mi Negocio" not in after.text
    assert not browser.cookies


@pytest.mark.parametrize("cookie", ["forged", "a.b.c", "ñ", ""])
async def test_a_forged_cookie(browser: httpx.AsyncClient, cookie: str) -> None:
    page = await browser.get("/", headers={"Cookie": f"boton_session={cookie}".encode()})
    assert page.status_code == 200
    assert "Mi Negocio" not in page.text


async def test_a_token_of_the_api_is_no_session(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    page = await browser.get("/", headers={"Authorization": f"Bearer {tenant.token}"})
    assert "Mi Negocio" not in page.text


async def test_sessions_outlive_a_restart_but_not_a_new_password(
    browser: httpx.AsyncClient, services: Services, store: Database
) -> None:
    await log_in(browser)
    restarted = create_app(services)
    other_password = replaced(services, admin=AdminAccess(SqlMetaStore(store), "another"))
    for app, remains in ((restarted, True), (other_password, False)):
        async with ask(app, cookies=dict(browser.cookies)) as http:
            assert ("Mi Negocio" in (await http.get("/")).text) is remains


async def test_guessing_is_braked_even_when_the_guess_is_right(browser: httpx.AsyncClient) -> None:
    for _ in range(5):
        assert (await log_in(browser, "wrong")).status_code == 401
    refused = await log_in(browser)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 61


def test_the_brake_lets_go_after_a_minute() -> None:
    seconds = 0.0
    brake = GuessBrake(lambda: seconds)
    for _ in range(5):
        brake.note_attempt("a")
        seconds += 1
    assert brake.wait_seconds("a") == pytest.approx(55)
    assert brake.wait_seconds("b") == 0
    seconds = 60
    assert brake.wait_seconds("a") == 0
    brake.note_attempt("a")
    assert brake.wait_seconds("a") > 0
    brake.forget("a")
    assert brake.wait_seconds("a") == 0


async def test_the_stored_hash_counts_when_the_settings_name_no_password(services: Services, store: Database) -> None:
    meta = SqlMetaStore(store)
    app = create_app(replace(services, admin=AdminAccess(meta)))
    async with ask(app, follow_redirects=True) as http:
        assert (await log_in(http, "")).status_code == 401
        await meta.put_if_absent(PASSWORD_KEY, hash_password("from the store"))
        assert (await log_in(http, PASSWORD)).status_code == 401
        assert "Salir" in (await log_in(http, "from the store")).text


async def test_a_form_too_large_or_with_too_many_fields(browser: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    check_problem(await browser.post("/dashboard/login", content=b"a" * 20_000, headers=headers), 413)
    check_problem(await browser.post("/dashboard/login", content=b"a=1&" * 30, headers=headers), 400)


async def test_an_unknown_business_or_token(browser: httpx.AsyncClient) -> None:
    signed = form_token((await log_in(browser)).text)
    form = {"form_token": signed, "business": "biz_nope", "token": "tok_nope\0"}
    check_problem(await browser.post("/dashboard/tokens", data=form), 404)
    check_problem(await browser.post("/dashboard/tokens/revoke", data=form), 404)


# ---------------------------------------------------------------- the number


async def post_number(browser: httpx.AsyncClient, tenant: Tenant, path: str, **fields: str) -> httpx.Response:
    page = (await browser.get("/dashboard/connection", params={"business": tenant.business.id})).text
    form = {"form_token": form_token(page), "business": tenant.business.id, **fields}
    return await browser.post(f"/dashboard/connection/{path}", data=form)


async def test_number_is_linked_on_the_page(browser: httpx.AsyncClient, tenant: Tenant, store: Database) -> None:
    await log_in(browser)
    page = await post_number(browser, tenant, "link", gateway="whatsapp", method="qr")
    assert "Vinculando" in page.text
    connection = await SqlConnectionStore(store).fetch_active_connection(tenant.business.id)
    assert connection is not None
    pairing, now = SqlPairingStore(store), tenant.clock()
    epoch, _ = await pairing.begin_pairing(connection.id)
    soon = now + timedelta(seconds=60)
    await pairing.record_step(connection.id, epoch, qr="2@<b>", code=None, expires_at=soon, now=now)
    part = await browser.get("/dashboard/connection/state", params={"business": tenant.business.id})
    assert "data:image/svg+xml" in part.text
    assert "<html" not in part.text
    assert "2@<b>" not in part.text
    await pairing.record_step(connection.id, epoch, qr=None, code="QG4X-CMR2", expires_at=soon, now=now)
    assert "QG4X-CMR2" in (await browser.get(str(part.url))).text
    await pairing.finish_pairing(connection.id, epoch, "5491150000001", now)
    assert "+5491150000001" in (await browser.get(str(part.url))).text


async def test_number_is_switched_and_what_waits_is_decided_on_the_page(
    browser: httpx.AsyncClient, tenant: Tenant
) -> None:
    await log_in(browser)
    sends = [(await tenant.post("/send", {"to": f"549111234{n:04}", "message": "x"})).json()["id"] for n in range(2)]
    page = await post_number(browser, tenant, "link", gateway="simulator", phone="+54 9 11 5000-0002")
    assert "+5491150000002" in page.text
    assert "2 envíos, 0 recordatorios" in page.text
    assert "Retomar todo" in page.text
    page = await post_number(browser, tenant, "resume")
    assert "Retomar todo" not in page.text
    assert (await tenant.get(f"/sends/{sends[0]}")).json()["status"] == "queued"
    page = await post_number(browser, tenant, "log-out")
    assert "Sin número" in page.text
    assert (await post_number(browser, tenant, "resume")).status_code == 409
    assert "Retomar todo" not in (await post_number(browser, tenant, "cancel")).text
    assert (await tenant.get(f"/sends/{sends[0]}")).json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"gateway": "whatsapp", "method": "code", "phone": "12"}, words.PHONE_EXPECTED),
        ({"gateway": "whatsapp", "method": "code"}, words.PHONE_EXPECTED),
        ({"gateway": "telegram"}, words.OTHER_FORM),
        ({"gateway": "whatsapp", "method": "sms"}, words.OTHER_FORM),
    ],
)
async def test_wrong_phone_is_told_on_the_page(
    browser: httpx.AsyncClient, tenant: Tenant, fields: dict[str, str], told: str
) -> None:
    await log_in(browser)
    page = await post_number(browser, tenant, "link", **fields)
    assert page.status_code == 409
    assert told in page.text
    assert "Conectado" in page.text


async def test_phone_of_another_business_is_told_on_the_page(
    browser: httpx.AsyncClient, tenant: Tenant, stranger: Tenant
) -> None:
    await log_in(browser)
    page = await post_number(browser, tenant, "link", gateway="simulator", phone=str(stranger.connection.phone))
    assert page.status_code == 409
    assert words.PHONE_TAKEN in page.text


@pytest.mark.parametrize("status", ConnectionStatus)
async def test_page_tells_in_one_language_how_a_number_stands(
    browser: httpx.AsyncClient, tenant: Tenant, store: Database, status: ConnectionStatus
) -> None:
    """What the API says beside it is marked as the other language that it is."""
    await log_in(browser)
    connections, now = SqlConnectionStore(store), tenant.clock()
    epoch = await connections.raise_epoch(tenant.connection.id, now)
    await connections.record_status(tenant.connection.id, epoch, status, "why, in English", now)
    for path in ("/", f"/dashboard/connection?business={tenant.business.id}"):
        page = (await browser.get(path)).text
        assert words.CONNECTIONS[status] in page
        assert words.NEXT_STEPS[status] in page
        assert "why, in English" not in page.replace('<small lang="en">why, in English</small>', "")


async def test_number_of_an_unknown_business_and_without_a_session(
    browser: httpx.AsyncClient, tenant: Tenant, stranger: Tenant
) -> None:
    assert "Contraseña" in (await browser.get("/dashboard/connection?business=biz_0")).text
    await log_in(browser)
    check_problem(await browser.get("/dashboard/connection?business=biz_0"), 404)
    check_problem(await browser.post("/dashboard/connection/log-out", data={"business": tenant.business.id}), 403)
