"""POST /send as a business sees it: what was accepted arrives, once, and the API tells."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_delivered
from tests.acceptance.waiting import wait_for


def test_message_arrives_once_and_is_reported_delivered(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    accepted = api.send(number, message="Tu pedido salió")
    await_delivered(api, accepted["id"])
    assert simulator.received(number) == ["Tu pedido salió"]
    send = api.get(f"/sends/{accepted['id']}")
    assert (send["status"], send["total"], send["counts"]["delivered"]) == ("finished", 1, 1)
    assert send["createdAt"] <= send["startedAt"] <= send["finishedAt"]
    [message] = api.messages(number)
    assert message["id"] == accepted["recipients"][0]["messageId"]
    assert (message["sender"], message["status"], message["botGenerated"]) == ("api", "delivered", False)


def test_reading_is_reported(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    simulator.change_phone(number, readAfterMs=0)
    accepted = api.send(number, message="¿Lo viste?")
    wait_for(lambda: api.statuses(accepted["id"]) == {"read"}, ANSWER_SECONDS, "the read receipt")


def test_phone_that_is_offline_gets_it_later(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    simulator.change_phone(number, online=False)
    accepted = api.send(number, message="Cuando puedas")
    wait_for(lambda: api.is_finished(accepted["id"]), ANSWER_SECONDS, "the send's end")
    assert api.statuses(accepted["id"]) == {"sent"}
    assert simulator.received(number) == []
    simulator.change_phone(number, online=True)
    await_delivered(api, accepted["id"])
    assert simulator.received(number) == ["Cuando puedas"]


def test_unregistered_phone_fails_and_says_why(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    absent, present = numbers.take(2)
    simulator.change_phone(absent, registered=False)
    accepted = api.send([absent, present], message="Hola a los dos")
    wait_for(lambda: api.is_finished(accepted["id"]), ANSWER_SECONDS, "the send's end")
    outcome = {one["to"]: one for one in api.recipients(accepted["id"])}
    assert outcome[absent]["status"] == "failed"
    assert outcome[absent]["error"]["code"] == "not_on_whatsapp"
    assert simulator.received(absent) == []
    wait_for(lambda: simulator.received(present) == ["Hola a los dos"], ANSWER_SECONDS, "the other's message")


def test_each_of_many_gets_one_copy(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    recipients = numbers.take(60)
    accepted = api.send([*recipients, recipients[0]], message="Cerramos el lunes")
    assert accepted["total"] == 60
    await_delivered(api, accepted["id"])
    reached = Counter(delivery["to"] for delivery in simulator.ledger() if delivery["to"] in set(recipients))
    assert reached == dict.fromkeys(recipients, 1)


def test_instruction_opens_a_conversation_with_each(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    two = numbers.take(2)
    accepted = api.send(two, instruction="Pregunta si vienen el jueves")
    await_delivered(api, accepted["id"])
    for number in two:
        [opening] = simulator.received(number)
        assert "«Pregunta si vienen el jueves»" in opening
        chat = api.get(f"/chats/{number}@s.whatsapp.net")
        assert (chat["botEnabled"], chat["heldBy"]) == (True, "bot")
    assert all(one["conversationId"].startswith("cnv_") for one in accepted["recipients"])


def test_variables_and_references_belong_to_each_recipient(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    ana, unknown = numbers.take(2)
    to = [{"to": ana, "variables": {"name": "Ana"}, "reference": "turno-17"}, {"to": unknown, "variables": {"x": "y"}}]
    answer = api.request("POST", "/send", json={"to": to, "message": "Hola {{name}}"}).json()
    assert [rejected["to"] for rejected in answer["rejected"]] == [unknown]
    await_delivered(api, answer["id"])
    assert simulator.received(ana) == ["Hola Ana"]
    assert [one["reference"] for one in api.recipients(answer["id"])] == ["turno-17"]


def test_recipient_that_answers_is_marked(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    accepted = api.send(number, message="¿Confirmás?")
    await_delivered(api, accepted["id"])
    simulator.write(number, "sí, confirmo")
    wait_for(lambda: api.recipients(accepted["id"])[0]["repliedAt"], ANSWER_SECONDS, "repliedAt")


def test_nothing_valid_is_nothing_stored(api: Api) -> None:
    before = api.get("/sends")["total"]
    refused = api.request("POST", "/send", json={"to": ["12", "abc"], "message": "hola"})
    assert refused.status_code == 422
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert api.get("/sends")["total"] == before


@pytest.mark.parametrize(
    "body",
    [
        {"to": "5491112345678"},
        {"to": "5491112345678", "message": "a", "instruction": "b"},
        {"to": [], "message": "a"},
        {"to": "5491112345678", "message": ""},
        {"to": "5491112345678", "message": "a" * 4097},
        {"message": "a"},
        ["5491112345678"],
    ],
)
def test_bad_bodies_are_told_what_to_change(api: Api, body: object) -> None:
    refused = api.request("POST", "/send", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["detail"]
