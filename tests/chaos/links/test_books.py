"""The books of a run with links notice what they are to notice."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from tests.chaos.links.books import Account, account_heard, account_sent
from tests.whatsapp import events
from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.stored import Stored

PHONE = "5491150000001"


@pytest.fixture
def network() -> FakeNetwork:
    network = FakeNetwork("5491138620812", create_engine("sqlite://"))
    network.add_phone(PHONE)
    return network


def stored(text: str, status: str = "received") -> Stored:
    return Stored(number=PHONE, text=text, status=status, whatsapp_id=None)


@pytest.mark.parametrize(
    ("status", "copies", "found"),
    [
        ("delivered", 1, None),
        ("delivered", 0, "lost"),
        ("queued", 0, "lost"),
        ("delivered", 2, "repeated"),
        ("failed", 1, "wrong"),
        ("unconfirmed", 0, "without"),
        ("unconfirmed", 1, "doubtful"),
    ],
)
def test_what_was_sent(network: FakeNetwork, status: str, copies: int, found: str | None) -> None:
    account = Account()
    network.phones[PHONE].received = ["hola"] * copies
    account_sent(account, network, [(PHONE, "hola")], [stored("hola", status)])
    kinds = ("lost", "repeated", "wrong", "without", "doubtful")
    assert [kind for kind in kinds if getattr(account, kind)] == ([found] if found else [])
    assert account.balances == (found in {None, "without", "doubtful"})


def test_message_that_nobody_asked_for_is_wrong(network: FakeNetwork) -> None:
    account = Account()
    network.phones[PHONE].received = ["hola"]
    account_sent(account, network, [], [])
    assert account.wrong == [f"{PHONE}: hola (unknown)"]


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        (["uno", "dos"], None),
        (["uno"], "unheard"),
        (["dos", "uno"], "disordered"),
        (["uno", "dos", "dos"], "stored_twice"),
    ],
)
def test_what_was_heard(network: FakeNetwork, shown: list[str], found: str | None) -> None:
    account = Account()
    account_heard(account, network, {PHONE: ["uno", "dos"]}, [stored(text) for text in shown])
    assert account.balances == (found is None)
    assert found is None or getattr(account, found)


def test_what_the_library_had_acknowledged_is_swallowed(network: FakeNetwork) -> None:
    account = Account()
    phone = network.phones[PHONE]
    network.set_faults(atMostOnce=True)
    told = [events.message(events.info("1", events.source(phone.chat, alt=phone.jid)), text) for text in ("uno", "dos")]
    network.give_back([(told[0], True), (told[1], False)])
    account_heard(account, network, {PHONE: ["uno", "dos"]}, [stored("dos")])
    assert account.swallowed == [f"{PHONE}: uno"]
    assert account.balances
