"""What a model asks to be done, what it is answered, and what follows from it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from boton.domain.conversations import ConversationOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """arguments: the JSON text as the model wrote it, which may be no JSON at all."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """text: what the model is told of its call. ok: whether it was carried out."""

    call: ToolCall
    text: str
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One finished round of a turn: what the model said while it called its tools, and what these answered."""

    text: str
    answers: tuple[ToolAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishConversation:
    """The conversation is over. summary: in the customer's language, for the business."""

    outcome: ConversationOutcome
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOff:
    """A person of the business takes over."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFollowUp:
    """This text is sent then, as it is. at: in UTC."""

    at: datetime
    text: str


Effect = FinishConversation | HandOff | ScheduleFollowUp


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """What a call came to. effect: applied in the transaction that closes the turn; a failed call has none."""

    text: str
    ok: bool
    effect: Effect | None = None


def effect_to_json(effect: Effect) -> dict[str, Any]:
    """As the store keeps it."""
    match effect:
        case FinishConversation():
            return {"kind": "finish", "outcome": effect.outcome.value, "summary": effect.summary}
        case HandOff():
            return {"kind": "hand_off", "reason": effect.reason}
        case ScheduleFollowUp():
            return {"kind": "follow_up", "at": effect.at.isoformat(), "text": effect.text}


def effect_from_json(stored: dict[str, Any]) -> Effect:
    """The effect that `effect_to_json` wrote. Raises ValueError for any other kind."""
    match stored.get("kind"):
        case "finish":
            return FinishConversation(outcome=ConversationOutcome(stored["outcome"]), summary=stored["summary"])
        case "hand_off":
            return HandOff(reason=stored["reason"])
        case "follow_up":
            return ScheduleFollowUp(at=datetime.fromisoformat(stored["at"]), text=stored["text"])
    raise ValueError("an effect of an unknown kind")
