"""The pages, in Debian's chromium: the dashboard at `/` and the simulator's phones."""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import ADMIN_PASSWORD, Stack
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_answer, await_stored
from tests.acceptance.waiting import wait_for
from tests.scanning import find_code, read_code

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        expect.set_options(timeout=30_000)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that must not complain; a screenshot of its end is left in tmp_path."""
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.screenshot(path=tmp_path / f"{request.node.name}.png", full_page=True)
    context.close()
    assert complaints == []


def log_in(page: Page, stack: Stack, password: str = ADMIN_PASSWORD) -> None:
    page.goto(stack.up()["dashboard"])
    page.locator("input[type=password]").fill(password)
    page.locator("button[type=submit]").first.click()


def test_token_created_on_the_page_works(page: Page, shared: Stack) -> None:
    log_in(page, shared)
    section = page.locator("section", has=page.get_by_role("heading", name="Mi Negocio"))
    section.get_by_label("Nombre del token").fill("CRM de prueba")
    section.get_by_role("button", name="Crear token").click()
    secret = page.locator("#secret").input_value()
    assert Api(shared.up()["api"], secret).get("/status")["business"] == "Mi Negocio"
    page.goto(shared.up()["dashboard"])
    assert secret not in page.content()


def test_token_revoked_on_the_page_works_no_longer(page: Page, shared: Stack) -> None:
    log_in(page, shared)
    section = page.locator("section", has=page.get_by_role("heading", name="Mi Negocio"))
    section.get_by_label("Nombre del token").fill("para revocar")
    section.get_by_role("button", name="Crear token").click()
    secret = page.locator("#secret").input_value()
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("li", has_text="para revocar").get_by_role("button", name="Revocar").click()
    page.locator("li", has_text="para revocar").wait_for(state="detached")
    assert Api(shared.up()["api"], secret).request("GET", "/status").status_code == 401


def test_wrong_password_is_refused(page: Page, shared: Stack) -> None:
    log_in(page, shared, "otra contraseña")
    expect(page.get_by_text("La contraseña no es correcta.")).to_be_visible()
    assert "API Access" not in page.content()


def test_page_shows_the_connection_and_links(page: Page, shared: Stack) -> None:
    log_in(page, shared)
    expect(page.get_by_text("+5491138620812")).to_be_visible()
    for name, key in (("Simulador", "simulator"), ("Temporal", "temporalUi")):
        link = page.get_by_role("link", name=name).get_attribute("href") or ""
        assert link.rstrip("/") == shared.up()[key]
    expect(page.get_by_role("link", name="Documentación de la API")).to_be_visible()


def show_chat(page: Page, stack: Stack, number: str) -> Locator:
    """The chat's line on the page of chats, come to by the links."""
    log_in(page, stack)
    section = page.locator("section", has=page.get_by_role("heading", name="Mi Negocio"))
    section.get_by_role("link", name="Ver los chats").click()
    return page.locator("li", has_text=f"+{number}")


def test_operator_takes_a_chat_over_and_hands_it_back(
    page: Page, shared: Stack, simulator: Simulator, numbers: Numbers
) -> None:
    number = numbers.next()
    simulator.write(number, "hola")
    await_answer(simulator, number, "hola")
    line = show_chat(page, shared, number)
    line.get_by_role("button", name="Tomar el chat").click()
    expect(line).to_contain_text("Lo atiende una persona hasta")
    simulator.write(number, "¿hay alguien?")
    await_stored(shared.api, number, "¿hay alguien?")
    line.get_by_role("button", name="Devolver al bot").click()
    expect(line).to_contain_text("Lo atiende el bot")
    simulator.write(number, "¿y ahora?")
    await_answer(simulator, number, "¿y ahora?")
    assert len(simulator.received(number)) == 2


def test_bot_is_switched_off_in_one_chat(page: Page, shared: Stack, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    simulator.write(number, "hola")
    await_answer(simulator, number, "hola")
    line = show_chat(page, shared, number)
    line.get_by_role("button", name="Apagar el bot").click()
    expect(line).to_contain_text("Nadie lo atiende")
    assert shared.api.get(f"/chats/{number}")["botEnabled"] is False
    line.get_by_role("button", name="Encender el bot").click()
    expect(line).to_contain_text("Lo atiende el bot")


@pytest.mark.parametrize("width", [1100, 390])
def test_chats_and_conversations_fit_the_screen(
    page: Page, shared: Stack, simulator: Simulator, numbers: Numbers, tmp_path: Path, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    plain, led, mother = numbers.take(3)
    simulator.write(plain, "hola")
    await_answer(simulator, plain, "hola")
    shared.api.patch_chat(plain, name="Juan Carlos Pérez", optedOut=True)
    shared.api.patch_chat(mother, untouchable=True, name="Mamá")
    shared.api.send(led, instruction="Ofrecé un turno para mañana a las 10 o a las 16, y confirmá el nombre. " * 4)
    wait_for(lambda: simulator.received(led), ANSWER_SECONDS, "the opening")
    line = show_chat(page, shared, led)
    expect(line).to_contain_text("Espera al cliente")
    assert (line.get_by_role("link", name="ver en Temporal").get_attribute("href") or "").startswith(
        shared.up()["temporalUi"]
    )
    assert_fits(page)
    page.screenshot(path=tmp_path / f"chats-{width}.png", full_page=True)
    line.get_by_role("link", name="Espera al cliente").click()
    expect(page.locator("main")).to_contain_text("Ofrecé un turno")
    assert_fits(page)
    page.screenshot(path=tmp_path / f"conversations-{width}.png", full_page=True)


@pytest.mark.parametrize("width", [1100, 390])
def test_phone_is_linked_on_the_page_of_the_number(page: Page, shared: Stack, tmp_path: Path, width: int) -> None:
    """There is no WhatsApp to be reached from here: the process says so, and then the test shows codes in its place."""
    page.set_viewport_size({"width": width, "height": 800})
    business = shared.run("business", "create", f"Kiosco {width}").stdout.strip()
    section = show_number(page, shared, f"Kiosco {width}")
    section.get_by_role("button", name="Vincular con código QR").click()
    expect(section.get_by_text("Detenido")).to_be_visible(timeout=60_000)
    assert_fits(page)
    for content in ("https://wa.me/settings/linked_devices#2@uno", "https://wa.me/settings/linked_devices#2@dos"):
        before = section.locator(".qr img").get_attribute("src") if section.locator(".qr img").count() else ""
        show_code(shared, business, qr=content)
        expect(section.locator(".qr img")).not_to_have_attribute("src", before or "-")
        wait_for(lambda content=content: scan_page(page) == content, ANSWER_SECONDS, "the picture")  # type: ignore[misc]
    assert_fits(page)
    page.screenshot(path=tmp_path / f"qr-{width}.png", full_page=True)
    token = shared.run("token", "create", business).stdout.strip()
    drawn = Api(shared.up()["api"], token).request("GET", "/connection/qr.svg")
    assert scan_svg(page, drawn.text) == content
    show_code(shared, business, code="QG4X-CMR2")
    expect(section.locator(".pairing")).to_have_text("QG4X-CMR2")
    assert_fits(page)
    page.screenshot(path=tmp_path / f"code-{width}.png", full_page=True)
    page.on("dialog", lambda dialog: dialog.accept())
    section.get_by_role("button", name="Quitar el número").click()
    expect(section.get_by_text("Sin número")).to_be_visible()


def scan_page(page: Page) -> str | None:
    """A picture may not have been drawn yet."""
    return find_code(Image.open(io.BytesIO(page.screenshot(full_page=True))))


def scan_svg(page: Page, svg: str) -> str:
    """On a page as dark as the code's own modules."""
    other = page.context.new_page()
    other.set_content(f'<body style="background: #000">{svg}')
    read = read_code(other.locator("svg").screenshot())
    other.close()
    return read


def show_number(page: Page, stack: Stack, name: str) -> Locator:
    log_in(page, stack)
    section = page.locator("section", has=page.get_by_role("heading", name=name))
    section.get_by_role("link", name="Vincular un número").click()
    return page.locator("main")


def show_code(stack: Stack, business_id: str, *, qr: str | None = None, code: str | None = None) -> None:
    """As the pairing process does."""
    soon = (datetime.now(UTC) + timedelta(minutes=10)).isoformat(sep=" ").removesuffix("+00:00")
    with closing(sqlite3.connect(stack.data_dir / "boton.db", timeout=30)) as store, store:
        ours = "(SELECT id FROM connection WHERE business_id = ? AND active)"
        store.execute(f"UPDATE connection SET status = 'linking' WHERE id = {ours}", (business_id,))
        store.execute(f"DELETE FROM pairing WHERE connection_id = {ours}", (business_id,))
        store.execute(
            "INSERT INTO pairing (connection_id, method, asked_at, tries, qr, code, expires_at) "
            f"VALUES ({ours}, 'qr', ?, 1, ?, ?, ?)",
            (business_id, soon, qr, code, soon),
        )


def assert_fits(page: Page) -> None:
    """Nothing is to be scrolled to sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_customer_played_by_hand_is_answered(page: Page, shared: Stack, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    page.goto(shared.up()["simulator"])
    page.get_by_label("Número nuevo").fill(f"+{number}")
    page.get_by_role("button", name="Agregar").click()
    expect(page.locator("#chat-number")).to_have_text(f"+{number}")
    page.get_by_label("Mensaje", exact=True).fill("<b>hola</b>, ¿atienden hoy?")
    page.get_by_role("button", name="Enviar", exact=True).click()
    expect(page.locator("#messages li.mine .body")).to_have_text("<b>hola</b>, ¿atienden hoy?")
    answer = page.locator("#messages li.theirs .body")
    expect(answer).to_contain_text("«<b>hola</b>, ¿atienden hoy?»")
    expect(page.locator("#messages li.mine .ticks")).to_have_attribute("title", "entregado")
    assert len(simulator.received(number)) == 1
