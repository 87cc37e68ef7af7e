"""A prompt as Chat Completions wants it. Pure."""

from __future__ import annotations

import json
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from boton.domain.tools import Round, ToolAnswer, ToolCall
from boton.llm.quoting import quote
from boton.ports import Prompt

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageFunctionToolCallParam as FunctionCall
    from openai.types.chat import ChatCompletionMessageParam as Message
    from openai.types.chat import ChatCompletionToolMessageParam as Answer


def to_request(prompt: Prompt) -> dict[str, Any]:
    """What a request holds besides the model's name. Tools are named only where there are some."""
    request: dict[str, Any] = {"messages": to_messages(prompt)}
    if prompt.tools:
        request |= {"tools": _to_tools(prompt), "tool_choice": "auto"}
    if prompt.key:
        request |= {"extra_headers": {"Idempotency-Key": prompt.key}}
    return request


def to_messages(prompt: Prompt) -> list[Message]:
    """Lines of one role in a row become one message: the chat templates of several open models refuse roles that do
    not alternate.
    """
    messages: list[Message] = [{"role": "system", "content": prompt.system}]
    for role, run in groupby(prompt.lines, key=itemgetter(0)):
        messages.append(_to_message(role, "\n".join(text for _, text in run)))
    for each in prompt.rounds:
        messages += _to_round(each)
    return messages


def _to_message(role: str, content: str) -> Message:
    if role == "assistant":
        return {"role": "assistant", "content": content}
    return {"role": "user", "content": content}


def _to_round(each: Round) -> list[Message]:
    """The model's own message with its calls, and what each was answered."""
    if not each.answers:
        return [{"role": "assistant", "content": each.text}] if each.text else []
    calls = [_to_call(answer.call) for answer in each.answers]
    said: Message = {"role": "assistant", "content": each.text or None, "tool_calls": calls}
    return [said, *(_to_answer(answer) for answer in each.answers)]


def _to_call(call: ToolCall) -> FunctionCall:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": _sendable(call.arguments)},
    }


def _sendable(arguments: str) -> str:
    """vLLM answers 400 to a history whose arguments are no JSON object, also where the model itself wrote them."""
    try:
        return arguments if isinstance(json.loads(arguments), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"


def _to_answer(answer: ToolAnswer) -> Answer:
    return {"role": "tool", "tool_call_id": answer.call.id, "content": quote(answer.text)}


def _to_tools(prompt: Prompt) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in prompt.tools
    ]
