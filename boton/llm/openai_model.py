"""Any server that speaks OpenAI's Chat Completions: OpenAI, vLLM, Ollama, llama.cpp.

Importing this module costs about 40 MB of memory: `factory` does so only where a model is configured.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import openai

from boton.domain.tokens import estimate_tokens
from boton.errors import ModelBusy, ModelError
from boton.llm.completions import parse_answer
from boton.llm.failures import translate
from boton.llm.messages import to_request
from boton.ports import LanguageModel, ModelAnswer, Prompt

TIMEOUT = 60.0
"""Seconds for one answer, from connecting to its last byte."""

_NO_KEY = "none"


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
            return _counted(prompt, parse_answer(await self._fetch_body(prompt), round=len(prompt.rounds)))
        except TimeoutError:
            failure = ModelBusy(f"The language model gave no answer within {self._timeout:g} s.")
        except openai.OpenAIError as error:
            failure = translate(error)
        raise failure

    async def close(self) -> None:
        await self._client.close()

    async def _fetch_body(self, prompt: Prompt) -> bytes:
        """The answer's body, not yet parsed: what the client makes of a malformed one is not to be relied on."""
        # The client's own timeout counts between two bytes; a server that trickles would hold us for ever.
        async with asyncio.timeout(self._timeout):
            response = await self._client.chat.completions.with_raw_response.create(
                model=self.model, **to_request(prompt)
            )
        content: bytes = response.content
        return content


def _counted(prompt: Prompt, answer: ModelAnswer) -> ModelAnswer:
    """With an estimate where the server does not count: a business's budget must not be endless because of that."""
    if answer.tokens_in + answer.tokens_out > 0:
        return answer
    said = answer.text + "".join(call.name + call.arguments for call in answer.calls)
    told = json.dumps(to_request(prompt), ensure_ascii=False)
    return replace(answer, tokens_in=estimate_tokens(told), tokens_out=estimate_tokens(said))
