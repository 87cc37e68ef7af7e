"""Pausing, resuming and cancelling a bulk under way, as a business does it: before the next message, whatever dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_delivered
from tests.acceptance.waiting import stays, wait_for

pytestmark = pytest.mark.timeout(300)

MANY = 120


@pytest.fixture
def slowly(rough: Stack) -> Iterator[Stack]:
    """Some messages a second, so that there is a middle of a bulk."""
    rough.api.configure(pacing={"slowGapSeconds": [0.1, 0.2]})
    yield rough
    rough.api.configure(pacing=None)


def change(api: Api, send_id: str, how: str) -> dict[str, Any]:
    answer = api.request("POST", f"/sends/{send_id}/{how}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def counts(api: Api, send_id: str) -> dict[str, int]:
    found: dict[str, int] = api.get(f"/sends/{send_id}")["counts"]
    return found


def await_middle(simulator: Simulator, text: str) -> None:
    wait_for(lambda: simulator.copies(text)[text] >= 5, ANSWER_SECONDS, "the middle of the bulk")


def await_nothing_on_its_way(api: Api, send_id: str) -> int:
    """How many are still queued once the attempts that were under way have ended."""
    wait_for(lambda: counts(api, send_id)["sending"] == 0, ANSWER_SECONDS, "the end of what was on its way")
    return counts(api, send_id)["queued"]


def test_paused_bulk_stands_still_through_restarts_and_goes_on(slowly: Stack, numbers: Numbers) -> None:
    api, simulator, recipients = slowly.api, slowly.simulator, numbers.take(MANY)
    text = "con pausa"
    accepted = api.send(recipients, message=text)
    assert accepted["estimatedEnd"] > api.get(f"/sends/{accepted['id']}")["createdAt"]
    await_middle(simulator, text)
    assert change(api, accepted["id"], "pause")["status"] == "paused"
    queued = await_nothing_on_its_way(api, accepted["id"])
    assert 0 < queued < MANY
    killed = {part: slowly.kill(part) for part in ("worker", "link", "api")}
    for part, pid in killed.items():
        slowly.wait_replaced(part, pid)
    stays(lambda: counts(api, accepted["id"])["queued"] == queued, 5, "paused")
    assert change(api, accepted["id"], "pause")["status"] == "paused"
    assert change(api, accepted["id"], "resume")["status"] == "running"
    await_delivered(api, accepted["id"], 120)
    reached = Counter(delivery["to"] for delivery in simulator.ledger() if delivery["text"] == text)
    assert reached == dict.fromkeys(recipients, 1)
    assert api.request("POST", f"/sends/{accepted['id']}/cancel").status_code == 409


@pytest.mark.parametrize("paused", [False, True])
def test_cancelled_bulk_accounts_for_everybody(slowly: Stack, numbers: Numbers, paused: bool) -> None:
    api, simulator = slowly.api, slowly.simulator
    text = f"sin final, {paused}"
    seq = api.last_seq()
    accepted = api.send(numbers.take(MANY), message=text)
    await_middle(simulator, text)
    if paused:
        change(api, accepted["id"], "pause")
    assert change(api, accepted["id"], "cancel")["status"] == "cancelled"
    wait_for(lambda: api.get(f"/sends/{accepted['id']}")["finishedAt"], ANSWER_SECONDS, "the end of the cancelled send")
    wait_for(
        lambda: api.statuses(accepted["id"]) == {"delivered", "cancelled"}, ANSWER_SECONDS, "receipts of what was sent"
    )
    found = counts(api, accepted["id"])
    assert found["delivered"] + found["cancelled"] == MANY
    assert found["delivered"] == simulator.copies(text)[text]
    assert change(api, accepted["id"], "cancel")["status"] == "cancelled"
    told = [event for event in api.get("/events", after=seq, limit=1000)["events"] if event["type"] == "send.finished"]
    assert [(event["data"]["sendId"], event["data"]["status"]) for event in told] == [(accepted["id"], "cancelled")]


def test_reply_to_a_known_contact_does_not_wait_for_a_paused_bulk(slowly: Stack, numbers: Numbers) -> None:
    api, known = slowly.api, numbers.next()
    bulk = api.send(numbers.take(MANY), message="espera")
    change(api, bulk["id"], "pause")
    single = api.send([{"to": known, "known": True}], message="enseguida")  # type: ignore[list-item]
    await_delivered(api, single["id"])
    assert change(api, bulk["id"], "cancel")["counts"]["cancelled"] > 0
