"""A backup while everything runs, the end of that store, and what the restored one does: nothing, until it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.api import Api
from tests.acceptance.model_server import ModelServer
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack, running
from tests.acceptance.talk import Numbers, await_delivered, await_stored
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.timeout(600)

MANY = 40
PENDING_SECONDS = 150.0
HALVES, RUNNING, LATER = "en dos mitades", "sigue andando", "después de la copia"
QUESTION = "¿me atienden?"


class Work:
    """What is under way when the backup is made: a bulk paused half-way, one that runs, a reminder, a send for later,
    a question.
    """

    def __init__(self, api: Api, simulator: Simulator, numbers: Numbers) -> None:
        self._api, self._simulator = api, simulator
        self.recipients = numbers.take(MANY)
        self.customer, reminded, patient = numbers.take(3)
        self.half = self._begin(HALVES, self.recipients)
        post(api, f"/sends/{self.half}/pause", 200)
        wait_for(lambda: api.get(f"/sends/{self.half}")["counts"]["sending"] == 0, PENDING_SECONDS, "a halt")
        at = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
        self.reminder = post(api, "/reminders", 201, {"to": reminded, "message": "mañana a las 15", "at": at})["id"]
        self.scheduled = api.send(patient, message="más tarde", sendAt=at)["id"]
        self._ask()
        self.running = self._begin(RUNNING, numbers.take(MANY))

    def _begin(self, text: str, recipients: list[str]) -> str:
        id = str(self._api.send(recipients, message=text)["id"])
        wait_for(lambda: self._simulator.copies(text)[text] >= 5, PENDING_SECONDS, f"the first of {text!r}")
        return id

    def _ask(self) -> None:
        self._simulator.write(self.customer, QUESTION)
        await_stored(self._api, self.customer, QUESTION)


def post(api: Api, path: str, expected: int, body: Any = None) -> Any:
    answer = api.request("POST", path, json=body)
    assert answer.status_code == expected, answer.text
    return answer.json()


def pace(api: Api, seconds: float) -> None:
    """Between two messages of a bulk."""
    api.configure(pacing={"slowGapSeconds": [seconds, seconds]})


def run(stack: Stack, *arguments: str) -> str:
    done = stack.run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def reached(stack: Stack, text: str) -> Counter[str]:
    """How often each phone got it."""
    return Counter(one["to"] for one in stack.simulator.ledger() if one["text"] == text)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture
def own(model: ModelServer, tmp_path: Path) -> Iterator[Stack]:
    """A stack whose bot can be kept thinking."""
    yield from running(Stack(tmp_path, LLM_BASE_URL=model.url, LLM_MODEL="prueba"))


def test_nothing_of_a_restored_store_goes_out_until_it_is_told_to(
    own: Stack, model: ModelServer, numbers: Numbers
) -> None:
    pace(own.api, 1.0)  # so that there is time to look at what is under way
    with model.thinking():
        work = Work(own.api, own.simulator, numbers)
        assert "unfinished: 3 sends, 1 reminders, 1 messages to answer" in run(own, "backup", "monday.db")
        assert not own.api.is_finished(work.running)
    pace(own.api, 0.1)
    lose(own, work, numbers.next())

    run(own, "restore", "--replace", "monday.db")
    own.start()
    pace(own.api, 0.1)
    assert_quiet(own, numbers)
    assert_held(own, work)
    sent = reached(own, RUNNING)
    run(own, "held", "cancel", work.running, work.scheduled)  # the one had gone out, the other is not wanted
    told = len(own.simulator.received(work.customer))
    run(own, "held", "resume")

    await_delivered(own.api, work.half, PENDING_SECONDS)
    wait_for(lambda: len(own.simulator.received(work.customer)) > told, PENDING_SECONDS, "the answer")
    assert own.api.get(f"/reminders/{work.reminder}")["status"] == "scheduled"
    assert [own.api.get(f"/sends/{id}")["status"] for id in (work.running, work.scheduled)] == ["cancelled"] * 2
    await_any_answer(own.simulator, numbers.next())
    assert reached(own, HALVES) == dict.fromkeys(work.recipients, 1)
    assert reached(own, RUNNING) == sent
    assert reached(own, LATER).total() == 1
    assert len(own.simulator.received(work.customer)) == told + 1
    assert run(own, "held", "list") == "Nothing is held.\n"


def lose(stack: Stack, work: Work, number: str) -> None:
    """After the backup life goes on for a while, and then the store is lost."""
    await_delivered(stack.api, stack.api.send(number, message=LATER)["id"], PENDING_SECONDS)
    await_delivered(stack.api, work.running, PENDING_SECONDS)
    assert stack.stop() == 0


def assert_quiet(stack: Stack, numbers: Numbers) -> None:
    """Only what is asked for now goes out."""
    before = len(stack.simulator.ledger())
    newcomer, recipient = numbers.take(2)
    await_any_answer(stack.simulator, newcomer)
    await_delivered(stack.api, stack.api.send(recipient, message="de ahora")["id"], PENDING_SECONDS)
    assert {one["to"] for one in stack.simulator.ledger()[before:]} <= {newcomer, recipient}


def await_any_answer(simulator: Simulator, newcomer: str) -> None:
    simulator.write(newcomer, "¿ya está?")
    wait_for(lambda: simulator.received(newcomer), PENDING_SECONDS, "an answer")


def assert_held(stack: Stack, work: Work) -> None:
    """As the API, the list and the doctor tell it; neither tells whom it is about."""
    for id in (work.half, work.running, work.scheduled):
        assert stack.api.get(f"/sends/{id}")["status"] == "paused"
    listed = run(stack, "held", "list")
    assert all(id in listed for id in (work.half, work.running, work.scheduled, work.reminder))
    assert "3 sends, 1 reminders, 1 chats" in listed, listed
    assert work.customer not in listed
    (line,) = [line for line in run(stack, "doctor").splitlines() if line.startswith("warn  held ")]
    assert "boton held resume" in line
    assert "boton held cancel" in line
