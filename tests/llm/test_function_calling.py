"""Tools over Chat Completions, with the ways in which servers differ."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from boton.domain.tools import Round, ToolAnswer, ToolCall
from boton.llm.openai_model import OpenAIModel
from boton.llm.own_tools import OWN_TOOLS
from boton.llm.prompts import build_prompt
from boton.llm.purposes import FINISH, FOLLOW_UP, HAND_OFF
from boton.llm.tools import ToolRegistry
from tests.llm.briefs import brief, customer
from tests.llm.server import ModelServer, answers, call, completes, model_server

DONE = '{"outcome": "achieved", "summary": "Turno el lunes."}'
TURN = brief(customer("sí"), instruction="Ofrece turno")
ASKED = build_prompt(TURN, registry=ToolRegistry(OWN_TOOLS))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture
async def model(server: ModelServer) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(base_url=server.url, api_key=None, model="llama", timeout=10)
    yield model
    await model.close()


def answered(id: str, arguments: str, text: str = "Done.", *, said: str = "") -> Round:
    made = ToolCall(id=id, name=FINISH, arguments=arguments)
    return Round(text=said, answers=(ToolAnswer(call=made, text=text, ok=True),))


async def test_tools_are_offered_as_functions(server: ModelServer, model: OpenAIModel) -> None:
    await model.answer(ASKED)
    (request,) = server.requests
    assert request["tool_choice"] == "auto"
    assert [tool["type"] for tool in request["tools"]] == ["function"] * 3
    assert [tool["function"]["name"] for tool in request["tools"]] == [FINISH, HAND_OFF, FOLLOW_UP]
    assert request["tools"][0]["function"]["parameters"] == ASKED.tools[0].parameters


async def test_without_tools_none_are_mentioned(server: ModelServer, model: OpenAIModel) -> None:
    await model.answer(replace(ASKED, tools=()))
    assert not {"tools", "tool_choice"} & set(server.requests[0])


async def test_a_repeated_request_has_the_same_key(server: ModelServer, model: OpenAIModel) -> None:
    await model.answer(ASKED)
    await model.answer(ASKED)
    await model.answer(replace(ASKED, key=""))
    assert server.repeats == [ASKED.key, ASKED.key, None]
    assert ASKED.key.isascii()


async def test_a_call_needs_no_text(server: ModelServer, model: OpenAIModel) -> None:
    server.behave = completes(None, calls=[call("call_abc", FINISH, DONE)], finish_reason="tool_calls")
    answer = await model.answer(ASKED)
    assert (answer.text, answer.calls) == ("", (ToolCall(id="call_abc", name=FINISH, arguments=DONE),))
    assert (answer.tokens_in, answer.tokens_out) == (11, 7)


async def test_several_calls_at_once_beside_a_text(server: ModelServer, model: OpenAIModel) -> None:
    calls = [call("a", FINISH, DONE), call("b", HAND_OFF, '{"reason": "x"}')]
    server.behave = completes("<think>hm</think>Anotado.", calls=calls)
    answer = await model.answer(ASKED)
    assert answer.text == "Anotado."
    assert [(made.id, made.name) for made in answer.calls] == [("a", FINISH), ("b", HAND_OFF)]


@pytest.mark.parametrize("id", [None, "", "same"])
async def test_calls_get_ids_that_differ(server: ModelServer, model: OpenAIModel, id: str | None) -> None:
    server.behave = completes(None, calls=[call(id, FINISH, DONE), call(id, HAND_OFF, "{}")])
    first = [made.id for made in (await model.answer(ASKED)).calls]
    later = [made.id for made in (await model.answer(replace(ASKED, rounds=(answered("x", DONE),)))).calls]
    assert len(set(first)) == len(set(later)) == 2
    if id != "same":
        assert not set(first) & set(later)
        assert all(len(made) == 9 and made.isalnum() for made in first)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (DONE, DONE),
        ({"outcome": "achieved", "summary": "Sí, él"}, '{"outcome": "achieved", "summary": "Sí, él"}'),
        (None, "{}"),
        ("", "{}"),
        ({}, "{}"),
        ('{"outcome": ', '{"outcome": '),
    ],
)
async def test_arguments_are_the_models_text(
    server: ModelServer, model: OpenAIModel, written: object, read: str
) -> None:
    server.behave = completes(None, calls=[call("a", FINISH, written)])
    assert (await model.answer(ASKED)).calls[0].arguments == read


async def test_no_calls_is_a_text(server: ModelServer, model: OpenAIModel) -> None:
    server.behave = answers({"choices": [{"message": {"content": "Hola", "tool_calls": None}}]})
    answer = await model.answer(ASKED)
    assert (answer.text, answer.calls) == ("Hola", ())


async def test_calls_as_text_are_not_for_the_customer(server: ModelServer, model: OpenAIModel) -> None:
    server.behave = completes('Anotado.\n<tool_call>\n{"name": "x"}\n</tool_call>')
    assert (await model.answer(ASKED)).text == "Anotado."


async def test_rounds_are_told_after_the_dialogue(server: ModelServer, model: OpenAIModel) -> None:
    two = Round(
        text="Un momento.",
        answers=tuple(
            ToolAnswer(call=ToolCall(id=id, name=HAND_OFF, arguments='{"reason": "x"}'), text=f"[{id}]", ok=True)
            for id in "bc"
        ),
    )
    await model.answer(replace(ASKED, rounds=(answered("a", DONE), two)))
    said = {"id": "a", "type": "function", "function": {"name": FINISH, "arguments": DONE}}
    messages = server.requests[0]["messages"]
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        *("assistant", "tool", "tool"),
    ]
    assert messages[2] == {"role": "assistant", "content": None, "tool_calls": [said]}
    assert messages[3] == {"role": "tool", "tool_call_id": "a", "content": "Done."}
    assert messages[4]["content"] == "Un momento."
    assert [made["id"] for made in messages[4]["tool_calls"]] == ["b", "c"]
    assert [message["tool_call_id"] for message in messages[5:]] == ["b", "c"]


@pytest.mark.parametrize("arguments", ['{"outcome": ', "[]", "", "[" * 100_000])
async def test_malformed_arguments_are_not_sent_back(server: ModelServer, model: OpenAIModel, arguments: str) -> None:
    await model.answer(replace(ASKED, rounds=(answered("a", arguments, "Call again."),)))
    assert server.requests[0]["messages"][2]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert server.requests[0]["messages"][3]["content"] == "Call again."
