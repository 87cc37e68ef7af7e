"""What a Chat Completions server answered, read. Pure.

Servers add and leave out a lot: only what we read is checked. Failures never show the input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from boton.domain.tools import ToolCall
from boton.errors import ModelMalformed
from boton.ports import ModelAnswer

_MOST_TOKENS = 2**31 - 1
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


class _Completion(_Part):
    choices: list[_Choice]
    usage: _Usage | None = None


def parse_answer(body: bytes, *, round: int) -> ModelAnswer:
    """round: how many rounds the turn has had; ids that we give to calls differ between rounds.

    Raises pydantic's ValidationError or ModelMalformed.
    """
    completion = _Completion.model_validate_json(body)
    if not completion.choices:
        raise ModelMalformed("The language model answered without a choice.")
    choice = completion.choices[0]
    text, calls = _visible(choice.message.content or ""), tuple(_read_calls(choice.message, round))
    _check(choice, text, calls)
    usage = completion.usage or _Usage()
    counts = {"tokens_in": _count(usage.prompt_tokens), "tokens_out": _count(usage.completion_tokens)}
    return ModelAnswer(text=text, calls=calls, **counts)


def _check(choice: _Choice, text: str, calls: tuple[ToolCall, ...]) -> None:
    if choice.finish_reason == "content_filter":
        raise ModelMalformed("The language model's server withheld the answer (content_filter).")
    if text or calls:
        return
    if choice.finish_reason == "length":
        raise ModelMalformed("The language model's answer was cut off before it said anything.")
    raise ModelMalformed("The language model answered with an empty text.")


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
