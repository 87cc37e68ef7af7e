"""Which language model the settings ask for."""

from __future__ import annotations

from urllib.parse import urlsplit

from boton.errors import Invalid
from boton.llm.offline import OfflineAssistant
from boton.ports import LanguageModel

DEFAULT_MODEL = "gpt-5.4-mini"
"""OpenAI's model when a key is set and no model is named."""


def open_model(base_url: str | None, api_key: str | None, model: str | None) -> LanguageModel:
    """An OpenAI-compatible server's model; without address and key the offline assistant. Raises Invalid."""
    if not base_url and not api_key:
        return OfflineAssistant()
    if base_url:
        _check(base_url, model)
    from boton.llm.openai_model import OpenAIModel  # late: it costs 40 MB

    return OpenAIModel(base_url=base_url or None, api_key=api_key or None, model=model or DEFAULT_MODEL)


def _check(base_url: str, model: str | None) -> None:
    if not model:
        raise Invalid("BOTON_LLM_BASE_URL is set but BOTON_LLM_MODEL is not: name a model that this server has.")
    if not _is_address(base_url):
        raise Invalid("BOTON_LLM_BASE_URL is no address: it looks like http://127.0.0.1:11434/v1.")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
