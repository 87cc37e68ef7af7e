"""The simulated customer: which of their turns comes next. Pure, but for what was played already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.dialogues.scenario import Turn, When


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """texts: of the bot since the customer's turn before. ended: the conversation with an instruction is over."""

    texts: Sequence[str]
    ended: bool


class Script:
    def __init__(self, turns: Sequence[Turn]) -> None:
        self._left = list(turns)

    def take_next(self, heard: Heard) -> Turn | None:
        """The first that was not played yet and whose condition holds; one that is passed over may come later."""
        for turn in self._left:
            if turn.when is None or _holds(turn.when, heard):
                self._left.remove(turn)
                return turn
        return None


def _holds(when: When, heard: Heard) -> bool:
    if when.says is not None and not any(when.says.search(text) for text in heard.texts):
        return False
    if when.silent is not None and when.silent is bool(heard.texts):
        return False
    return when.ended is None or when.ended is heard.ended
