"""The page of phones, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.simulator.process import SimulatorProcess

CHROMIUM = Path("/usr/bin/chromium")
BUSINESS = "5491138620812"
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), headless=True, chromium_sandbox=False, args=FLAGS
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser, simulator: SimulatorProcess):  # type: ignore[no-untyped-def]
    context = browser.new_context(locale="es-AR", viewport={"width": 1180, "height": 760})
    page = context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda line: page.complaints.append(line.text) if line.type == "error" else None)
    page.goto(simulator.url)
    yield page
    context.close()


@pytest.fixture
def api(simulator: SimulatorProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.url, trust_env=False, timeout=60) as client:
        yield client


def add_phone(page, number: str) -> None:  # type: ignore[no-untyped-def]
    page.fill("#new-number", number)
    page.click("#new-phone button")
    page.wait_for_selector("#chat:not([hidden])")


def test_customer_is_played_by_hand(page, api: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    add_phone(page, "+54 9 11 1234-5678")
    page.fill("#text", "hola, ¿hay turno?")
    page.click("#composer button")
    page.wait_for_selector("#messages li.mine >> text=hola, ¿hay turno?")
    api.post(f"/businesses/{BUSINESS}/messages", json={"to": "5491112345678", "text": "sí, mañana"})

    page.wait_for_selector("#messages li.theirs >> text=sí, mañana")

    written = api.get("/phones/5491112345678/messages").json()["messages"]
    assert [(each["from"], each["to"], each["text"]) for each in written] == [
        ("5491112345678", BUSINESS, "hola, ¿hay turno?"),
        (BUSINESS, "5491112345678", "sí, mañana"),
    ]
    assert page.get_attribute("#messages li.mine .ticks", "title") == "enviado"
    assert page.complaints == []


def test_ticks_follow_the_business(page, api: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    api.put(f"/gateway/{BUSINESS}/session", json={"epoch": 1})
    add_phone(page, "5491112345678")
    page.fill("#text", "hola")
    page.press("#text", "Enter")
    page.wait_for_selector("#messages li.mine .ticks.sent")

    (event,) = api.get(f"/gateway/{BUSINESS}/events?epoch=1").json()["events"]
    api.get(f"/gateway/{BUSINESS}/events?epoch=1&after={event['cursor']}")

    page.wait_for_selector("#messages li.mine .ticks.delivered")
    assert page.input_value("#business") == BUSINESS


def test_phone_is_switched_offline_and_back(page, api: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    add_phone(page, "5491112345678")
    page.click("#settings-toggle")
    page.uncheck("#online")
    page.fill("#name", "Juan")
    page.click("#settings button")
    page.wait_for_selector("#chat-state >> text=sin conexión")
    api.post(f"/businesses/{BUSINESS}/messages", json={"to": "5491112345678", "text": "¿estás?"})
    page.wait_for_selector("#phones .title >> text=Juan")
    assert page.locator("#messages li.theirs").count() == 0

    page.click("#settings-toggle")
    page.check("#online")
    page.click("#settings button")

    page.wait_for_selector("#messages li.theirs >> text=¿estás?")


def test_texts_are_never_html(page, api: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    attack = "<img src=x onerror=\"document.title='broken'\"><b>x</b>"
    api.put("/phones/5491112345678", json={"name": attack[:100]})
    api.post(f"/businesses/{BUSINESS}/messages", json={"to": "5491112345678", "text": attack})

    page.click("#phones button")
    page.wait_for_selector("#messages li.theirs")

    assert page.inner_text("#messages li.theirs .body") == attack
    assert page.locator("#messages img, #messages b, #phones img, #chat-number b").count() == 0
    assert page.title() != "broken"


def test_refusal_is_told(page) -> None:  # type: ignore[no-untyped-def]
    page.fill("#new-number", "12")
    page.click("#new-phone button")

    page.wait_for_selector("#notice:not([hidden])")
    assert "8 to 15 digits" in page.inner_text("#notice")
