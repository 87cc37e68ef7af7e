"""GET /events: how a CRM learns what happened."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_answer, await_delivered
from tests.acceptance.waiting import wait_for


def of_chat(api: Api, after: int, number: str) -> list[dict[str, Any]]:
    """The events after that one which concern that customer."""
    page = api.get("/events", after=after, limit=1000)
    return [event for event in page["events"] if event["data"].get("jid") == f"{number}@s.whatsapp.net"]


def test_what_happened_is_told_in_order(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number, seq = numbers.next(), api.last_seq()
    accepted = api.send(number, message="¿Confirmás el turno?")
    await_delivered(api, accepted["id"])
    simulator.write(number, "confirmo")
    await_answer(simulator, number, "confirmo")
    wait_for(lambda: len(of_chat(api, seq, number)) >= 3, ANSWER_SECONDS, "the events")
    delivered, received, answered = of_chat(api, seq, number)
    assert (delivered["type"], delivered["data"]["status"]) == ("message.status", "delivered")
    assert delivered["data"]["messageId"] == accepted["recipients"][0]["messageId"]
    assert (received["type"], received["data"]["text"]) == ("message.received", "confirmo")
    assert (answered["type"], answered["data"]["status"]) == ("message.status", "delivered")
    events = api.get("/events", after=seq, limit=1000)["events"]
    assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    finished = [event["data"]["sendId"] for event in events if event["type"] == "send.finished"]
    assert finished.count(accepted["id"]) == 1


def test_pages_leave_nothing_out(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    seq = api.last_seq()
    await_delivered(api, api.send(numbers.take(7), message="a todos")["id"])
    wait_for(lambda: len(api.get("/events", after=seq, limit=1000)["events"]) == 8, ANSWER_SECONDS, "eight events")
    seqs: list[int] = []
    last, more = seq, True
    while more:
        page = api.get("/events", after=last, limit=3)
        seqs += [event["seq"] for event in page["events"]]
        last, more = page["lastSeq"], page["hasMore"]
    assert seqs == list(range(seq + 1, seq + 9))


def test_long_poll_answers_as_soon_as_something_happens(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    seq, number = api.last_seq(), numbers.next()
    writing = threading.Timer(1.0, simulator.write, (number, "¿me leen?"))
    began = time.monotonic()
    writing.start()
    page = api.get("/events", after=seq, wait=30)
    waited = time.monotonic() - began
    writing.join()
    assert page["events"][0]["type"] == "message.received"
    assert 0.9 < waited < 25
    await_answer(simulator, number, "¿me leen?")


def test_long_poll_without_news_ends_empty(api: Api) -> None:
    def poll() -> tuple[int, dict[str, Any]] | None:
        seq = api.last_seq()
        page = api.get("/events", after=seq, wait=1)
        return None if page["events"] else (seq, page)

    found = wait_for(poll, ANSWER_SECONDS, "silence")
    assert found is not None
    seq, page = found
    assert (page["lastSeq"], page["hasMore"]) == (seq, False)
