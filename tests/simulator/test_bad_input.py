"""Whatever is asked wrongly is refused with a reason; nothing is ever a 500."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

PHONE, BUSINESS = "5491112345678", "5491138620812"
WRITE = f"/phones/{PHONE}/messages"
GOOD = {"to": BUSINESS, "text": "hola"}
DEEP = "[" * 100_000


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert len(problem["detail"]) > 10
    return problem


@pytest.mark.parametrize("number", ["12", "1234567", "1234567890123456", "abc", "0491112345678", "٥٤٩١١١٢٣٤٥٦٧٨"])
def test_what_is_no_number_is_refused(http: httpx.Client, number: str) -> None:
    for answer in (
        http.get(f"/phones/{number}/messages"),
        http.post(f"/phones/{number}/messages", json=GOOD),
        http.put(f"/phones/{number}", json={}),
        http.post(WRITE, json={"to": number, "text": "hola"}),
        http.post(f"/businesses/{number}/messages", json={"to": PHONE, "text": "hola"}),
        http.put(f"/gateway/{number}/session", json={"epoch": 1}),
    ):
        assert check_problem(answer, 422)["errors"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "hola"}, "to"),
        ({"to": True, "text": "hola"}, "to"),
        ({"to": [BUSINESS], "text": "hola"}, "to"),
        ({"to": PHONE, "text": "hola"}, "to"),
        ({"to": BUSINESS}, "text"),
        ({"to": BUSINESS, "text": ""}, "text"),
        ({"to": BUSINESS, "text": " \n"}, "text"),
        ({"to": BUSINESS, "text": None}, "text"),
        ({"to": BUSINESS, "text": 5}, "text"),
        ({"to": BUSINESS, "text": "a\0b"}, "text"),
        ({"to": BUSINESS, "text": "\ud800"}, "text"),
        ({"to": BUSINESS, "text": "x" * 70_000}, "text"),
        ({**GOOD, "type": "hologram"}, "type"),
        ({**GOOD, "type": 1}, "type"),
        ({**GOOD, "txet": "hola"}, "txet"),
    ],
)
def test_wrong_message_names_the_field(http: httpx.Client, body: dict[str, Any], field: str) -> None:
    raw = json.dumps(body)

    problem = check_problem(http.post(WRITE, content=raw, headers={"Content-Type": "application/json"}), 422)

    assert [error["path"] for error in problem["errors"]] == [field]


@pytest.mark.parametrize("raw", ["", "{", "nope", '{"to": NaN}', "\xff\xfe", DEEP, '{"to": ' + "9" * 5000 + "}"])
def test_what_is_not_json_is_refused(http: httpx.Client, raw: str) -> None:
    content = raw.encode("latin-1")
    check_problem(http.post(WRITE, content=content, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("raw", ["[]", "5", "null", '"x"'])
def test_body_must_be_an_object(http: httpx.Client, raw: str) -> None:
    check_problem(http.post(WRITE, content=raw, headers={"Content-Type": "application/json; charset=utf-8"}), 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_no_form_of_a_web_page_can_post(http: httpx.Client, kind: str) -> None:
    for method, path in (("POST", WRITE), ("PUT", "/faults"), ("PUT", f"/phones/{PHONE}")):
        content = json.dumps(GOOD)
        check_problem(http.request(method, path, content=content, headers={"Content-Type": kind}), 415)


def test_too_large_a_body_is_refused(http: httpx.Client) -> None:
    content = b'{"text": "' + b"x" * 1_100_000 + b'"}'
    check_problem(http.post(WRITE, content=content, headers={"Content-Type": "application/json"}), 413)


@pytest.mark.parametrize(
    "body",
    [
        {"online": "yes"},
        {"online": None},
        {"registered": 1},
        {"autoReply": ""},
        {"autoReply": 5},
        {"readAfterMs": -1},
        {"readAfterMs": 1.5},
        {"readAfterMs": 10**30},
        {"readAfterMs": True},
        {"offline": True},
    ],
)
def test_wrong_behaviour_changes_nothing(http: httpx.Client, body: dict[str, Any]) -> None:
    before = http.get(f"/phones/{PHONE}").json()

    assert check_problem(http.put(f"/phones/{PHONE}", json=body), 422)["errors"][0]["path"] == next(iter(body))

    assert http.get(f"/phones/{PHONE}").json() == before


@pytest.mark.parametrize(
    "body",
    [
        {"latencyMs": -1},
        {"latencyMs": 10**9},
        {"latencyMs": "5"},
        {"loseAckRate": 1.1},
        {"loseAckRate": "0.5"},
        {"rejectRate": -0.1},
        {"rejectRate": True},
        {"rejectCode": 0},
        {"offline": "true"},
        {"seed": 1.5},
        {"seed": 10**30},
        {"latency": 5},
    ],
)
def test_wrong_faults_change_nothing(http: httpx.Client, body: dict[str, Any]) -> None:
    assert check_problem(http.put("/faults", json=body), 422)["errors"][0]["path"] == next(iter(body))
    assert http.get("/faults").json()["seed"] == 1


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=-5", "limit=1.5", "after=", f"after={'9' * 40}"])
def test_wrong_query_is_refused(http: httpx.Client, query: str) -> None:
    check_problem(http.get(f"/ledger?{query}"), 422)


def test_large_limits_are_lowered(http: httpx.Client) -> None:
    assert http.get(f"/ledger?limit={10**12}&after={10**20}").json() == {"deliveries": []}


@pytest.mark.parametrize("query", ["epoch=1&wait=-1", "epoch=1&wait=nan", "epoch=x", "epoch=1&after=x"])
def test_wrong_wait_is_refused(http: httpx.Client, query: str) -> None:
    check_problem(http.get(f"/gateway/{BUSINESS}/events?{query}"), 422)


@pytest.mark.parametrize("epoch", [None, -1, "1", 1.5, True, 10**30])
def test_wrong_epoch_opens_nothing(http: httpx.Client, epoch: object) -> None:
    check_problem(http.put("/gateway/5491100009999/session", json={"epoch": epoch}), 422)
    assert "5491100009999" not in http.get("/businesses").text


def test_unknown_paths_and_methods(http: httpx.Client) -> None:
    check_problem(http.get("/nothing"), 404)
    assert "GET" in http.delete("/ledger").headers["allow"]
    check_problem(http.delete("/ledger"), 405)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost:x"])
def test_other_hosts_names_are_refused(http: httpx.Client, host: str) -> None:
    check_problem(http.get("/ledger", headers={"Host": host}), 403)
    check_problem(http.get("/", headers={"Host": host}), 403)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST:8900", "[::1]:8900", "[::1]"])
def test_own_names_are_answered(http: httpx.Client, host: str) -> None:
    assert http.get("/faults", headers={"Host": host}).status_code == 200
