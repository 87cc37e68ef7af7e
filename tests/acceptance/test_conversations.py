"""An instruction-led conversation from outside: it reaches an outcome, is handed over, or is cancelled."""

from __future__ import annotations

from typing import Any

from tests.acceptance.api import Api, jid
from tests.acceptance.simulator import Simulator
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_delivered, let_pass
from tests.acceptance.waiting import wait_for


def begin(api: Api, customer: str, instruction: str = "Ofrece turno para el lunes a las 10") -> str:
    """The conversation's id, once its opening has arrived."""
    accepted = api.send(customer, instruction=instruction)
    await_delivered(api, accepted["id"])
    return str(accepted["recipients"][0]["conversationId"])


def fetch(api: Api, conversation_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/conversations/{conversation_id}")
    return found


def await_status(api: Api, conversation_id: str, status: str) -> dict[str, Any]:
    wait_for(lambda: fetch(api, conversation_id)["status"] == status, ANSWER_SECONDS, status)
    return fetch(api, conversation_id)


def test_customer_who_agrees_ends_it_with_an_outcome_and_a_summary(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    customer = numbers.next()
    seq = api.last_seq()
    conversation_id = begin(api, customer)
    assert fetch(api, conversation_id)["status"] == "waiting"
    simulator.write(customer, "sí, perfecto")
    ended = await_status(api, conversation_id, "done")
    assert (ended["outcome"], ended["turns"], ended["jid"]) == ("achieved", 2, jid(customer))
    assert "sí, perfecto" in ended["summary"]
    wait_for(lambda: len(simulator.received(customer)) == 2, ANSWER_SECONDS, "the bot's last word")
    events = api.get("/events", after=seq, limit=500)["events"]
    told = [one["data"] for one in events if one["type"] == "conversation.ended"]
    assert [one["outcome"] for one in told if one["conversationId"] == conversation_id] == ["achieved"]


def test_thumb_after_the_goal_is_not_answered(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, newcomer = numbers.take(2)
    conversation_id = begin(api, customer)
    simulator.write(customer, "sí, dale")
    await_status(api, conversation_id, "done")
    wait_for(lambda: len(simulator.received(customer)) == 2, ANSWER_SECONDS, "the bot's last word")
    simulator.write(customer, "👍", type="reaction")
    let_pass(simulator, newcomer)
    assert len(simulator.received(customer)) == 2


def test_customer_who_wants_a_person_gets_one_and_no_more_of_the_bot(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    customer, newcomer = numbers.take(2)
    conversation_id = begin(api, customer)
    simulator.write(customer, "quiero hablar con una persona")
    ended = await_status(api, conversation_id, "handed_off")
    assert ended["outcome"] == "handed_off"
    wait_for(lambda: len(simulator.received(customer)) == 2, ANSWER_SECONDS, "the notice")
    assert api.get(f"/chats/{jid(customer)}")["heldBy"] == "human"
    simulator.write(customer, "¿hola?")
    let_pass(simulator, newcomer)
    assert len(simulator.received(customer)) == 2
    assert api.patch_chat(customer, botEnabled=True)["heldBy"] == "bot"


def test_newer_instruction_replaces_the_goal(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    first = begin(api, customer)
    second = begin(api, customer, "Pregunta si quiere factura")
    assert (fetch(api, first)["status"], fetch(api, second)["status"]) == ("cancelled", "waiting")
    assert api.get(f"/chats/{jid(customer)}")["conversationId"] == second
    simulator.write(customer, "no, gracias")
    assert await_status(api, second, "done")["outcome"] == "declined"


def test_burst_is_one_turn(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, newcomer = numbers.take(2)
    api.configure(debounceSeconds=10)  # the burst must not last as long
    try:
        conversation_id = begin(api, customer)
        for text in ("hola", "una pregunta", "¿a qué hora era?"):
            simulator.write(customer, text)
        wait_for(lambda: len(simulator.received(customer)) == 2, ANSWER_SECONDS, "the answer")
        let_pass(simulator, newcomer)
        assert len(simulator.received(customer)) == 2
        assert fetch(api, conversation_id)["turns"] == 2
    finally:
        api.configure(debounceSeconds=None)


def test_cancelled_conversation_says_nothing_more_of_its_goal(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    conversation_id = begin(api, customer, "Ofrece el turno secreto")
    cancelled = api.request("POST", f"/conversations/{conversation_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    simulator.write(customer, "¿qué turno?")
    wait_for(lambda: len(simulator.received(customer)) == 2, ANSWER_SECONDS, "an answer")
    assert "secreto" not in simulator.received(customer)[1]
