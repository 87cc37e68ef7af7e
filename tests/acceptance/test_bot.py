"""The bot as customers meet it: whom it answers, whom it leaves alone, and when a human has taken over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.talk import (
    ANSWER_SECONDS,
    Numbers,
    answers,
    await_answer,
    await_delivered,
    await_stored,
    let_pass,
    outlive_greeting,
)
from tests.acceptance.waiting import wait_for


@pytest.fixture(autouse=True)
def _answers_new_chats(api: Api) -> Iterator[None]:
    api.configure(botNewChats=True)
    yield
    api.configure(botNewChats=True)


def holder(api: Api, number: str) -> str:
    return str(api.get(f"/chats/{number}@s.whatsapp.net")["heldBy"])


def test_new_customer_is_answered_once(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, newcomer = numbers.take(2)
    simulator.write(customer, "¿tienen turno?")
    await_answer(simulator, customer, "¿tienen turno?")
    let_pass(simulator, newcomer)
    assert len(simulator.received(customer)) == 1
    [asked, answered] = api.messages(customer)
    assert (asked["sender"], asked["botGenerated"]) == ("customer", False)
    assert (answered["sender"], answered["botGenerated"]) == ("bot", True)


def test_each_message_of_a_dialogue_is_answered_once(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, newcomer = numbers.take(2)
    asked = [f"pregunta {number}" for number in range(5)]
    for text in asked:
        simulator.write(customer, text)
        await_answer(simulator, customer, text)
    let_pass(simulator, newcomer)
    assert [len(answers(simulator, customer, text)) for text in asked] == [1] * 5
    assert len(simulator.received(customer)) == 5


def test_burst_is_answered_and_nothing_twice(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    """What comes in while the bot thinks may share an answer; the last message always has one of its own."""
    customer, newcomer = numbers.take(2)
    burst = [f"mensaje {number}" for number in range(8)]
    for text in burst:
        simulator.write(customer, text)
    await_answer(simulator, customer, burst[-1])
    let_pass(simulator, newcomer)
    received = simulator.received(customer)
    assert 1 <= len(received) <= len(burst)
    assert len(set(received)) == len(received)
    incoming = [message["text"] for message in api.messages(customer) if message["direction"] == "incoming"]
    assert incoming == burst


def test_many_customers_at_once_are_each_answered_once(simulator: Simulator, numbers: Numbers) -> None:
    customers, newcomer = numbers.take(15), numbers.next()
    for customer in customers:
        simulator.write(customer, f"soy {customer}")
    for customer in customers:
        await_answer(simulator, customer, f"soy {customer}")
    let_pass(simulator, newcomer)
    assert [len(simulator.received(customer)) for customer in customers] == [1] * len(customers)


@pytest.mark.parametrize("kind", ["audio", "image", "reaction"])
def test_what_is_not_text_has_a_type_and_a_description(
    api: Api, simulator: Simulator, numbers: Numbers, kind: str
) -> None:
    customer = numbers.next()
    simulator.write(customer, "👍", type=kind)
    [message, *_] = wait_for(lambda: api.messages(customer), ANSWER_SECONDS, "the message")
    assert message["type"] == kind
    assert message["text"]


def test_untouchable_chat_is_never_answered(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    mother, newcomer = numbers.take(2)
    assert api.patch_chat(mother, untouchable=True)["untouchable"] is True
    simulator.write(mother, "¿venís a comer?")
    await_stored(api, mother, "¿venís a comer?")
    let_pass(simulator, newcomer)
    assert simulator.received(mother) == []
    accepted = api.send(mother, instruction="Ofrece turno")
    wait_for(lambda: api.is_finished(accepted["id"]), ANSWER_SECONDS, "the refused opening")
    [recipient] = api.recipients(accepted["id"])
    assert (recipient["status"], recipient["error"]["code"]) == ("failed", "untouchable")
    assert simulator.received(mother) == []


def test_what_an_untouchable_chat_wrote_stays_unanswered(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, newcomer = numbers.take(2)
    api.patch_chat(customer, untouchable=True)
    simulator.write(customer, "lo viejo")
    await_stored(api, customer, "lo viejo")
    api.patch_chat(customer, untouchable=False, botEnabled=True)
    simulator.write(customer, "lo nuevo")
    await_answer(simulator, customer, "lo nuevo")
    let_pass(simulator, newcomer)
    assert len(simulator.received(customer)) == 1


def test_bot_that_is_off_does_not_answer(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, newcomer = numbers.take(2)
    assert api.patch_chat(customer, botEnabled=False)["botEnabled"] is False
    simulator.write(customer, "¿hay alguien?")
    await_stored(api, customer, "¿hay alguien?")
    let_pass(simulator, newcomer)
    assert simulator.received(customer) == []
    assert holder(api, customer) == "none"


def test_new_chats_are_left_alone_where_the_business_wants_that(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    old, new, patched = numbers.take(3)
    simulator.write(old, "primero")
    await_answer(simulator, old, "primero")
    api.configure(botNewChats=False)
    api.patch_chat(patched, botEnabled=True, name="Pedida")
    for customer in (new, patched, old):
        simulator.write(customer, "después")
    await_answer(simulator, old, "después")
    await_answer(simulator, patched, "después")
    await_stored(api, new, "después")
    let_pass(simulator, old)
    assert simulator.received(new) == []


def test_human_on_the_business_phone_takes_over_until_handed_back(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    customer, newcomer = numbers.take(2)
    simulator.write(customer, "hola")
    await_answer(simulator, customer, "hola")
    outlive_greeting(simulator, customer)
    simulator.type_on_business_phone(customer, "Hola, soy Marta, te atiendo yo")
    wait_for(lambda: holder(api, customer) == "human", ANSWER_SECONDS, "the takeover")
    assert api.get(f"/chats/{customer}@s.whatsapp.net")["takeoverUntil"]
    simulator.write(customer, "gracias Marta")
    await_stored(api, customer, "gracias Marta")
    let_pass(simulator, newcomer)
    assert answers(simulator, customer, "gracias Marta") == []
    assert api.patch_chat(customer, botEnabled=True)["heldBy"] == "bot"
    simulator.write(customer, "¿y el jueves?")
    await_answer(simulator, customer, "¿y el jueves?")
    let_pass(simulator, newcomer)
    assert answers(simulator, customer, "gracias Marta") == []
    assert [message["sender"] for message in api.messages(customer)].count("human") == 1


def test_greeting_of_whatsapp_itself_is_no_takeover(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = greet_in_time(simulator, numbers)
    await_answer(simulator, customer, "hola")
    await_stored(api, customer, "¡Bienvenido! En breve te atendemos.")
    assert holder(api, customer) == "bot"


def greet_in_time(simulator: Simulator, numbers: Numbers) -> str:
    """A customer whose first message the business's phone has answered as soon as WhatsApp itself does."""
    for customer in numbers.take(10):
        simulator.write(customer, "hola")
        simulator.type_on_business_phone(customer, "¡Bienvenido! En breve te atendemos.")
        asked, greeted = (datetime.fromisoformat(one["timestamp"]) for one in simulator.messages(customer)[:2])
        if greeted - asked < timedelta(seconds=2.5):
            return customer
    pytest.fail("the machine is too slow to greet anybody in time")


def test_messages_of_the_api_are_no_takeover(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    simulator.write(customer, "hola")
    await_answer(simulator, customer, "hola")
    await_delivered(api, api.send(customer, message="Tu turno quedó para el lunes")["id"])
    assert holder(api, customer) == "bot"
    simulator.write(customer, "perfecto")
    await_answer(simulator, customer, "perfecto")


def test_instruction_ends_a_takeover_that_came_before(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    simulator.write(customer, "hola")
    await_answer(simulator, customer, "hola")
    outlive_greeting(simulator, customer)
    simulator.type_on_business_phone(customer, "Te atiendo yo")
    wait_for(lambda: holder(api, customer) == "human", ANSWER_SECONDS, "the takeover")
    await_delivered(api, api.send(customer, instruction="Recuérdale el turno")["id"])
    assert holder(api, customer) == "bot"
    simulator.write(customer, "¿qué turno?")
    assert "«Recuérdale el turno»" in await_answer(simulator, customer, "¿qué turno?")


def test_customer_who_answers_an_opening_is_answered_by_its_instruction(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    customer, newcomer = numbers.take(2)
    api.configure(botNewChats=False)
    await_delivered(api, api.send(customer, instruction="Ofrece turno para el martes")["id"])
    simulator.write(customer, "¿a qué hora?")
    assert "«Ofrece turno para el martes»" in await_answer(simulator, customer, "¿a qué hora?")
    api.configure(botNewChats=True)
    let_pass(simulator, newcomer)
    assert len(simulator.received(customer)) == 2
