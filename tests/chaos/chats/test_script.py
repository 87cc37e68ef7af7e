"""What the scripted model says."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from typing import Any

import pytest

from boton.llm.purposes import FINISH, FOLLOW_UP, HAND_OFF
from tests.chaos.chats.plan import Wish, make_chat_plan
from tests.chaos.chats.script import respond
from tests.chaos.plan import Moment, Size
from tests.llm.server import model_server

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
RULES = {"role": "system", "content": "Sigue: Aviso c1-000001"}
TOOLS = [{"type": "function", "function": {"name": name}} for name in (FINISH, FOLLOW_UP, HAND_OFF)]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def ask(*messages: dict[str, Any], number: int = 2, tools: list[Any] = TOOLS) -> dict[str, Any]:
    """The model's message, by way of a real server."""
    body = {"messages": [RULES, *messages], "tools": tools}
    with model_server() as server:
        server.behave = respond(body, number, NOW)
        request = urllib.request.Request(f"{server.url}/chat/completions", json.dumps(body).encode())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            message: dict[str, Any] = json.load(answer)["choices"][0]["message"]
    return message


def test_reply_names_what_it_answers_and_nothing_before() -> None:
    before = (user("pregunta c1-000002 duda"), {"role": "assistant", "content": "r000001.1 a c1-000002"})
    said = ask(*before, user("pregunta c1-000003 duda\npregunta c1-000004 duda"))["content"]
    assert said == "r000002.1 a c1-000003 c1-000004"


def test_opening_names_its_instruction() -> None:
    said = ask(user("pregunta c1-000002 duda\n[write the first message of this conversation]"), tools=[])
    assert said["content"] == "r000002.1 a c1-000001"


@pytest.mark.parametrize(("wish", "tool"), [(Wish.LATER, FOLLOW_UP), (Wish.FINISH, FINISH), (Wish.PERSON, HAND_OFF)])
def test_wish_is_a_call_and_then_a_reply(wish: Wish, tool: str) -> None:
    question = user(f"pregunta c1-000002 {wish}")
    called = ask(question)
    assert called["tool_calls"][0]["function"]["name"] == tool
    assert "k000002" in called["tool_calls"][0]["function"]["arguments"]
    done = {"role": "tool", "content": "Done."}
    assert ask(question, called, done, number=3)["content"] == "r000003.1 a c1-000002"
    assert ask(question, tools=[])["content"] == "r000002.1 a c1-000002"


def test_call_that_was_refused_is_made_again() -> None:
    question = user(f"pregunta c1-000002 {Wish.LATER}")
    clumsy = ask(question, number=1)
    assert "2026-03-04" in clumsy["tool_calls"][0]["function"]["arguments"]
    again = ask(question, clumsy, {"role": "tool", "content": "Nothing was done."}, number=3)
    assert "2026-03-05" in again["tool_calls"][0]["function"]["arguments"]


def test_plan_repeats_with_its_seed_and_aims_at_every_moment() -> None:
    size = Size(messages=200, kills=40)
    plan = make_chat_plan(7, size)
    wishes = {question.wish for talk in plan.talks for question in talk.questions}
    assert plan == make_chat_plan(7, size)
    assert plan != make_chat_plan(8, size)
    assert wishes == set(Wish)
    assert {act.moment for _, act in plan.steps} == set(Moment)
