"""The simulator's public API: phones, businesses, ledger, faults (contract, section 5)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

_numbers = count(5491100000001)


@pytest.fixture
def phone() -> str:
    return str(next(_numbers))


@pytest.fixture
def business(http: httpx.Client) -> str:
    """A business phone with an open session of epoch 1."""
    number = str(next(_numbers))
    http.put(f"/gateway/{number}/session", json={"epoch": 1}).raise_for_status()
    return number


def send(http: httpx.Client, business: str, to: str, text: str = "hola", attempt: str | None = None) -> httpx.Response:
    body = {"epoch": 1, "attempt": attempt or f"att_{next(_numbers)}", "to": to, "text": text}
    return http.post(f"/gateway/{business}/send", json=body)


def messages_of(http: httpx.Client, phone: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = http.get(f"/phones/{phone}/messages").raise_for_status().json()["messages"]
    return listed


def deliveries_to(http: httpx.Client, phone: str) -> list[dict[str, Any]]:
    ledger = http.get("/ledger", params={"limit": 10_000}).raise_for_status().json()["deliveries"]
    return [each for each in ledger if each["to"] == phone]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_what_a_customer_writes_is_listed_and_journalled(http: httpx.Client, phone: str, business: str) -> None:
    answer = http.post(f"/phones/{phone}/messages", json={"to": business, "text": "hola"})

    assert answer.status_code == 201
    (listed,) = messages_of(http, phone)
    at = datetime.fromisoformat(listed.pop("timestamp"))
    assert abs(at - datetime.now(UTC)) < timedelta(seconds=60)
    assert listed == {
        "id": answer.json()["id"], "from": phone, "to": business, "type": "text", "text": "hola", "status": "sent",
    }  # fmt: skip
    (event,) = http.get(f"/gateway/{business}/events?epoch=1").json()["events"]
    assert event["body"]["id"] == answer.json()["id"]


def test_what_the_business_has_taken_shows_as_delivered(http: httpx.Client, phone: str, business: str) -> None:
    http.post(f"/phones/{phone}/messages", json={"to": business, "text": "hola"})
    (event,) = http.get(f"/gateway/{business}/events?epoch=1").json()["events"]

    assert [each["status"] for each in messages_of(http, phone)] == ["sent"]
    http.get(f"/gateway/{business}/events?epoch=1&after={event['cursor']}")
    assert [each["status"] for each in messages_of(http, phone)] == ["delivered"]


def test_customer_writes_before_the_business_ever_connected(http: httpx.Client, phone: str) -> None:
    business = str(next(_numbers))
    http.post(f"/phones/{phone}/messages", json={"to": business, "text": "¿hola?"}).raise_for_status()

    http.put(f"/gateway/{business}/session", json={"epoch": 1}).raise_for_status()

    (event,) = http.get(f"/gateway/{business}/events?epoch=1").json()["events"]
    assert event["body"]["text"] == "¿hola?"


@pytest.mark.parametrize("type", ["audio", "image", "reaction"])
def test_what_is_not_text_has_a_description(http: httpx.Client, phone: str, business: str, type: str) -> None:
    http.post(f"/phones/{phone}/messages", json={"to": business, "type": type}).raise_for_status()
    http.post(f"/phones/{phone}/messages", json={"to": business, "type": type, "text": "un gato"}).raise_for_status()

    bare, described = messages_of(http, phone)

    assert bare["text"].startswith("[")
    assert described["text"] == "un gato"
    assert {bare["type"], described["type"]} == {type}


@pytest.mark.parametrize("written", ["+54 9 11 5555-{}", "54 (911) 5555.{}"])
def test_numbers_may_be_written_as_people_do(http: httpx.Client, business: str, written: str) -> None:
    last = f"{next(_numbers) % 10_000:04}"
    phone = written.format(last)
    http.post(f"/phones/{phone}/messages", json={"to": f"+{business}", "text": "hola"}).raise_for_status()

    assert [each["from"] for each in messages_of(http, f"549115555{last}")] == [f"549115555{last}"]


def test_ledger_counts_every_delivery_in_order(http: httpx.Client, phone: str, business: str) -> None:
    before = max([each["seq"] for each in http.get("/ledger?limit=10000").json()["deliveries"]], default=0)
    for text in ("uno", "uno", "dos"):
        assert send(http, business, phone, text, attempt="the same").status_code == 200

    ledger = http.get("/ledger", params={"after": before}).json()["deliveries"]

    assert [each["seq"] for each in ledger] == [before + 1, before + 2, before + 3]
    assert [each["text"] for each in ledger] == ["uno", "uno", "dos"]
    assert {(each["from"], each["to"]) for each in ledger} == {(business, phone)}
    assert set(ledger[0]) == {"seq", "id", "from", "to", "text", "timestamp"}
    assert len({each["id"] for each in ledger}) == 3
    assert http.get("/ledger", params={"after": before, "limit": 2}).json()["deliveries"] == ledger[:2]
    assert http.get("/ledger", params={"after": before + 2}).json()["deliveries"] == ledger[2:]


def test_customers_messages_are_not_in_the_ledger(http: httpx.Client, phone: str, business: str) -> None:
    http.post(f"/phones/{phone}/messages", json={"to": business, "text": "hola"}).raise_for_status()

    assert deliveries_to(http, business) == []


def test_offline_phone_gets_and_sends_what_waits(http: httpx.Client, phone: str, business: str) -> None:
    http.put(f"/phones/{phone}", json={"online": False})
    for text in ("uno", "dos"):
        send(http, business, phone, text).raise_for_status()
    http.post(f"/phones/{phone}/messages", json={"to": business, "text": "sin señal"}).raise_for_status()
    assert deliveries_to(http, phone) == []
    assert [(each["text"], each["status"]) for each in messages_of(http, phone)] == [("sin señal", "waiting")]
    assert http.get(f"/gateway/{business}/events?epoch=1").json()["events"] == []

    http.put(f"/phones/{phone}", json={"online": True})

    assert [each["text"] for each in deliveries_to(http, phone)] == ["uno", "dos"]
    assert [each["text"] for each in messages_of(http, phone)] == ["sin señal", "uno", "dos"]
    kinds = [each["body"]["kind"] for each in http.get(f"/gateway/{business}/events?epoch=1").json()["events"]]
    assert kinds == ["receipt", "receipt", "message"]
    http.put(f"/phones/{phone}", json={"online": True})
    assert len(deliveries_to(http, phone)) == 2


def test_phone_answers_each_message_once_by_itself(http: httpx.Client, phone: str, business: str) -> None:
    http.put(f"/phones/{phone}", json={"autoReply": "ok, gracias"})
    send(http, business, phone, "uno").raise_for_status()
    http.put(f"/phones/{phone}", json={"online": False})
    send(http, business, phone, "dos").raise_for_status()
    http.put(f"/phones/{phone}", json={"online": True})
    http.put(f"/phones/{phone}", json={"autoReply": None})
    send(http, business, phone, "tres").raise_for_status()

    texts = [each["text"] for each in messages_of(http, phone)]

    assert texts == ["uno", "ok, gracias", "dos", "ok, gracias", "tres"]


def test_phone_reads_when_it_is_told_to(http: httpx.Client, phone: str, business: str) -> None:
    http.put(f"/phones/{phone}", json={"readAfterMs": 30})
    send(http, business, phone).raise_for_status()

    eventually(lambda: [each["status"] for each in messages_of(http, phone)] == ["read"])

    events = http.get(f"/gateway/{business}/events?epoch=1").json()["events"]
    assert [each["body"]["receipt"] for each in events] == ["delivered", "read"]
    assert events[1]["body"]["at"] - events[0]["body"]["at"] >= 30


def test_offline_phone_reads_nothing(http: httpx.Client, phone: str, business: str) -> None:
    other = str(next(_numbers))
    for number in (phone, other):
        http.put(f"/phones/{number}", json={"readAfterMs": 4000})
        send(http, business, number).raise_for_status()
    http.put(f"/phones/{phone}", json={"online": False})

    eventually(lambda: [each["status"] for each in messages_of(http, other)] == ["read"])
    assert [each["status"] for each in messages_of(http, phone)] == ["delivered"]

    http.put(f"/phones/{phone}", json={"online": True})
    eventually(lambda: [each["status"] for each in messages_of(http, phone)] == ["read"])


def test_put_of_a_phone_changes_only_what_it_names(http: httpx.Client, phone: str) -> None:
    http.put(f"/phones/{phone}", json={"autoReply": "ok", "readAfterMs": 5, "name": "Juan"})

    answer = http.put(f"/phones/{phone}", json={"online": False, "readAfterMs": None})

    expected = {"number": phone, "name": "Juan", "registered": True, "online": False, "autoReply": "ok"}
    assert answer.json() == {**expected, "readAfterMs": None}
    assert http.get(f"/phones/{phone}").json() == answer.json()


def test_unregistered_phone_is_not_on_whatsapp(http: httpx.Client, phone: str, business: str) -> None:
    http.put(f"/phones/{phone}", json={"registered": False})

    refusals = [
        send(http, business, phone),
        http.post(f"/phones/{phone}/messages", json={"to": business, "text": "hola"}),
        http.post(f"/businesses/{business}/messages", json={"to": phone, "text": "hola"}),
    ]

    assert [each.status_code for each in refusals] == [422, 409, 409]
    assert messages_of(http, phone) == []


def test_typing_shows_until_the_message_comes(http: httpx.Client, phone: str, business: str) -> None:
    body = {"epoch": 1, "to": phone, "seconds": 30}
    http.post(f"/gateway/{business}/typing", json=body).raise_for_status()
    assert http.get(f"/phones/{phone}/messages").json()["typing"] == business

    send(http, business, phone).raise_for_status()

    assert http.get(f"/phones/{phone}/messages").json()["typing"] is None


def test_lists_for_the_page(http: httpx.Client, phone: str, business: str) -> None:
    http.post(f"/phones/{phone}/messages", json={"to": business, "text": "hola"})

    newest = http.get("/phones").json()["phones"][0]
    assert (newest["number"], newest["lastMessage"]["text"]) == (phone, "hola")
    assert {"phone": business, "connected": True} in http.get("/businesses").json()["businesses"]
    http.delete(f"/gateway/{business}/session?epoch=1").raise_for_status()
    assert {"phone": business, "connected": False} in http.get("/businesses").json()["businesses"]


def test_newest_messages_of_a_long_chat(http: httpx.Client, phone: str, business: str) -> None:
    for number in range(5):
        send(http, business, phone, str(number)).raise_for_status()

    listed = http.get(f"/phones/{phone}/messages?limit=2").json()["messages"]

    assert [each["text"] for each in listed] == ["3", "4"]


def test_metrics_are_prometheus_text(http: httpx.Client, phone: str, business: str) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    send(http, business, phone).raise_for_status()
    families = {each.name: each for each in text_string_to_metric_families(http.get("/metrics").text)}

    assert families["boton_simulator_deliveries"].samples[0].value >= 1
    assert families["boton_simulator_open_sessions"].samples[0].value >= 1
