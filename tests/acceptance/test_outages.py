"""A number that comes back after days: it must not blast what nobody waits for any more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.days import days_pass
from tests.acceptance.stack import Stack
from tests.acceptance.talk import Numbers, await_answer, await_delivered
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

BACK_SECONDS = 120.0


def outcome(stack: Stack, accepted: dict[str, Any]) -> set[str]:
    """The statuses of a send's messages, once it is finished."""
    wait_for(lambda: stack.api.is_finished(accepted["id"]), BACK_SECONDS, lambda: f"its end\n{stack.logs()}")
    return stack.api.statuses(accepted["id"])


def test_what_waited_for_a_number_that_was_away_for_days_expires(own: Stack, numbers: Numbers) -> None:
    first, many, late, customer = numbers.next(), numbers.take(20), numbers.next(), numbers.next()
    own.simulator.set_faults(offline=True)
    single = own.api.send(first, message="Tu pedido llega hoy")
    bulk = own.api.send(many, message="Hoy abrimos a las 9")
    offer = own.api.send(late, message="Ofertas de la temporada", category="marketing")
    own.simulator.write(customer, "¿abren hoy?")
    own.stop()
    days_pass(own)
    own.start()
    own.simulator.clear_faults()
    assert outcome(own, single) == outcome(own, bulk) == {"expired"}
    await_delivered(own.api, offer["id"], BACK_SECONDS)
    await_delivered(own.api, own.api.send(first, message="Perdón por la demora")["id"], BACK_SECONDS)
    own.simulator.write(customer, "¿hola?")
    await_answer(own.simulator, customer, "¿hola?")
    assert own.simulator.received(first) == ["Perdón por la demora"]
    assert not own.simulator.copies("Hoy abrimos a las 9").total()


def test_what_was_paused_for_days_while_the_number_was_connected_goes_out(own: Stack, numbers: Numbers) -> None:
    number = numbers.next()
    own.simulator.set_faults(offline=True)
    accepted = own.api.send(number, message="Cuando el dueño diga")
    paused = own.api.request("POST", f"/sends/{accepted['id']}/pause")
    assert paused.json()["status"] == "paused", paused.text
    own.stop()
    days_pass(own, tables={"send", "message"})
    own.start()
    own.simulator.clear_faults()
    resumed = own.api.request("POST", f"/sends/{accepted['id']}/resume")
    assert resumed.status_code == 200, resumed.text
    await_delivered(own.api, accepted["id"], BACK_SECONDS)
    assert own.simulator.received(number) == ["Cuando el dueño diga"]
