"""Two businesses on one installation see nothing of each other."""

from __future__ import annotations

import pytest

from tests.acceptance.api import Api
from tests.acceptance.fetching import fetch
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack
from tests.acceptance.talk import Numbers, await_answer, await_delivered


@pytest.fixture(scope="module")
def other(shared: Stack) -> Api:
    """A second business, made on the command line while everything runs."""
    business = shared.run("business", "create", "Otro Negocio")
    assert business.returncode == 0, business.stderr
    token = shared.run("token", "create", business.stdout.strip(), "acceptance")
    assert token.returncode == 0, token.stderr
    return Api(shared.up()["api"], token.stdout.strip())


def test_second_business_sees_nothing_of_the_first(
    api: Api, other: Api, simulator: Simulator, numbers: Numbers
) -> None:
    customer = numbers.next()
    simulator.write(customer, "soy de Mi Negocio")
    await_answer(simulator, customer, "soy de Mi Negocio")
    accepted = api.send(customer, message="de Mi Negocio")
    await_delivered(api, accepted["id"])
    assert other.get("/chats")["total"] == 0
    assert other.get("/sends")["total"] == 0
    assert other.get("/events")["events"] == []
    status = other.get("/status")
    assert (status["business"], status["connected"], status["activeBotChats"]) == ("Otro Negocio", False, 0)
    for path in (
        f"/chats/{customer}@s.whatsapp.net",
        f"/chats/{customer}@s.whatsapp.net/messages",
        f"/sends/{accepted['id']}",
        f"/sends/{accepted['id']}/recipients",
    ):
        assert other.request("GET", path).status_code == 404, path


def test_second_business_changes_nothing_of_the_first(
    api: Api, other: Api, simulator: Simulator, numbers: Numbers
) -> None:
    customer = numbers.next()
    simulator.write(customer, "hola")
    await_answer(simulator, customer, "hola")
    before = api.get("/config")
    other.configure(businessName="Otro Nombre", botNewChats=False, customInstructions="Di otra cosa")
    assert other.patch_chat(customer, untouchable=True, name="Otra")["untouchable"] is True
    assert api.get("/config") == before
    chat = api.get(f"/chats/{customer}@s.whatsapp.net")
    assert (chat["untouchable"], chat["name"]) == (False, None)
    simulator.write(customer, "¿siguen?")
    await_answer(simulator, customer, "¿siguen?")


def test_business_without_a_number_is_told_so(other: Api, numbers: Numbers) -> None:
    refused = other.request("POST", "/send", json={"to": numbers.next(), "message": "hola"})
    assert refused.status_code == 409
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert refused.json()["detail"]


@pytest.mark.parametrize("authorization", [None, "Bearer boton_nobody", "Bearer", "Basic Ym90b246Ym90b24="])
def test_no_or_wrong_token_is_refused(shared: Stack, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    refused = fetch(f"{shared.up()['api']}/api/v1/status", headers=headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.headers["content-type"].startswith("application/problem+json")


def test_revoked_token_is_refused_at_once(shared: Stack) -> None:
    business = shared.up()["business"]["id"]
    secret = shared.run("token", "create", business, "short").stdout.strip()
    assert Api(shared.up()["api"], secret).request("GET", "/status").status_code == 200
    [line] = [line for line in shared.run("token", "list", business).stdout.splitlines() if "short" in line]
    assert secret not in line
    assert shared.run("token", "revoke", line.split()[0]).returncode == 0
    assert Api(shared.up()["api"], secret).request("GET", "/status").status_code == 401
