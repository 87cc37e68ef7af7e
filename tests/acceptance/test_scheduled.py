"""`sendAt`: not before its time, once, and only what was not taken back until then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_delivered
from tests.acceptance.waiting import wait_for


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_scheduled_message_leaves_at_its_time(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number, when = numbers.next(), soon(2)
    accepted = api.send(number, message="Mañana es hoy", sendAt=when)
    await_delivered(api, accepted["id"])
    [delivery] = [one for one in simulator.ledger() if one["to"] == number]
    assert datetime.fromisoformat(delivery["timestamp"]) >= datetime.fromisoformat(when).replace(microsecond=0)
    assert api.get(f"/sends/{accepted['id']}")["waiting"] is None


def test_message_for_tomorrow_tells_what_it_waits_for(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    accepted = api.send(numbers.next(), message="Mañana", sendAt=soon(86_400))
    send = api.get(f"/sends/{accepted['id']}")
    assert accepted["status"] == send["status"] == "scheduled"
    assert send["waiting"] == {"reason": "scheduled", "until": send["sendAt"]}
    assert api.request("POST", f"/sends/{accepted['id']}/cancel").json()["status"] == "cancelled"


def test_cancelled_before_its_time_it_never_leaves(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    cancelled, later = numbers.take(2)
    accepted = api.send(cancelled, message="Nunca", sendAt=soon(8))
    answer = api.request("POST", f"/sends/{accepted['id']}/cancel").json()
    assert (answer["status"], answer["counts"]["cancelled"]) == ("cancelled", 1)
    assert answer["finishedAt"] is not None
    await_delivered(api, api.send(later, message="Después", sendAt=soon(9))["id"])
    assert simulator.received(cancelled) == []


def test_paused_over_its_time_it_leaves_when_it_is_resumed(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    paused, later = numbers.take(2)
    accepted = api.send(paused, message="Con demora", sendAt=soon(8))
    api.request("POST", f"/sends/{accepted['id']}/pause")
    await_delivered(api, api.send(later, message="A tiempo", sendAt=soon(9))["id"])
    assert simulator.received(paused) == []
    assert api.request("POST", f"/sends/{accepted['id']}/resume").json()["status"] == "queued"
    await_delivered(api, accepted["id"])


def test_scheduled_message_outlives_a_stop(own: Stack, numbers: Numbers) -> None:
    """It falls due while everything is down, and is sent once at the next start."""
    number, when = numbers.next(), datetime.now(UTC) + timedelta(seconds=3)
    accepted = own.api.send(number, message="Te esperamos", sendAt=when.isoformat())
    assert own.stop() == 0
    wait_for(lambda: datetime.now(UTC) > when, 10, "its time")
    own.start()
    await_delivered(own.api, accepted["id"], 2 * ANSWER_SECONDS)
    assert own.simulator.received(number) == ["Te esperamos"]
