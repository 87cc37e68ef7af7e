"""The dialogue as a model is told it: (role, text) lines, oldest first, with notes in [square brackets]. Pure."""

from __future__ import annotations

from boton.domain.conversations import Line, TurnBrief
from boton.domain.messages import MessageType, Sender

HISTORY_BUDGET = 12_000
"""How many characters of history a prompt holds at most: about 3,000 to 4,000 tokens. The newest are kept."""

NOTES = {
    MessageType.AUDIO: "nota de voz",
    MessageType.IMAGE: "imagen",
    MessageType.VIDEO: "video",
    MessageType.DOCUMENT: "documento",
    MessageType.STICKER: "sticker",
    MessageType.CONTACT: "contacto",
    MessageType.LOCATION: "ubicación",
    MessageType.REACTION: "reacción",
    MessageType.UNKNOWN: "mensaje que no es texto",
}
"""What a message that is not text is called."""

_WROTE_FIRST = "the business wrote first"
_LEFT_OUT = "earlier messages are left out"
_OPEN = "[write the first message of this conversation]"
_ANSWER = "[answer the customer's latest message]"


def tell_dialogue(brief: TurnBrief, budget: int = HISTORY_BUDGET) -> tuple[tuple[str, str], ...]:
    """The lines of a prompt. They begin and end with the role `user`: chat templates of many models insist on it."""
    told = [_tell_line(line) for line in brief.history]
    kept = _keep_newest(told, budget)
    lines = _tell_beginning(brief, kept, cut=len(kept) < len(told)) + kept
    if brief.opening:
        return (*lines, ("user", _OPEN))
    if not kept or kept[-1][0] != "user":
        return (*lines, ("user", _ANSWER))
    return tuple(lines)


def one_line(text: str, limit: int) -> str:
    """Text of a customer's as a short quotation: no line breaks, no control characters, at most `limit` characters."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def _tell_line(line: Line) -> tuple[str, str]:
    text = line.text if line.type is MessageType.TEXT else _tell_kind(line)
    match line.sender:
        case Sender.CUSTOMER:
            return "user", text
        case Sender.HUMAN:
            return "assistant", f"[written by a colleague of yours] {text}"
        case Sender.BOT | Sender.API:
            return "assistant", text


def _tell_kind(line: Line) -> str:
    """What a message that is not text is, with what its description adds (a caption, a reaction's emoji)."""
    note = f"[{NOTES[line.type]}]"
    return f"{note} {line.text.strip().removeprefix(note).strip()}".rstrip()


def _keep_newest(lines: list[tuple[str, str]], budget: int) -> list[tuple[str, str]]:
    """The newest lines that fit into `budget` characters. The very newest is always kept, cut where it must be."""
    kept: list[tuple[str, str]] = []
    for role, text in reversed(lines):
        if kept and len(text) > budget:
            break
        kept.append((role, text[:budget]))
        budget -= len(kept[-1][1])
    return kept[::-1]


def _tell_beginning(brief: TurnBrief, kept: list[tuple[str, str]], *, cut: bool) -> list[tuple[str, str]]:
    """A note on what comes before the first line. The name is the customer's own text, hence told here as data."""
    notes = []
    if brief.customer_name and brief.customer_name.strip():
        notes.append(f"the customer's profile name: {one_line(brief.customer_name, 60)}")
    if cut:
        notes.append(_LEFT_OUT)
    elif kept and kept[0][0] == "assistant":
        notes.append(_WROTE_FIRST)
    return [("user", f"[{'; '.join(notes)}]")] if notes else []
