"""The end of `boton up`, in order or not, and the next start: the store is the truth."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from tests.acceptance.stack import START_SECONDS, STOP_SECONDS, Stack
from tests.acceptance.talk import Numbers, answers, await_answer, await_delivered, let_pass
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

GONE_SECONDS = 60.0
PENDING_SECONDS = 120.0


def assert_nothing_is_left(stack: Stack) -> None:
    """A killed process loses its memory, by which `processes` knows it, a moment before its sockets and locks."""
    wait_for(lambda: not stack.processes(), GONE_SECONDS, lambda: f"the end of {stack.processes()}")
    wait_for(lambda: not stack.held_ports(), GONE_SECONDS, lambda: f"the ports {stack.held_ports()}")
    wait_for(lambda: not stack.held_locks(), GONE_SECONDS, lambda: f"the locks {stack.held_locks()}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_leaves_nothing(own: Stack, number: signal.Signals) -> None:
    os.killpg(own.process.pid, number)  # as a terminal's Ctrl-C does
    assert own.process.wait(STOP_SECONDS) == 0
    assert not own.up_file.exists()
    assert_nothing_is_left(own)


def test_stop_during_the_start_leaves_nothing(resting: Stack) -> None:
    resting.launch()
    wait_for(lambda: len(resting.processes()) >= 3, START_SECONDS, "the first processes")
    resting.process.send_signal(signal.SIGTERM)
    assert resting.process.wait(STOP_SECONDS) == 0
    assert not resting.up_file.exists()
    assert_nothing_is_left(resting)


def test_kill_of_boton_up_leaves_no_process_and_the_next_start_goes_on(own: Stack, numbers: Numbers) -> None:
    recipient, customer = numbers.take(2)
    before = own.api.send(numbers.next(), message="antes")
    await_delivered(own.api, before["id"])
    own.simulator.set_faults(offline=True)
    pending = own.api.send(recipient, message="pendiente")
    own.simulator.write(customer, "¿siguen ahí?")
    own.process.kill()
    own.process.wait()
    assert_nothing_is_left(own)
    assert own.up_file.exists()
    own.start()
    own.simulator.clear_faults()
    await_delivered(own.api, pending["id"], PENDING_SECONDS)
    await_answer(own.simulator, customer, "¿siguen ahí?", PENDING_SECONDS)
    let_pass(own.simulator, numbers.next())
    assert own.simulator.copies("antes", "pendiente") == {"antes": 1, "pendiente": 1}
    assert len(own.simulator.received(customer)) == 1


def test_everything_pending_goes_on_without_temporals_file(own: Stack, numbers: Numbers) -> None:
    done, first, second, opened, to_open, customer = numbers.take(6)
    await_delivered(own.api, own.api.send(done, message="ya entregado")["id"])
    await_delivered(own.api, own.api.send(opened, instruction="Ofrece turno para el lunes")["id"])
    own.simulator.set_faults(offline=True)
    wait_for(lambda: own.api.get("/status")["connected"] is False, PENDING_SECONDS, "the loss to be noticed")
    several = own.api.send([first, second], message="a los dos")
    opening = own.api.send(to_open, instruction="Pregunta por el pago")
    own.simulator.write(customer, "¿me atienden?")
    own.simulator.write(opened, "¿a qué hora el lunes?")

    assert own.stop() == 0
    files = list(own.data_dir.glob("temporal.db*"))
    assert files != []
    for file in files:
        file.unlink()
    own.start()  # it is up although its number cannot connect yet
    assert own.api.get("/status")["connected"] is False
    own.simulator.clear_faults()

    await_delivered(own.api, several["id"], PENDING_SECONDS)
    await_delivered(own.api, opening["id"], PENDING_SECONDS)
    await_answer(own.simulator, customer, "¿me atienden?", PENDING_SECONDS)
    reply = await_answer(own.simulator, opened, "¿a qué hora el lunes?", PENDING_SECONDS)
    assert "«Ofrece turno para el lunes»" in reply
    let_pass(own.simulator, numbers.next())
    assert own.simulator.copies("ya entregado", "a los dos") == {"ya entregado": 1, "a los dos": 2}
    counts = [len(own.simulator.received(number)) for number in (done, first, second, opened, to_open, customer)]
    assert counts == [1, 1, 1, 2, 1, 1]
    assert answers(own.simulator, to_open, "Pregunta por el pago") != []


def test_the_demo_token_and_business_stay_over_a_restart(own: Stack) -> None:
    before = own.up()
    assert own.stop() == 0
    own.start()
    after = own.up()
    assert (after["token"], after["business"]) == (before["token"], before["business"])
    own.await_link()


def test_stop_in_mid_batch_repeats_nothing(own: Stack, numbers: Numbers) -> None:
    recipients = numbers.take(80)
    own.simulator.set_faults(latencyMs=100)
    accepted = own.api.send(recipients, message="en dos mitades")
    wait_for(lambda: own.simulator.copies("en dos mitades").total() >= 15, PENDING_SECONDS, "the middle of the batch")
    assert own.stop() == 0
    own.start()
    own.simulator.clear_faults()
    await_delivered(own.api, accepted["id"], PENDING_SECONDS)
    reached = Counter(one["to"] for one in own.simulator.ledger() if one["text"] == "en dos mitades")
    assert reached == dict.fromkeys(recipients, 1)
