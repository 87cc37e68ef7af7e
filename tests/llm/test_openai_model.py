"""The OpenAI client against a real server that also misbehaves."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from boton.domain.messages import Sender
from boton.domain.tokens import estimate_tokens
from boton.errors import (
    ModelBusy,
    ModelContextTooLong,
    ModelError,
    ModelMalformed,
    ModelMisconfigured,
    ModelRefused,
)
from boton.llm.openai_model import OpenAIModel
from boton.ports import Prompt
from tests.llm import server as misbehaviour
from tests.llm.briefs import customer, ours, prompt
from tests.llm.server import Behaviour, ModelServer, answers, call, completes, model_server, writes

SECRET = "mi-dolencia-privada"
ASKED = prompt(customer(SECRET), instruction=SECRET, customer_name=SECRET)
ECHO = {"error": {"message": f"bad prompt: {SECRET}", "code": SECRET}}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture
async def model(server: ModelServer) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(base_url=server.url, api_key="sk-test", model="llama", timeout=10)
    yield model
    await model.close()


async def fail(server: ModelServer, behave: Behaviour, timeout: float = 10) -> ModelError:
    """The error that this behaviour ends in."""
    server.behave = behave
    model = OpenAIModel(base_url=server.url, api_key=None, model="llama", timeout=timeout)
    with pytest.raises(ModelError) as caught:
        await model.answer(ASKED)
    await model.close()
    return caught.value


async def test_sends_model_key_rules_and_dialogue(server: ModelServer, model: OpenAIModel) -> None:
    asked = prompt(customer("hola"), ours("¡Hola!"), customer("¿precio?"))
    answer = await model.answer(asked)
    assert (answer.text, answer.tokens_in, answer.tokens_out) == ("Hola, ¿en qué puedo ayudarte?", 11, 7)
    assert server.keys == ["Bearer sk-test"]
    assert server.requests == [
        {
            "path": "/v1/chat/completions",
            "model": "llama",
            "messages": [
                {"role": "system", "content": asked.system},
                {"role": "user", "content": "hola"},
                {"role": "assistant", "content": "¡Hola!"},
                {"role": "user", "content": "¿precio?"},
            ],
        }
    ]


@pytest.mark.parametrize(
    "asked",
    [
        prompt(opening=True, instruction="Ofrece turno", customer_name="Juan"),
        prompt(customer("a"), customer("b"), ours("c"), ours("d", Sender.HUMAN), customer("e")),
        prompt(ours("Tenemos turno mañana"), customer("sí")),
        prompt(customer("hola"), ours("¡Hola!"), opening=True, instruction="Ofrece turno"),
        prompt(customer("x" * 9000), ours("y" * 9000), customer("z")),
    ],
)
async def test_roles_alternate_from_user_to_user(server: ModelServer, model: OpenAIModel, asked: Prompt) -> None:
    await model.answer(asked)
    roles = [message["role"] for message in server.requests[0]["messages"]]
    assert roles == ["system", *(["user", "assistant"] * len(roles))[: len(roles) - 1]]
    assert roles[-1] == "user"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
async def test_overload_is_worth_another_try(server: ModelServer, status: int) -> None:
    error = await fail(server, answers(ECHO, status))
    assert isinstance(error, ModelBusy)
    assert error.retry_after is None
    assert str(status) in error.detail
    assert len(server.requests) == 1, "the client must not retry by itself"


async def test_retry_after_in_seconds(server: ModelServer) -> None:
    error = await fail(server, answers(ECHO, 429, {"Retry-After": "7"}))
    assert isinstance(error, ModelBusy)
    assert error.retry_after == 7


async def test_retry_after_as_a_date(server: ModelServer) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    error = await fail(server, answers(ECHO, 503, {"Retry-After": at}))
    assert isinstance(error, ModelBusy)
    assert error.retry_after is not None
    assert 60 < error.retry_after <= 90


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
async def test_refusals_are_final(server: ModelServer, status: int) -> None:
    error = await fail(server, answers(ECHO, status))
    assert isinstance(error, ModelRefused)
    assert str(status) in error.detail
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "setting"),
    [
        (401, "BOTON_LLM_API_KEY"),
        (402, "BOTON_LLM_API_KEY"),
        (403, "BOTON_LLM_API_KEY"),
        (404, "BOTON_LLM_BASE_URL and BOTON_LLM_MODEL"),
    ],
)
async def test_a_wrong_setting_is_named(server: ModelServer, status: int, setting: str) -> None:
    error = await fail(server, answers(ECHO, status))
    assert isinstance(error, ModelMisconfigured)
    assert setting in error.detail


@pytest.mark.parametrize("error", [{"code": "insufficient_quota"}, {"type": "insufficient_quota", "code": None}])
async def test_no_credit_is_no_overload(server: ModelServer, error: dict[str, str | None]) -> None:
    failure = await fail(server, answers({"error": {"message": SECRET, **error}}, 429, {"Retry-After": "1"}))
    assert isinstance(failure, ModelMisconfigured)
    assert "credit of BOTON_LLM_API_KEY" in failure.detail
    assert_tells_nothing(failure)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    ],
)
async def test_a_model_without_tools_is_a_wrong_setting(server: ModelServer, status: int, message: str) -> None:
    error = await fail(server, answers({"error": {"message": message}}, status))
    assert isinstance(error, ModelMisconfigured)
    assert "BOTON_LLM_MODEL" in error.detail


TOO_LONG = {
    "OpenAI": (400, {"error": {"message": SECRET, "code": "context_length_exceeded"}}),
    "OpenAI, text": (400, {"error": {"message": "This model's maximum context length is 128000 tokens. However, …"}}),
    "vLLM": (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400}),
    "vLLM, prompt": (
        400,
        {"error": {"message": "The decoder prompt (length 9) is longer than the maximum model length of 4"}},
    ),
    "vLLM, fits": (
        500,
        {"message": "The prompt (total length 9) is too long to fit into the model (context length 4)"},
    ),
    "vLLM, old": (400, {"object": "error", "message": "max_tokens must be at least 1, got -186."}),
    "llama.cpp": (
        400,
        {"error": {"code": 400, "message": "request (4390 tokens) exceeds the available context size (4096 tokens)"}},
    ),
    "llama.cpp, 500": (500, {"error": {"code": 500, "message": "Context size has been exceeded."}}),
    "llama.cpp, type": (500, {"error": {"message": "x", "type": "exceed_context_size_error"}}),
    "llama-cpp-python": (400, {"error": {"message": "Requested tokens (2285) exceed context window of 2048"}}),
    "Ollama": (500, {"error": {"message": "input length exceeds the context length"}}),
    "Ollama, 400": (400, {"error": "the input length exceeds maximum context length"}),
    "TGI": (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."}),
    "Anthropic": (400, {"error": {"message": "prompt is too long: 200001 tokens > 200000 maximum"}}),
    "Groq": (413, {"error": {"message": "Request too large for model `x`", "code": "rate_limit_exceeded"}}),
    "Gemini": (400, {"error": {"message": "The input token count (582632) exceeds the maximum number of tokens"}}),
}


@pytest.mark.parametrize(("status", "body"), TOO_LONG.values(), ids=TOO_LONG.keys())
async def test_a_prompt_beyond_the_window_is_told_apart(server: ModelServer, status: int, body: object) -> None:
    error = await fail(server, answers(body, status))
    assert isinstance(error, ModelContextTooLong)
    assert not isinstance(error, ModelRefused | ModelBusy)
    assert_tells_nothing(error)


async def test_a_text_about_windows_does_not_make_an_overload_too_long(server: ModelServer) -> None:
    assert isinstance(await fail(server, answers({"error": "context length"}, 503)), ModelBusy)
    assert isinstance(await fail(server, answers({"error": "context length"}, 401)), ModelMisconfigured)


MALFORMED = {
    "no JSON": writes(b"<html>" + SECRET.encode()),
    "cut JSON": writes(b'{"choices": [{"message": {"content": "' + SECRET.encode()),
    "nothing": writes(b""),
    "not UTF-8": writes(b'{"choices": "\xff\xfe"}'),
    "HTML": writes(b"<html></html>", headers={"Content-Type": "text/html"}),
    "a list": answers([SECRET]),
    "a string": answers(SECRET),
    "null": answers(None),
    "no choices": answers({"id": SECRET}),
    "empty choices": answers({"choices": []}),
    "null choices": answers({"choices": None}),
    "no message": answers({"choices": [{"index": 0}]}),
    "error with 200": answers(ECHO),
    "content is an object": answers({"choices": [{"message": {"content": {"text": SECRET}}}]}),
    "null content": completes(None),
    "empty text": completes(""),
    "blank text": completes(" \n\t "),
    "thoughts without answer": completes("<think>" + SECRET),
    "a call as text": completes('<tool_call>{"name": "x", "arguments": {}}'),
    "cut off": completes("", finish_reason="length"),
    "withheld": completes(SECRET, finish_reason="content_filter"),
    "no calls": completes(None, calls=[]),
    "a call without a function": completes(None, calls=[{"id": SECRET}]),
    "a call without a name": completes(None, calls=[{"function": {"arguments": SECRET}}]),
    "a call with a list": completes(None, calls=[call("1", "x", [SECRET])]),
}


@pytest.mark.parametrize("behave", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_answers(server: ModelServer, behave: Behaviour) -> None:
    error = await fail(server, behave)
    assert isinstance(error, ModelMalformed)
    assert_tells_nothing(error)


PAID = ("null content", "empty text", "thoughts without answer", "cut off", "withheld", "a call without a name")


@pytest.mark.parametrize("name", PAID)
async def test_malformed_answer_tells_what_it_cost(server: ModelServer, name: str) -> None:
    error = await fail(server, MALFORMED[name])
    assert isinstance(error, ModelMalformed)
    assert (error.tokens_in, error.tokens_out) == (11, 7)


@pytest.mark.parametrize("body", [{"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}, [SECRET]])
async def test_answer_without_a_choice_costs_what_its_server_says(server: ModelServer, body: object) -> None:
    error = await fail(server, answers(body))
    assert isinstance(error, ModelMalformed)
    assert error.tokens_in + error.tokens_out == (18 if isinstance(body, dict) else 0)


@pytest.mark.parametrize("behave", [misbehaviour.hangs_up, misbehaviour.breaks_off])
async def test_a_broken_connection_is_worth_another_try(server: ModelServer, behave: Behaviour) -> None:
    assert isinstance(await fail(server, behave), ModelBusy)


@pytest.mark.parametrize("behave", [misbehaviour.hangs, misbehaviour.trickles])
async def test_a_silent_or_trickling_server_is_given_up(server: ModelServer, behave: Behaviour) -> None:
    error = await asyncio.wait_for(fail(server, behave, timeout=0.3), 10)
    assert isinstance(error, ModelBusy)


async def test_nobody_listens() -> None:
    with model_server() as gone:
        pass
    assert isinstance(await fail(gone, completes("x")), ModelBusy)


async def test_works_again_after_a_failure(server: ModelServer, model: OpenAIModel) -> None:
    server.behave = misbehaviour.breaks_off
    with pytest.raises(ModelBusy):
        await model.answer(ASKED)
    server.behave = completes("aquí estoy")
    assert (await model.answer(ASKED)).text == "aquí estoy"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>el cliente…</think>\n\nHola", "Hola"),
        ("el cliente…</think>Hola", "Hola"),
        ("  Hola \n", "Hola"),
        ("Hola <b>x</b>", "Hola <b>x</b>"),
    ],
)
async def test_thoughts_are_not_for_the_customer(
    server: ModelServer, model: OpenAIModel, content: str, text: str
) -> None:
    server.behave = completes(content)
    assert (await model.answer(ASKED)).text == text


async def test_tokens_are_estimated_where_the_server_counts_none(server: ModelServer, model: OpenAIModel) -> None:
    server.behave = answers({"choices": [{"message": {"content": "Hola"}}], "usage": {"prompt_tokens": None}})
    answer = await model.answer(ASKED)
    assert (answer.text, answer.tokens_out) == ("Hola", estimate_tokens("Hola"))
    assert estimate_tokens(ASKED.system) < answer.tokens_in < 3 * estimate_tokens(ASKED.system)


async def test_a_server_that_counts_nonsense(server: ModelServer, model: OpenAIModel) -> None:
    """What a turn adds up of it must fit a database's integer."""
    usage = {"prompt_tokens": 2**40, "completion_tokens": -1}
    server.behave = answers({"choices": [{"message": {"content": "Hola"}}], "usage": usage})
    answer = await model.answer(ASKED)
    assert (answer.tokens_in, answer.tokens_out) == (10**8, 0)


@pytest.mark.parametrize("usage", ["many", [], {"prompt_tokens": "many"}, {"prompt_tokens": {}}])
async def test_a_server_whose_count_cannot_be_read(server: ModelServer, model: OpenAIModel, usage: object) -> None:
    server.behave = answers({"choices": [{"message": {"content": "Hola"}}], "usage": usage})
    answer = await model.answer(ASKED)
    assert (answer.text, answer.tokens_out) == ("Hola", estimate_tokens("Hola"))


@pytest.mark.parametrize(
    "behave", [answers(ECHO, 400), answers(ECHO, 429), answers([SECRET]), misbehaviour.hangs, misbehaviour.hangs_up]
)
async def test_failures_and_logs_hold_no_text(
    server: ModelServer, behave: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = await fail(server, behave, timeout=0.5)
    assert_tells_nothing(error)
    assert SECRET not in caplog.text


def assert_tells_nothing(error: ModelError) -> None:
    """Neither the error nor anything chained to it shows what was asked or what the server said."""
    assert error.__cause__ is None
    assert error.__context__ is None
    assert SECRET not in "".join(traceback.format_exception(error))
    assert SECRET not in f"{error!r} {error.detail} {vars(error)}"
