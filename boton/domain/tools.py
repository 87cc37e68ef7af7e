"""What a model asks tools for, what they answer, and the effects that follow once its turn closes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from boton.domain.conversations import ConversationOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """arguments: JSON as the model wrote it, not checked yet."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """ok: the tool did what was asked; else `text` says what to change."""

    call: ToolCall
    text: str
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One answer of the model that called tools, and what these answered."""

    text: str
    answers: tuple[ToolAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishConversation:
    outcome: ConversationOutcome
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOff:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFollowUp:
    at: datetime
    text: str


Effect = FinishConversation | HandOff | ScheduleFollowUp


def effect_to_json(effect: Effect) -> dict[str, Any]:
    match effect:
        case FinishConversation():
            return {"type": "finish", "outcome": effect.outcome.value, "summary": effect.summary}
        case HandOff():
            return {"type": "hand_off", "reason": effect.reason}
        case ScheduleFollowUp():
            return {"type": "follow_up", "at": effect.at.isoformat(), "text": effect.text}


def effect_from_json(stored: dict[str, Any]) -> Effect:
    """Raises KeyError, ValueError for what `effect_to_json` did not write."""
    match stored["type"]:
        case "finish":
            return FinishConversation(outcome=ConversationOutcome(stored["outcome"]), summary=stored["summary"])
        case "hand_off":
            return HandOff(reason=stored["reason"])
        case "follow_up":
            return ScheduleFollowUp(at=datetime.fromisoformat(stored["at"]), text=stored["text"])
    raise ValueError(f"not an effect: {stored['type']}")
