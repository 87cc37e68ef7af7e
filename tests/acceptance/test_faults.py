"""A network that loses acknowledgements, refuses, or is away: nothing twice, and the API says what is known."""

from __future__ import annotations

import pytest

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, answers, await_answer, await_delivered, let_pass
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

SETTLE_SECONDS = 120.0
"""What nobody could tell is asked again every 30 s, once the attempt is a minute old."""


def copies(simulator: Simulator, recipients: list[str], text: str) -> list[int]:
    return [simulator.received(number).count(text) for number in recipients]


def test_lost_acknowledgements_repeat_nothing(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    recipients = numbers.take(40)
    simulator.set_faults(loseAckRate=0.3, seed=7)
    accepted = api.send(recipients, message="con acuses perdidos")
    await_delivered(api, accepted["id"], SETTLE_SECONDS)
    assert copies(simulator, recipients, "con acuses perdidos") == [1] * 40


def test_bot_repeats_nothing_when_acknowledgements_are_lost(simulator: Simulator, numbers: Numbers) -> None:
    customers = numbers.take(8)
    simulator.set_faults(loseAckRate=0.5, seed=3)
    for customer in customers:
        simulator.write(customer, f"hola de {customer}")
    for customer in customers:
        await_answer(simulator, customer, f"hola de {customer}")
    simulator.clear_faults()
    let_pass(simulator, numbers.next())
    assert [len(simulator.received(customer)) for customer in customers] == [1] * 8


def test_what_nobody_can_tell_is_unconfirmed_until_somebody_can(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    recipients = numbers.take(10)
    for number in recipients:
        simulator.change_phone(number, online=False)  # no receipts that would tell
    simulator.set_faults(loseAckRate=0.5, forgetful=True, seed=5)
    accepted = api.send(recipients, message="con amnesia")
    wait_for(lambda: api.is_finished(accepted["id"]), SETTLE_SECONDS, "the send's end")
    assert api.statuses(accepted["id"]) <= {"sent", "unconfirmed"}
    simulator.clear_faults()
    for number in recipients:
        simulator.change_phone(number, online=True)
    await_delivered(api, accepted["id"], SETTLE_SECONDS)
    assert copies(simulator, recipients, "con amnesia") == [1] * 10


def test_forgetful_network_gets_nothing_twice(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    recipients = numbers.take(10)
    simulator.set_faults(loseAckRate=1.0, forgetful=True)
    accepted = api.send(recipients, message="sin memoria")
    wait_for(lambda: api.is_finished(accepted["id"]), SETTLE_SECONDS, "the send's end")
    assert api.statuses(accepted["id"]) <= {"unconfirmed", "delivered", "read"}
    simulator.clear_faults()
    let_pass(simulator, numbers.next())
    assert copies(simulator, recipients, "sin memoria") == [1] * 10


def test_requests_that_break_off_are_made_again(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    recipients = numbers.take(15)
    simulator.set_faults(disconnectRate=0.2, seed=11)
    accepted = api.send(recipients, message="con cortes")
    wait_for(lambda: sum(copies(simulator, recipients, "con cortes")) >= 10, SETTLE_SECONDS, "most of them")
    simulator.clear_faults()
    await_delivered(api, accepted["id"], SETTLE_SECONDS)
    assert copies(simulator, recipients, "con cortes") == [1] * 15


def test_refusal_fails_with_its_code(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    simulator.set_faults(rejectRate=1.0, rejectCode=463)
    accepted = api.send(number, message="rechazado")
    wait_for(lambda: api.is_finished(accepted["id"]), ANSWER_SECONDS, "the send's end")
    [recipient] = api.recipients(accepted["id"])
    assert recipient["status"] == "failed"
    assert "463" in recipient["error"]["code"] + recipient["error"]["detail"]
    assert simulator.received(number) == []


def test_what_is_accepted_while_the_network_is_away_arrives_after(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    number, customer = numbers.take(2)
    simulator.set_faults(offline=True)
    wait_for(lambda: api.get("/status")["connected"] is False, ANSWER_SECONDS, "the loss to be noticed")
    accepted = api.send(number, message="con paciencia")
    simulator.write(customer, "¿están?")
    assert api.statuses(accepted["id"]) <= {"queued", "sending"}
    simulator.clear_faults()
    await_delivered(api, accepted["id"], SETTLE_SECONDS)
    await_answer(simulator, customer, "¿están?")
    wait_for(lambda: api.get("/status")["connected"] is True, ANSWER_SECONDS, "the connection")
    let_pass(simulator, numbers.next())
    assert simulator.received(number) == ["con paciencia"]
    assert len(answers(simulator, customer, "¿están?")) == 1
