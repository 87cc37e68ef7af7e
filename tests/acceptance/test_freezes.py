"""Processes that stop without dying: SIGSTOP in the worst moment, and what their successors make of it."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from tests.acceptance.stack import Stack
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_answer, await_delivered, let_pass
from tests.acceptance.waiting import stays, wait_for

pytestmark = pytest.mark.timeout(300)

SETTLE_SECONDS = 120.0
FREEZE_SECONDS = 10.0


@pytest.mark.parametrize("latency_ms", [3_000, 30_000])
def test_link_frozen_between_claim_and_wire_sends_one_copy(rough: Stack, numbers: Numbers, latency_ms: int) -> None:
    """A short latency: the attempt lands while its link is frozen. A long one: it would land after the successor
    has asked what became of it.
    """
    api, simulator, number = rough.api, rough.simulator, numbers.next()
    simulator.set_faults(latencyMs=latency_ms)
    accepted = api.send(number, message="una sola vez")
    wait_for(lambda: simulator.under_way() == 1 or simulator.received(number), ANSWER_SECONDS, "the attempt on its way")
    frozen = rough.kill("link", signal.SIGSTOP)
    rough.wait_replaced("link", frozen)
    _continue(frozen)
    simulator.clear_faults()
    await_delivered(api, accepted["id"], SETTLE_SECONDS)
    wait_for(lambda: simulator.under_way() == 0, SETTLE_SECONDS, "the old attempt to land or be refused")
    let_pass(simulator, numbers.next())
    assert simulator.received(number) == ["una sola vez"]


def test_frozen_host_is_not_followed_by_a_second_owner(rough: Stack, numbers: Numbers) -> None:
    """Temporal takes the host for dead after its heartbeats end; nobody else may hold the number meanwhile."""
    api, simulator = rough.api, rough.simulator
    frozen = rough.kill("connections", signal.SIGSTOP)
    accepted = api.send(numbers.take(5), message="con el anfitrión helado")
    await_delivered(api, accepted["id"], SETTLE_SECONDS)
    stays(lambda: len(rough.up()["pids"]["link"]) <= 1, FREEZE_SECONDS, "at most one link")
    os.kill(frozen, signal.SIGCONT)
    let_pass(simulator, numbers.next())
    assert Counter(simulator.copies("con el anfitrión helado")) == {"con el anfitrión helado": 5}


def test_temporal_frozen_in_mid_batch(rough: Stack, numbers: Numbers) -> None:
    api, simulator, recipients = rough.api, rough.simulator, numbers.take(150)
    simulator.set_faults(latencyMs=100)
    accepted = api.send(recipients, message="a los ciento cincuenta")
    wait_for(
        lambda: simulator.copies("a los ciento cincuenta").total() >= 20, ANSWER_SECONDS, "the middle of the batch"
    )
    frozen = rough.kill("temporal", signal.SIGSTOP)
    stays(lambda: rough.living("temporal") == frozen, FREEZE_SECONDS, "the same Temporal")
    os.kill(frozen, signal.SIGCONT)
    simulator.clear_faults()
    await_delivered(api, accepted["id"], SETTLE_SECONDS)
    reached = Counter(one["to"] for one in simulator.ledger() if one["text"] == "a los ciento cincuenta")
    assert reached == dict.fromkeys(recipients, 1)


def test_accepted_while_temporal_is_frozen_arrives_after(rough: Stack, numbers: Numbers) -> None:
    api, simulator, number, customer = rough.api, rough.simulator, numbers.next(), numbers.next()
    frozen = rough.kill("temporal", signal.SIGSTOP)
    accepted = api.send(number, message="aceptado igual")
    simulator.write(customer, "¿me contestan?")
    stays(lambda: rough.living("temporal") == frozen, FREEZE_SECONDS, "the same Temporal")
    os.kill(frozen, signal.SIGCONT)
    await_delivered(api, accepted["id"], SETTLE_SECONDS)
    await_answer(simulator, customer, "¿me contestan?", SETTLE_SECONDS)
    let_pass(simulator, numbers.next())
    assert simulator.received(number) == ["aceptado igual"]
    assert len(simulator.received(customer)) == 1


def _continue(pid: int) -> None:
    """The frozen process goes on, if nobody has ended it."""
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
