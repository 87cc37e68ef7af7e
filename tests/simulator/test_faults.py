"""Faults: asked for by PUT /faults, deterministic by their seed."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx

_numbers = count(5491100000001)
ALL_WELL: dict[str, Any] = {
    "latencyMs": 0,
    "loseAckRate": 0.0,
    "rejectRate": 0.0,
    "rejectCode": 463,
    "disconnectRate": 0.0,
    "offline": False,
    "forgetful": False,
    "seed": 1,
}


def sends(http: httpx.Client, times: int) -> tuple[list[int], str]:
    """The statuses of that many sends to one fresh phone, and the phone."""
    business, phone = str(next(_numbers)), str(next(_numbers))
    while not http.put(f"/gateway/{business}/session", json={"epoch": 1}).is_success:
        pass  # a disconnect fault hits this request too
    answers = [
        http.post(f"/gateway/{business}/send", json={"epoch": 1, "attempt": f"a{n}", "to": phone, "text": "x"})
        for n in range(times)
    ]
    return [answer.status_code for answer in answers], phone


def delivered(http: httpx.Client, phone: str) -> int:
    return len(http.get(f"/phones/{phone}/messages").json()["messages"])


def test_put_replaces_and_delete_ends_all_faults(http: httpx.Client) -> None:
    assert http.get("/faults").json() == ALL_WELL
    asked = {"latencyMs": 5, "loseAckRate": 0.5, "rejectRate": 1, "rejectCode": 429, "disconnectRate": 0.25}
    asked |= {"offline": True, "forgetful": True, "seed": 7}

    assert http.put("/faults", json=asked).json() == asked
    assert http.put("/faults", json={"seed": 2}).json() == {**ALL_WELL, "seed": 2}
    assert http.delete("/faults").status_code == 204
    assert http.get("/faults").json() == ALL_WELL


def test_same_seed_same_fate(http: httpx.Client) -> None:
    fates = []
    for seed in (3, 3, 4):
        http.put("/faults", json={"loseAckRate": 0.4, "rejectRate": 0.3, "seed": seed})
        fates.append(sends(http, 40)[0])

    assert fates[0] == fates[1]
    assert fates[0] != fates[2]
    assert set(fates[0]) == {200, 403, 504}


def test_lost_ack_is_delivered_and_rejection_is_not(http: httpx.Client) -> None:
    http.put("/faults", json={"loseAckRate": 0.5, "rejectRate": 0.5})

    statuses, phone = sends(http, 40)

    assert delivered(http, phone) == 40 - statuses.count(403)
    assert min(statuses.count(each) for each in (200, 403, 504)) > 0


def test_disconnects_do_nothing(http: httpx.Client) -> None:
    http.put("/faults", json={"disconnectRate": 0.5})

    statuses, phone = sends(http, 40)

    assert set(statuses) == {200, 503}
    assert delivered(http, phone) == statuses.count(200)


def test_rejection_names_its_code(http: httpx.Client) -> None:
    http.put("/faults", json={"rejectRate": 1, "rejectCode": 429})
    business = str(next(_numbers))
    http.put(f"/gateway/{business}/session", json={"epoch": 1})

    body = {"epoch": 1, "attempt": "a", "to": "5491112345678", "text": "x"}
    answer = http.post(f"/gateway/{business}/send", json=body)

    assert (answer.status_code, answer.json()["code"], answer.json()["reason"]) == (403, "number_refused", 429)


def test_customers_and_the_owner_are_not_offline_with_the_gateway(http: httpx.Client) -> None:
    business, phone = str(next(_numbers)), str(next(_numbers))
    http.put("/faults", json={"offline": True})

    assert http.post(f"/phones/{phone}/messages", json={"to": business, "text": "hola"}).status_code == 201
    assert http.post(f"/businesses/{business}/messages", json={"to": phone, "text": "hola"}).status_code == 201
    assert http.put(f"/gateway/{business}/session", json={"epoch": 1}).status_code == 503

    http.delete("/faults")
    http.put(f"/gateway/{business}/session", json={"epoch": 1}).raise_for_status()
    events = http.get(f"/gateway/{business}/events?epoch=1").json()["events"]
    assert [each["body"]["kind"] for each in events] == ["message", "message", "receipt"]
