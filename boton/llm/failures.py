"""Our errors for the ones of a Chat Completions server: without anything that the server or the request said."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import openai

from boton.errors import ModelBusy, ModelContextTooLong, ModelError, ModelMisconfigured, ModelRefused
from boton.llm.retry_after import parse_retry_after

_BUSY = {408, 409, 425, 429}
_MISCONFIGURED = {
    401: "check BOTON_LLM_API_KEY",
    402: "check the plan and the credit of BOTON_LLM_API_KEY",
    403: "check BOTON_LLM_API_KEY and what it may use",
    404: "check BOTON_LLM_BASE_URL and BOTON_LLM_MODEL",
}
_NO_CREDIT = {"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"}
_ABOUT_LENGTH = {400, 413, 422, 500}
_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|size|window)|maximum model length|too long to fit|prompt is too long|request too large"
    r"|input (?:length |is )?(?:too (?:large|long)|exceeds)|input tokens? exceed|input token count"
    r"|max_new_tokens. must be <=|max_tokens must be at least 1, got -|exceed_context",
    re.IGNORECASE,
)
"""How OpenAI, vLLM, llama.cpp, llama-cpp-python, Ollama, LM Studio, TGI, Groq and Anthropic say it."""
_NO_TOOLS = re.compile(r"does not support tools|enable-auto-tool-choice|tool[ _-]?call[ _-]?parser", re.IGNORECASE)


def translate(error: openai.OpenAIError) -> ModelError:
    """By what the caller can do: ask again later, ask for less, or have a setting changed."""
    if not isinstance(error, openai.APIStatusError):
        return ModelBusy(f"The language model's server could not be reached ({type(error).__name__}).")
    status = error.status_code
    said = f"The language model's server answered {status}"
    if _is_too_long(error):
        return ModelContextTooLong(f"{said}: the prompt is longer than the model's context window.")
    if hint := _find_setting(error):
        return ModelMisconfigured(f"{said}: {hint}.")
    if status in _BUSY or status >= 500:
        wait = parse_retry_after(error.response.headers.get("retry-after"), datetime.now(UTC))
        return ModelBusy(f"{said}.", retry_after=wait)
    return ModelRefused(f"{said}: the request is not what it accepts.")


def _is_too_long(error: openai.APIStatusError) -> bool:
    told = error.code == "context_length_exceeded" or bool(_TOO_LONG.search(error.response.text))
    return told and error.status_code in _ABOUT_LENGTH


def _find_setting(error: openai.APIStatusError) -> str | None:
    """The setting that is wrong, and what is wrong with it."""
    if error.status_code == 429 and not _NO_CREDIT.isdisjoint({error.code, error.type}):
        return _MISCONFIGURED[402]
    if error.status_code in {400, 500} and _NO_TOOLS.search(error.response.text):
        return "it calls no tools: choose a BOTON_LLM_MODEL that can, or start the server with tool calling enabled"
    return _MISCONFIGURED.get(error.status_code)
