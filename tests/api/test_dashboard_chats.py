"""The pages of chats and conversations: who holds each chat, and what the operator does about it."""

from __future__ import annotations

import html
import re

import httpx
import pytest
from sqlmodel import col, select

from api.services import Links, Services
from boton.store.steps import lock_chat
from boton.store.tables import ChatRow
from tests.api.browsing import form_token, log_in
from tests.api.conftest import JUAN, JUAN_JID, Tenant, ask, check_problem, replaced
from tests.api.test_conversations import begin, id_of, open_all

ANA = "5491198765432"
CHATS = "/dashboard/chats"
CONVERSATIONS = "/dashboard/conversations"


async def show(browser: httpx.AsyncClient, tenant: Tenant, path: str = CHATS, **query: str | int) -> str:
    answer = await browser.get(path, params={"business": tenant.business.id, **query})
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text)


def line_of(page: str, name: str) -> str:
    """The words of one line of a list."""
    lines = [line for line in re.findall(r"<li\b.*?</li>", page, re.DOTALL) if name in line]
    assert len(lines) == 1, page
    return " ".join(re.sub(r"<[^>]*>", " ", lines[0]).split())


async def act(browser: httpx.AsyncClient, tenant: Tenant, what: str, page: str, jid: str = JUAN_JID) -> httpx.Response:
    form = {"form_token": form_token(page), "business": tenant.business.id, "jid": jid, "page": "0"}
    return await browser.post(f"{CHATS}/{what}", data=form)


async def hand_off(tenant: Tenant) -> None:
    of_juan = select(ChatRow.id).where(col(ChatRow.jid) == JUAN_JID)
    await tenant.database.write(
        lambda session: setattr(lock_chat(session, session.exec(of_juan).one()), "handed_off_at", tenant.clock())
    )


# ---------------------------------------------------------------- chats


async def test_who_holds_each_chat_is_shown(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.post("/config", {"timezone": "America/Argentina/Buenos_Aires"})
    await tenant.hear("hola", name="Juan <b>")
    await tenant.hear("hola", number=ANA)
    await tenant.patch(f"/chats/{ANA}", {"botEnabled": False, "optedOut": True})
    await tenant.patch("/chats/5491100000001", {"untouchable": True, "name": "Mamá"})
    await log_in(browser)
    page = await show(browser, tenant)
    assert re.findall(r"<strong>(.*?)</strong>", page) == ["Mamá", f"+{ANA}", "Juan <b>"]
    juan, ana, mother = (line_of(page, name) for name in ("Juan", ANA, "Mamá"))
    assert "Lo atiende el bot" in juan
    assert "Bot encendido" in juan
    assert f"+{JUAN}" in juan
    assert "último mensaje 20/11/2026 15:04" in juan
    assert "Intocable" not in juan
    assert "Nadie lo atiende" in ana
    assert "Bot apagado" in ana
    assert "No quiere promociones" in ana
    assert "Intocable" in mother
    assert "sin mensajes" in mother
    assert "Encender" not in mother
    assert "3 en total" in page


async def test_chat_is_taken_over_and_handed_back(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.hear("hola")
    await log_in(browser)
    page = await show(browser, tenant)
    assert "Devolver al bot" not in line_of(page, JUAN)
    taken = await act(browser, tenant, "take-over", page)
    assert (taken.url.path, taken.url.fragment[:4]) == (CHATS, "cht_")
    assert "Lo atiende una persona hasta 20/11/2026 20:04 UTC Bot encendido" in line_of(taken.text, JUAN)
    assert (await tenant.get(f"/chats/{JUAN}")).json()["heldBy"] == "human"
    back = await act(browser, tenant, "hand-back", page)
    assert "Lo atiende el bot" in line_of(back.text, JUAN)
    assert (await tenant.get(f"/chats/{JUAN}")).json()["takeoverUntil"] is None
    events = (await tenant.get("/events")).json()["events"]
    assert [event["type"] for event in events].count("chat.taken_over") == 1


async def test_chat_that_the_bot_left_to_a_human_says_so(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.hear("hola")
    await hand_off(tenant)
    await log_in(browser)
    page = await show(browser, tenant)
    line = line_of(page, JUAN)
    assert "Lo atiende una persona El bot se lo dejó" in line
    assert "Devolver al bot" in line
    assert "Tomar" not in line
    assert "Lo atiende el bot" in line_of((await act(browser, tenant, "hand-back", page)).text, JUAN)


async def test_bot_is_switched_off_and_on(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.hear("hola")
    await log_in(browser)
    page = await show(browser, tenant)
    off = line_of((await act(browser, tenant, "switch-off", page)).text, JUAN)
    assert "Nadie lo atiende Bot apagado" in off
    assert "Encender el bot" in off
    assert "Apagar" not in off
    assert (await tenant.get(f"/chats/{JUAN}")).json()["botEnabled"] is False
    assert "Lo atiende el bot Bot encendido" in line_of((await act(browser, tenant, "hand-back", page)).text, JUAN)


async def test_takeover_that_is_over_is_not_shown(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.hear("hola")
    await log_in(browser)
    await act(browser, tenant, "take-over", await show(browser, tenant))
    tenant.clock.advance(minutes=121)
    assert "Lo atiende el bot Bot encendido" in line_of(await show(browser, tenant), JUAN)


async def test_conversation_and_run_of_a_chat_are_linked(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await open_all(tenant, await begin(tenant))
    await log_in(browser)
    page = await show(browser, tenant)
    assert "Conversación: Espera al cliente" in line_of(page, JUAN)
    assert f"{CONVERSATIONS}?business={tenant.business.id}&jid={JUAN}%40s.whatsapp.net" in page
    assert "http://127.0.0.1:8233/namespaces/default/workflows/chat%2Fcht_" in page


async def test_run_is_not_linked_where_nobody_knows_the_ui(services: Services, tenant: Tenant) -> None:
    await tenant.hear("hola")
    async with ask(replaced(services, links=Links()), follow_redirects=True) as browser:
        await log_in(browser)
        assert "Temporal" not in await show(browser, tenant)


async def test_chats_are_paged_newest_first(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    for number in range(21):
        await tenant.hear("hola", number=f"54911000000{number:02d}")
    await log_in(browser)
    first = await show(browser, tenant)
    assert re.findall(r"<strong>(.*?)</strong>", first)[0] == "+5491100000020"
    assert 'rel="prev"' not in first
    assert "21 en total" in first
    found = re.search(r'rel="next" href="([^"]+)"', first)
    assert found
    last = html.unescape((await browser.get(found[1])).text)
    assert re.findall(r"<strong>(.*?)</strong>", last) == ["+5491100000000"]
    assert 'rel="next"' not in last
    assert 'rel="prev"' in last


# ---------------------------------------------------------------- conversations


async def test_conversations_are_shown_with_their_end(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    send = await begin(tenant, JUAN, ANA)
    await open_all(tenant, send)
    await tenant.post(f"/conversations/{id_of(send, 1)}/cancel", {})
    await log_in(browser)
    page = await show(browser, tenant, CONVERSATIONS)
    juan, ana = line_of(page, JUAN), line_of(page, ANA)
    assert "Espera al cliente Ofrece turno para manana" in juan
    assert "1 turno del bot" in juan
    assert "Cancelada" in ana
    assert "hasta 20/11/2026 18:04 UTC" in ana
    one = await show(browser, tenant, CONVERSATIONS, jid=ANA)
    assert line_of(one, ANA) == ana
    assert JUAN not in one
    assert "1 en total" in one


async def test_long_instruction_is_shortened_and_escaped(browser: httpx.AsyncClient, tenant: Tenant) -> None:
    await tenant.post("/send", {"to": JUAN, "instruction": "<script>alert(1)</script>" + "bla " * 200})
    await log_in(browser)
    page = (await browser.get(CONVERSATIONS, params={"business": tenant.business.id})).text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert page.count("bla") < 50


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize("path", [CHATS, CONVERSATIONS])
async def test_who_has_not_logged_in_is_sent_to_log_in(browser: httpx.AsyncClient, tenant: Tenant, path: str) -> None:
    await tenant.hear("hola")
    answer = await browser.get(path, params={"business": tenant.business.id})
    assert answer.url.path == "/"
    assert "Contraseña" in answer.text
    assert JUAN not in answer.text


@pytest.mark.parametrize("path", [CHATS, CONVERSATIONS])
async def test_unknown_business_or_page(browser: httpx.AsyncClient, tenant: Tenant, path: str) -> None:
    await log_in(browser)
    check_problem(await browser.get(path), 404)
    check_problem(await browser.get(path, params={"business": "biz_nope"}), 404)
    check_problem(await browser.get(path, params={"business": tenant.business.id, "page": "-1"}), 422)
    assert "Acá no hay" in await show(browser, tenant, path, page=9)


@pytest.mark.parametrize("what", ["hand-back", "switch-off", "take-over"])
async def test_buttons_want_a_session_their_own_page_and_a_chat(
    browser: httpx.AsyncClient, tenant: Tenant, stranger: Tenant, what: str
) -> None:
    await tenant.hear("hola")
    before = (await tenant.get(f"/chats/{JUAN}")).json()
    url, form = f"{CHATS}/{what}", {"business": tenant.business.id, "jid": JUAN_JID}
    check_problem(await browser.post(url, data=form), 401)
    await log_in(browser)
    signed = form_token(await show(browser, tenant))
    check_problem(await browser.post(url, data=form), 403)
    check_problem(await browser.post(url, data=form | {"form_token": "forged"}), 403)
    good = form | {"form_token": signed}
    check_problem(await browser.post(url, data=good, headers={"Origin": "http://evil.example"}), 403)
    for wrong in ({"jid": "nonsense"}, {"business": stranger.business.id}, {"business": "biz_nope"}):
        check_problem(await browser.post(url, data=good | wrong), 404)
    assert (await tenant.get(f"/chats/{JUAN}")).json() == before
