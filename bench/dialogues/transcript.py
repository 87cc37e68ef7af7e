"""What happened in a dialogue, in its order, as it is checked and shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Who(StrEnum):
    BOT = "bot"
    CUSTOMER = "customer"
    HUMAN = "human"
    TOOL = "tool"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """turn: of the customer's, 0 before the first. text: of a tool, its arguments. ok: whether it was carried out."""

    turn: int
    at: datetime
    who: Who
    text: str
    tool: str = ""
    ok: bool = True


@dataclass(slots=True)
class Transcript:
    """`clock` answers the dialogue's present."""

    clock: Callable[[], datetime]
    turn: int = 0
    entries: list[Entry] = field(default_factory=list)

    def add(self, who: Who, text: str, *, tool: str = "", ok: bool = True) -> None:
        self.entries.append(Entry(turn=self.turn, at=self.clock(), who=who, text=text, tool=tool, ok=ok))

    def heard(self) -> list[str]:
        """What the bot wrote since the customer's newest turn began."""
        return [entry.text for entry in self.entries if entry.turn == self.turn and entry.who is Who.BOT]


def to_text(entries: list[Entry]) -> str:
    """For a human to read."""
    return "\n".join(f"  {entry.turn:>2} {entry.at:%d %H:%M} {entry.who:>9}  {_tell(entry)}" for entry in entries)


def _tell(entry: Entry) -> str:
    indented = entry.text.replace("\n", "\n" + " " * 26)
    if entry.who is not Who.TOOL:
        return indented
    return f"{entry.tool} {indented}{'' if entry.ok else '  → not carried out'}"
