"""Simulator and WhatsApp, from one to the other and back, counted at both ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.model_server import ModelServer
from tests.acceptance.talk import Numbers, await_delivered, await_stored
from tests.acceptance.waiting import wait_for
from tests.acceptance.whatsapp import SECONDS, PlayedStack, played, post

pytestmark = pytest.mark.timeout(900)

MANY = 150
"""At a second or two for ten of them, there is time to switch while they go out."""

DUE_IN = timedelta(seconds=20)
SETTLED_WITHIN = 240.0
"""Seconds: what a link could not record before it ended is nobody's, and `unconfirmed` after three minutes."""


@pytest.fixture
def model() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture
def world(model: ModelServer, tmp_path: Path) -> Iterator[PlayedStack]:
    """On the simulator's number, with a bot that can be kept thinking."""
    yield from played(tmp_path, LLM_BASE_URL=model.url, LLM_MODEL="prueba")


def reached(world: PlayedStack) -> dict[str, Counter[tuple[str, str]]]:
    """What reached whom, and how often, over each of the two."""
    over_simulator = [(one["to"], one["text"]) for one in world.stack.simulator.ledger()]
    over_whatsapp = [(number, text) for number, phone in world.phone.phones.items() for text in phone.received]
    return {"simulator": Counter(over_simulator), "whatsapp": Counter(over_whatsapp)}


class Work:
    """What a number has to do when its business leaves it: a bulk of which some messages are on the wire, a reminder
    that becomes due soon after, and a reply that is being thought. name: in every text of it.
    """

    def __init__(self, world: PlayedStack, numbers: Numbers, name: str) -> None:
        self._world, self.name = world, name
        self.recipients = numbers.take(MANY)
        self.reminded, self.customer = numbers.take(2)
        for number in (*self.recipients, self.reminded, self.customer):
            world.phone.add_phone(number)

    def begin(self, write: Callable[[str, str], object], model: ModelServer, is_under_way: Callable[[], bool]) -> None:
        """The model must be thinking."""
        api, question = self._world.api, f"pregunta {self.name}"
        write(self.customer, question)
        await_stored(api, self.customer, question)
        wait_for(lambda: model.asked(question), SECONDS, "a bot that thinks")
        self.send_id = str(api.send(self.recipients, message=f"masivo {self.name}")["id"])
        wait_for(is_under_way, SECONDS, "messages on the wire")
        self.due_at = datetime.now(UTC) + DUE_IN
        body = {"to": self.reminded, "message": f"recordatorio {self.name}", "at": self.due_at.isoformat()}
        reminder = api.request("POST", "/reminders", json=body)
        assert reminder.status_code == 201, reminder.text
        self.reminder_id = str(reminder.json()["id"])

    def settled(self) -> Any:
        """The bulk, once nothing of it is on the wire any more."""
        send = self._world.api.get(f"/sends/{self.send_id}")
        return not send["counts"]["sending"] and send

    def statuses(self) -> dict[str, str]:
        return {one["to"]: one["status"] for one in self._world.api.recipients(self.send_id)}

    def received(self, over: str) -> Counter[tuple[str, str]]:
        """What of it went over that one."""
        return Counter({key: count for key, count in reached(self._world)[over].items() if self.name in key[1]})


def assert_left_only_over(work: Work, own: str, other: str) -> None:
    """What was queued is held; what was on the wire is recorded, or nobody knows of it."""
    received = work.received(own)
    assert work.received(other) == {}
    assert set(received.values()) <= {1}
    got = {number for number, text in received if text == f"masivo {work.name}"}
    assert set(received) == {(number, f"masivo {work.name}") for number in got}, "no reminder and no reply"
    by_status = work.statuses()
    told = {number for number, status in by_status.items() if status in {"sent", "delivered", "read"}}
    unknown = {number for number, status in by_status.items() if status == "unconfirmed"}
    assert told <= got <= told | unknown
    assert {status for number, status in by_status.items() if number not in told | unknown} == {"queued"}


def assert_held(world: PlayedStack, *works: Work) -> None:
    ids = {one["id"] for one in world.api.get("/held", pageSize=50)["held"] if one["kind"] != "chat"}
    assert ids == {id for work in works for id in (work.send_id, work.reminder_id)}


def let_pass(world: PlayedStack, newcomer: str, *works: Work) -> None:
    """Until the reminders' times are over and what was begun after that over the present number is done."""
    due_at = max(work.due_at for work in works)
    wait_for(lambda: datetime.now(UTC) > due_at + timedelta(seconds=2), 2 * DUE_IN.total_seconds(), "that time")
    world.phone.add_phone(newcomer)
    await_delivered(world.api, world.api.send(newcomer, message="por el de ahora")["id"], SECONDS)


def test_nothing_queued_for_the_one_leaves_through_the_other(
    world: PlayedStack, model: ModelServer, numbers: Numbers
) -> None:
    simulator = world.stack.simulator
    toy, real = Work(world, numbers, "del simulador"), Work(world, numbers, "de verdad")
    with model.thinking():
        simulator.set_faults(latencyMs=1000)
        toy.begin(simulator.write, model, lambda: len(simulator.ledger()) > 0 and simulator.under_way() > 0)
        world.link()
        simulator.clear_faults()
        wait_for(toy.settled, SETTLED_WITHIN, "what was on the wire")
    let_pass(world, numbers.next(), toy)
    assert_left_only_over(toy, "simulator", "whatsapp")
    assert_held(world, toy)

    with model.thinking():
        world.phone.faults = {"latencyMs": 2000}
        real.begin(
            world.phone.customer_writes, model, lambda: bool(real.received("whatsapp")) and world.phone.under_way > 0
        )
        post(world.api, "/connection", {"gateway": "simulator"})
        world.phone.faults = {}
        world.await_status("connected")
        wait_for(real.settled, SETTLED_WITHIN, "what was on the wire")
    let_pass(world, numbers.next(), real)
    assert_left_only_over(real, "whatsapp", "simulator")
    assert_left_only_over(toy, "simulator", "whatsapp")
    assert_held(world, toy, real)

    was = Counter(work.statuses().get(number) for work in (toy, real) for number in work.recipients)
    left = {(number, f"masivo {real.name}") for number, status in real.statuses().items() if status == "queued"}
    post(world.api, "/held/resume", {})
    for work in (toy, real):
        wait_for(lambda work=work: not world.api.get(f"/sends/{work.send_id}")["counts"]["queued"], SECONDS, "the rest")  # type: ignore[misc]
    wait_for(lambda: set(real.received("simulator")) >= left, SECONDS, "the rest over the present number")
    assert set(real.received("whatsapp")) & set(real.received("simulator")) == set(), "nobody gets two"
    assert set(toy.received("simulator").values()) == {1}
    print(f"of {2 * MANY} messages at the switches: {dict(was)}")
