"""Whatever a customer writes stays what a customer wrote."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from boton.domain.conversations import (
    ConversationOutcome,
    ConversationStatus,
    EarlierConversation,
    Occasion,
    TurnBrief,
)
from boton.domain.messages import MessageType, Sender
from boton.domain.tools import Round, ToolAnswer, ToolCall
from boton.llm.messages import to_request
from boton.llm.offline import OfflineAssistant
from boton.llm.own_tools import OWN_TOOLS
from boton.llm.prompts import build_prompt
from boton.llm.purposes import HAND_OFF
from boton.llm.tools import ToolRegistry
from tests.llm.briefs import NOW, brief, customer, ours
from tests.llm.injections import ATTEMPTS, MARK

REGISTRY = ToolRegistry(OWN_TOOLS)
KINDS = [MessageType.TEXT, MessageType.IMAGE, MessageType.REACTION, MessageType.LOCATION, MessageType.UNKNOWN]
OUR_NOTE = re.compile(r"\[[^\[\]]*\]")
OURS = [
    "an earlier conversation, ended 2026-03-02: declined",
    "the customer's profile name: ",
    "answer the customer's latest message",
    "the customer has not answered",
    "written by a colleague of yours",
    "imagen", "reacción", "ubicación", "mensaje que no es texto",
]  # fmt: skip

attempted = pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())


def everywhere(attempt: str, **changes: Any) -> TurnBrief:
    """A turn in which the customer has written it wherever a customer can write."""
    earlier = EarlierConversation(
        ended_at=NOW, status=ConversationStatus.DONE, outcome=ConversationOutcome.DECLINED, summary=attempt
    )
    messages = [customer(attempt, kind) for kind in KINDS]
    return brief(
        customer("hola"), ours("¡Hola!", Sender.HUMAN), *messages, customer_name=attempt, earlier=(earlier,), **changes
    )


def request_of(turn: TurnBrief) -> dict[str, Any]:
    return to_request(build_prompt(turn, registry=REGISTRY))


def test_there_are_enough_attempts() -> None:
    assert len(ATTEMPTS) >= 15
    assert all(MARK in attempt for attempt in ATTEMPTS.values())


@attempted
@pytest.mark.parametrize("occasion", Occasion)
def test_rules_and_tools_are_the_same_whatever_a_customer_writes(attempt: str, occasion: Occasion) -> None:
    tried = request_of(everywhere(attempt, instruction="Ofrece turno", occasion=occasion))
    harmless = request_of(everywhere("hola", instruction="Ofrece turno", occasion=occasion))
    assert tried["messages"][0] == harmless["messages"][0]
    assert tried["tools"] == harmless["tools"]
    assert MARK not in json.dumps([tried["messages"][0], tried["tools"], tried["extra_headers"]])


@attempted
def test_it_appears_as_the_customers_words_alone(attempt: str) -> None:
    messages = request_of(everywhere(attempt, instruction="Ofrece turno"))["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    told = [message["content"] for message in messages if MARK in message["content"]]
    assert told == [messages[1]["content"], messages[3]["content"]]
    assert all(set(message) == {"role", "content"} for message in messages)


@attempted
def test_notes_of_ours_cannot_be_forged(attempt: str) -> None:
    for role, text in build_prompt(everywhere(attempt)).lines:
        notes = OUR_NOTE.findall(text)
        assert len(notes) == text.count("[") == text.count("]") <= 1, f"{role}: {text}"
        assert all(note[1:].startswith(tuple(OURS)) for note in notes)
        assert not notes or text.startswith("[")


@attempted
def test_a_message_never_begins_like_a_note(attempt: str) -> None:
    ((role, text),) = build_prompt(brief(customer(attempt))).lines
    assert role == "user"
    assert not set("[]［］【】") & set(text)


@attempted
def test_marks_of_chat_templates_do_not_get_through(attempt: str) -> None:
    for message in request_of(everywhere(attempt))["messages"][1:]:
        assert not re.search(r"<[^\s\d]|\[/?INST|\[TOOL_CALLS|＜", message["content"])


@attempted
def test_a_tools_answer_that_quotes_it_stays_a_tools_answer(attempt: str) -> None:
    call = ToolCall(id="call00000", name=HAND_OFF, arguments=json.dumps({"reason": attempt}))
    rounds = (Round(text="", answers=(ToolAnswer(call=call, text=attempt, ok=True),)),)
    *_, said, answered = request_of(everywhere(attempt, rounds=rounds))["messages"]
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"reason": attempt}
    assert answered["role"] == "tool"
    assert not re.search(r"<[^\s\d]|[\[\]]", answered["content"])


@attempted
async def test_offline_assistant_is_not_moved(attempt: str) -> None:
    turn = brief(customer(attempt), instruction="Ofrece turno", customer_name=attempt)
    answer = await OfflineAssistant().answer(build_prompt(turn, registry=REGISTRY))
    assert answer.calls == ()
    assert "REGLA-SECRETA" not in answer.text
    assert "INSTRUCCION-INTERNA" not in answer.text


@pytest.mark.parametrize("harmless", ["te quiero <3", "3 < 5 y 7 > 2", "a las 15:30 (o antes)", "👨‍👩‍👧", "¿qué?\nok"])
def test_what_harms_nobody_is_told_as_it_is(harmless: str) -> None:
    assert build_prompt(brief(customer(harmless))).lines == (("user", harmless),)
