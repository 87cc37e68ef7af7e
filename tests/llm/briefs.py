"""Turn briefs for tests of the language model's edge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from boton.domain.businesses import BusinessConfig
from boton.domain.conversations import Line, Occasion, TurnBrief
from boton.domain.messages import MessageType, Sender
from boton.llm.prompts import build_prompt
from boton.ports import Prompt

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
CONFIG = BusinessConfig(
    business_name="Clínica Sol",
    business_description="Consultorio de dermatología en Rosario.",
    guardrails="REGLA-SECRETA: nunca des diagnósticos.",
    custom_instructions="INSTRUCCION-INTERNA: responde solo en español.",
)


def customer(text: str, type: MessageType = MessageType.TEXT) -> Line:
    return Line(sender=Sender.CUSTOMER, type=type, text=text, at=NOW)


def ours(text: str, sender: Sender = Sender.BOT) -> Line:
    return Line(sender=sender, type=MessageType.TEXT, text=text, at=NOW)


def brief(*history: Line, opening: bool = False, config: dict[str, Any] | None = None, **changes: Any) -> TurnBrief:
    """A turn that answers the newest of `history`; `config` changes fields of CONFIG."""
    turn = TurnBrief(
        turn_id="trn_1",
        chat_id="cht_1",
        connection_id="con_1",
        occasion=Occasion.OPENING if opening else Occasion.REPLY,
        customer_name=None,
        instruction=None,
        history=history,
        config=replace(CONFIG, **(config or {})),
        now=NOW,
    )
    return replace(turn, **changes)


def prompt(*history: Line, **changes: Any) -> Prompt:
    return build_prompt(brief(*history, **changes))
