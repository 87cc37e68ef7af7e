"""The dialogue as a model is told it: (role, text) lines, oldest first, with notes in [square brackets]. Pure.

Only we write in square brackets (see `quoting`): nothing that a customer writes can pass for a note.
"""

from __future__ import annotations

from boton.domain.conversations import EarlierConversation, Line, Occasion, TurnBrief
from boton.domain.messages import MessageType, Sender
from boton.domain.tokens import PER_LINE, cut_to_tokens, estimate_tokens
from boton.llm.quoting import quote, quote_line

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

NEWEST = 200
"""Tokens of the newest message that are told even where the budget has no room left."""

_EARLIER = 5
_SUMMARY = 300
_NAME = 60
_WROTE_FIRST = "the business wrote first"
_LEFT_OUT = "earlier messages are left out"
_ASKS = {
    Occasion.OPENING: "[write the first message of this conversation]",
    Occasion.FOLLOW_UP: "[the customer has not answered: write the follow-up]",
    Occasion.REPLY: "[answer the customer's latest message]",
}

_Told = tuple[str, str]


def tell_dialogue(brief: TurnBrief, budget: int) -> tuple[_Told, ...]:
    """The lines of a prompt: of the history, the newest that fit into `budget` tokens. They begin and end with the
    role `user`: chat templates of many models insist on it.
    """
    earlier = [_tell_earlier(conversation) for conversation in brief.earlier[-_EARLIER:]]
    told = [_tell_line(line) for line in brief.history]
    kept = _keep_newest(told, budget - sum(_cost(line) for line in earlier))
    lines = (*earlier, *_tell_beginning(brief, kept, cut=len(kept) < len(told)), *kept)
    if brief.occasion is not Occasion.REPLY or not kept or kept[-1][0] != "user":
        return (*lines, ("user", _ASKS[brief.occasion]))
    return lines


def _tell_earlier(earlier: EarlierConversation) -> _Told:
    """Its summary came from what the customer wrote, hence it is data."""
    outcome = earlier.outcome or earlier.status
    told = f"an earlier conversation, ended {earlier.ended_at:%Y-%m-%d}: {outcome.value}"
    summary = quote_line(earlier.summary or "", _SUMMARY)
    return "user", f"[{told}; summed up: {summary}]" if summary else f"[{told}]"


def _tell_line(line: Line) -> _Told:
    text = quote(line.text) if line.type is MessageType.TEXT else _tell_kind(line)
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
    return f"{note} {quote(line.text.strip().removeprefix(note).strip())}".rstrip()


def _keep_newest(lines: list[_Told], budget: int) -> list[_Told]:
    """The newest lines that fit into `budget` tokens. The very newest is always kept, cut where it must be."""
    kept: list[_Told] = []
    for role, text in reversed(lines):
        if kept and _cost((role, text)) > budget:
            break
        kept.append((role, text if kept else cut_to_tokens(text, max(budget - PER_LINE, NEWEST))))
        budget -= _cost(kept[-1])
    return kept[::-1]


def _cost(line: _Told) -> int:
    return estimate_tokens(line[1]) + PER_LINE


def _tell_beginning(brief: TurnBrief, kept: list[_Told], *, cut: bool) -> list[_Told]:
    """A note on what comes before the first line. The name is the customer's own text, hence told here as data."""
    notes = []
    if name := quote_line(brief.customer_name or "", _NAME):
        notes.append(f"the customer's profile name: {name}")
    if cut:
        notes.append(_LEFT_OUT)
    elif kept and kept[0][0] == "assistant":
        notes.append(_WROTE_FIRST)
    return [("user", f"[{'; '.join(notes)}]")] if notes else []
