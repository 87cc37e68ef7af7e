"""Any server that speaks OpenAI's Chat Completions: OpenAI, vLLM, Ollama, llama.cpp.

Importing this module costs about 40 MB of memory: `factory` does so only where a model is configured.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import openai
from pydantic import BaseModel, ConfigDict, ValidationError

from boton.errors import ModelBusy, ModelError, ModelMalformed, ModelRefused
from boton.llm.retry_after import parse_retry_after
from boton.ports import LanguageModel, ModelAnswer, Prompt

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

TIMEOUT = 60.0
"""Seconds for one answer, from connecting to its last byte."""

_MOST_TOKENS = 2**31 - 1
_NO_KEY = "none"
_BUSY = {408, 409, 425, 429}
_THINKING = re.compile(r".*</think>", re.DOTALL)
_HINTS = {
    401: "check BOTON_LLM_API_KEY",
    403: "check BOTON_LLM_API_KEY and what it may use",
    404: "check BOTON_LLM_BASE_URL and BOTON_LLM_MODEL",
}


class OpenAIModel(LanguageModel):
    """base_url: None is OpenAI itself. api_key: None for a server that wants none. timeout: seconds for one answer."""

    def __init__(self, *, base_url: str | None, api_key: str | None, model: str, timeout: float = TIMEOUT) -> None:
        self.model = model
        self._timeout = timeout
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=api_key or _NO_KEY, max_retries=0, timeout=timeout)

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        # Raised outside the `except`: what the client raised holds the request, and must not be chained to ours.
        failure: ModelError
        try:
            return _parse_answer(await self._fetch_body(prompt))
        except TimeoutError:
            failure = ModelBusy(f"The language model gave no answer within {self._timeout:g} s.")
        except openai.OpenAIError as error:
            failure = _translate(error)
        except ValidationError:
            failure = ModelMalformed("The language model's server did not answer with a chat completion.")
        raise failure

    async def close(self) -> None:
        await self._client.close()

    async def _fetch_body(self, prompt: Prompt) -> bytes:
        """The answer's body, not yet parsed: what the client makes of a malformed one is not to be relied on."""
        # The client's own timeout counts between two bytes; a server that trickles would hold us for ever.
        async with asyncio.timeout(self._timeout):
            response = await self._client.chat.completions.with_raw_response.create(
                model=self.model, messages=to_messages(prompt)
            )
        return response.content


def to_messages(prompt: Prompt) -> list[ChatCompletionMessageParam]:
    """The prompt as Chat Completions wants it. Lines of one role in a row become one message: the chat templates of
    several open models refuse roles that do not alternate.
    """
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": prompt.system}]
    for role, run in groupby(prompt.lines, key=itemgetter(0)):
        messages.append(_to_message(role, "\n".join(text for _, text in run)))
    return messages


def _to_message(role: str, content: str) -> ChatCompletionMessageParam:
    if role == "assistant":
        return {"role": "assistant", "content": content}
    return {"role": "user", "content": content}


class _Part(BaseModel):
    """Servers add and leave out a lot: only what we read is checked. Failures never show the input."""

    model_config = ConfigDict(hide_input_in_errors=True)


class _Message(_Part):
    content: str | None = None


class _Choice(_Part):
    message: _Message


class _Usage(_Part):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(_Part):
    choices: list[_Choice]
    usage: _Usage | None = None


def _parse_answer(body: bytes) -> ModelAnswer:
    """Raises pydantic's ValidationError or ModelMalformed."""
    completion = _Completion.model_validate_json(body)
    if not completion.choices:
        raise ModelMalformed("The language model answered without a choice.")
    text = _visible(completion.choices[0].message.content or "")
    if not text:
        raise ModelMalformed("The language model answered with an empty text.")
    usage = completion.usage or _Usage()
    return ModelAnswer(text=text, tokens_in=_count(usage.prompt_tokens), tokens_out=_count(usage.completion_tokens))


def _count(told: int | None) -> int:
    """Tokens as the server counted them, within what a database's integer holds."""
    return min(max(told or 0, 0), _MOST_TOKENS)


def _visible(content: str) -> str:
    """What is meant for the reader. Local servers may leave a model's thoughts in its text, with or without the
    opening tag; thoughts that were cut off before their end hold no answer.
    """
    text = _THINKING.sub("", content).strip()
    return "" if text.startswith("<think>") else text


def _translate(error: openai.OpenAIError) -> ModelError:
    """Our error for the client's, without anything that the server or the request said."""
    if not isinstance(error, openai.APIStatusError):
        return ModelBusy(f"The language model's server could not be reached ({type(error).__name__}).")
    status = error.status_code
    if status in _BUSY or status >= 500:
        wait = parse_retry_after(error.response.headers.get("retry-after"), datetime.now(UTC))
        return ModelBusy(f"The language model's server answered {status}.", retry_after=wait)
    hint = _HINTS.get(status, "the request is not what it accepts")
    return ModelRefused(f"The language model's server answered {status}: {hint}.")
