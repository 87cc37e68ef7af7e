"""A customer who writes STOP: told once, left out of marketing from then on, attended as before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.talk import (
    ANSWER_SECONDS,
    Numbers,
    await_answer,
    await_delivered,
    await_stored,
    let_pass,
    outlive_greeting,
)
from tests.acceptance.waiting import wait_for


@pytest.fixture(autouse=True)
def _as_it_comes(api: Api) -> Iterator[None]:
    api.configure(botNewChats=True)
    yield
    api.configure(botNewChats=True, optOutWords=None, language=None)


def chat(api: Api, number: str) -> dict[str, Any]:
    return dict(api.get(f"/chats/{number}@s.whatsapp.net"))


def opt_out(api: Api, simulator: Simulator, number: str, text: str = "STOP") -> str:
    """The customer opts out; what they are told."""
    before = len(simulator.received(number))
    simulator.write(number, text)
    received = wait_for(lambda: simulator.received(number)[before:], ANSWER_SECONDS, "the confirmation")
    assert chat(api, number)["optedOut"] is True
    return received[0]


def outcome(api: Api, send_id: str) -> dict[str, tuple[str, str | None]]:
    """Of a finished send: each recipient's status and the code of its error."""
    wait_for(lambda: api.is_finished(send_id), ANSWER_SECONDS, "the send's end")
    return {
        one["to"]: (one["status"], one["error"]["code"] if one["error"] else None) for one in api.recipients(send_id)
    }


def test_opt_out_is_confirmed_once(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, newcomer = numbers.take(2)
    told = opt_out(api, simulator, customer, " ¡Baja! ")
    assert api.get("/config")["businessName"] in told
    assert "mensajes promocionales" in told
    simulator.write(customer, "UNSUBSCRIBE")
    await_stored(api, customer, "UNSUBSCRIBE")
    let_pass(simulator, newcomer)
    assert simulator.received(customer) == [told]
    wait_for(lambda: api.messages(customer)[1]["status"] == "delivered", ANSWER_SECONDS, "its receipt")
    notice = api.messages(customer)[1]
    assert (notice["text"], notice["sender"], notice["botGenerated"], notice["sendId"]) == (told, "bot", True, None)


def test_opted_out_customer_is_left_out_of_marketing_until_it_is_undone(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    customer, other = numbers.take(2)
    told = opt_out(api, simulator, customer)
    offer = api.send([customer, other], message="20 % en todo", category="marketing")
    assert outcome(api, offer["id"])[customer] == ("failed", "opted_out")
    wait_for(lambda: simulator.received(other) == ["20 % en todo"], ANSWER_SECONDS, "the other's offer")
    await_delivered(api, api.send(customer, message="Tu turno es mañana a las 15")["id"])
    assert simulator.received(customer) == [told, "Tu turno es mañana a las 15"]
    assert api.patch_chat(customer, optedOut=False)["optedOut"] is False
    await_delivered(api, api.send(customer, message="Volvieron las ofertas", category="marketing")["id"])
    assert simulator.received(customer)[-1] == "Volvieron las ofertas"


def test_opted_out_customer_is_answered_as_before(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    opt_out(api, simulator, customer)
    simulator.write(customer, "¿a qué hora abren?")
    await_answer(simulator, customer, "¿a qué hora abren?")
    assert len(simulator.received(customer)) == 2


def test_confirmation_comes_although_a_human_holds_the_chat(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, newcomer = numbers.take(2)
    simulator.write(customer, "hola")
    await_answer(simulator, customer, "hola")
    outlive_greeting(simulator, customer)
    simulator.type_on_business_phone(customer, "Hola, soy Marta")
    wait_for(lambda: chat(api, customer)["heldBy"] == "human", ANSWER_SECONDS, "the takeover")
    opt_out(api, simulator, customer)
    let_pass(simulator, newcomer)
    assert len(simulator.received(customer)) == 3
    assert chat(api, customer)["heldBy"] == "human"


def test_confirmation_comes_although_the_bot_is_off(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    api.patch_chat(customer, botEnabled=False)
    assert "promocionales" in opt_out(api, simulator, customer)
    assert chat(api, customer)["heldBy"] == "none"


def test_untouchable_customer_who_opts_out_gets_nothing(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    mother, newcomer = numbers.take(2)
    api.patch_chat(mother, untouchable=True)
    simulator.write(mother, "STOP")
    await_stored(api, mother, "STOP")
    assert chat(api, mother)["optedOut"] is True
    let_pass(simulator, newcomer)
    assert simulator.received(mother) == []


def test_patient_who_cancels_an_appointment_does_not_opt_out(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    simulator.write(customer, "CANCELAR")
    await_answer(simulator, customer, "CANCELAR")
    assert chat(api, customer)["optedOut"] is False


def test_words_and_language_are_those_of_the_business(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, other = numbers.take(2)
    api.configure(optOutWords=["No more", "CANCELAR"])
    simulator.write(other, "STOP")
    await_answer(simulator, other, "STOP")
    assert chat(api, other)["optedOut"] is False
    api.configure(language="en-GB")
    assert "promotional messages" in opt_out(api, simulator, customer, "no more.")


def test_opt_out_is_told_once_after_its_message(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, seq = numbers.next(), api.last_seq()
    opt_out(api, simulator, customer)
    simulator.write(customer, "stop")
    simulator.write(customer, "gracias")
    await_answer(simulator, customer, "gracias")
    told = api.get("/events", after=seq, limit=1000)["events"]
    types = [event["type"] for event in told if event["data"].get("jid") == f"{customer}@s.whatsapp.net"]
    assert types[:2] == ["message.received", "chat.opted_out"]
    assert types.count("chat.opted_out") == 1
