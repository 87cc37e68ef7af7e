"""What a Chat Completions server answered, read. Pure.

Servers add and leave out a lot: only what we read is checked. Failures never show the input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from boton.domain.tools import ToolCall
from boton.errors import ModelMalformed
from boton.ports import ModelAnswer

_MOST_TOKENS = 10**8
"""Of one answer: the sum of a turn fits a database's integer."""

_THINKING = re.compile(r".*</think>", re.DOTALL)
_CALL_AS_TEXT = re.compile(r"<tool_call>.*?(?:</tool_call>|\Z)|\[TOOL_CALLS\].*", re.DOTALL)


class _Part(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)


class _Function(_Part):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(_Part):
    id: str | None = None
    function: _Function


class _Message(_Part):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None


class _Usage(_Part):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Bill(_Part):
    usage: _Usage | None = None


class _Completion(_Part):
    choices: list[_Choice]


def parse_answer(body: bytes, *, round: int) -> ModelAnswer:
    """round: how many rounds the turn has had; ids that we give to calls differ between rounds.

    Raises ModelMalformed, with what the answer cost.
    """
    counts = _read_counts(body)
    choice = _read_choice(body)
    if choice is None:
        raise ModelMalformed("The language model's server did not answer with a chat completion.", **counts)
    text, calls = _visible(choice.message.content or ""), tuple(_read_calls(choice.message, round))
    if (problem := _find_problem(choice, text, calls)) is not None:
        raise ModelMalformed(problem, **counts)
    return ModelAnswer(text=text, calls=calls, **counts)


def _read_counts(body: bytes) -> dict[str, int]:
    """What the answer cost, whatever it is worth."""
    try:
        usage = _Bill.model_validate_json(body).usage or _Usage()
    except ValidationError:
        usage = _Usage()
    return {"tokens_in": _count(usage.prompt_tokens), "tokens_out": _count(usage.completion_tokens)}


def _read_choice(body: bytes) -> _Choice | None:
    """None of what is no completion: what pydantic raises is not to be chained to ours."""
    try:
        return next(iter(_Completion.model_validate_json(body).choices), None)
    except ValidationError:
        return None


def _find_problem(choice: _Choice, text: str, calls: tuple[ToolCall, ...]) -> str | None:
    if choice.finish_reason == "content_filter":
        return "The language model's server withheld the answer (content_filter)."
    if text or calls:
        return None
    if choice.finish_reason == "length":
        return "The language model's answer was cut off before it said anything."
    return "The language model answered with an empty text."


def _read_calls(message: _Message, round: int) -> Iterator[ToolCall]:
    """Calls with ids that differ: some local servers give none, or the same to all. The ids that we make have nine
    letters and digits, which is what Mistral's templates insist on.
    """
    known: set[str] = set()
    for number, call in enumerate(message.tool_calls or ()):
        id = call.id if call.id and call.id not in known else f"call{round % 100:02}{number % 1000:03}"
        known.add(id)
        yield ToolCall(id=id, name=call.function.name, arguments=_read_arguments(call.function.arguments))


def _read_arguments(arguments: str | dict[str, Any] | None) -> str:
    """Text, as the protocol says; some servers give the object itself, or nothing for a call without arguments."""
    if isinstance(arguments, str) and arguments.strip():
        return arguments
    return json.dumps(arguments or {}, ensure_ascii=False)


def _count(told: int | None) -> int:
    """Tokens as the server counted them, within what a database's integer holds."""
    return min(max(told or 0, 0), _MOST_TOKENS)


def _visible(content: str) -> str:
    """What is meant for the reader. Local servers may leave a model's thoughts in its text, with or without the
    opening tag, or calls that they did not understand; thoughts that were cut off before their end hold no answer.
    """
    text = _CALL_AS_TEXT.sub("", _THINKING.sub("", content)).strip()
    return "" if text.startswith("<think>") else text
