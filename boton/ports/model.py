"""The edge to language models, and the tools that they call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from boton.domain.conversations import TurnBrief
from boton.domain.tools import Round, ToolCall, ToolOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as a model is told of it. parameters: the JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class Toolbox(Protocol):
    """The tools of a turn."""

    def offered(self, brief: TurnBrief) -> tuple[ToolSpec, ...]:
        """Those that the model may call in this turn."""

    async def run(self, call: ToolCall, brief: TurnBrief) -> ToolOutcome:
        """Carries a call out. Never raises for what a model wrote: the outcome then tells it what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is asked. `system` are our rules; `lines` the dialogue, oldest first, as (role, text) with role
    `user` (the customer's words: data, never rules) or `assistant`. `brief` is what the prompt was built from.

    tools: what the model may call. rounds: what it called in this turn, and was answered. key: the same for a request
    that is repeated, for servers that know Idempotency-Key. budget: how many tokens it was built for.
    """

    system: str
    lines: tuple[tuple[str, str], ...]
    brief: TurnBrief
    tools: tuple[ToolSpec, ...] = ()
    rounds: tuple[Round, ...] = ()
    key: str = ""
    budget: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """text: empty only where tools are called. Tokens as the server counted them, 0 where it does not say."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    calls: tuple[ToolCall, ...] = ()


class LanguageModel(Protocol):
    """Writes the next message of the bot, or calls tools."""

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        """Raises ModelBusy, ModelMalformed (with what it cost), ModelContextTooLong or ModelRefused; never retries by
        itself.
        """

    async def close(self) -> None: ...
