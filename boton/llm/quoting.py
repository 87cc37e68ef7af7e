"""Text that is not ours, told so that it can be mistaken for nothing else. Pure.

[Square brackets] in a dialogue are our notes alone, and <tags> are what chat templates are made of: several servers
(vLLM, llama.cpp) read them out of a message's text as well. A customer who writes either is told with look-alikes.
"""

from __future__ import annotations

import re
import unicodedata

_BRACKETS = str.maketrans(
    dict.fromkeys("[［【〔〚⟦❲⁅﹝", "(") | dict.fromkeys("]］】〕〛⟧❳⁆﹞", ")") | dict.fromkeys("＜﹤", "<")
)
_TAG = re.compile(r"<(?=[^\s\d])")
_KEPT = frozenset("\n\t\u200d")  # the last one joins emoji


def quote(text: str) -> str:
    """The same text without square brackets, tags and invisible characters."""
    return _TAG.sub("‹", printable(text).translate(_BRACKETS))


def printable(text: str) -> str:
    """Without control and other invisible characters; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(char for char in text if char in _KEPT or unicodedata.category(char) not in {"Cc", "Cf", "Cs"})


def one_line(text: str, limit: int) -> str:
    """Text of a customer's as a short quotation: no line breaks, no control characters, at most `limit` characters."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def quote_line(text: str, limit: int) -> str:
    """`quote` of `one_line`: what may stand inside of a note."""
    return quote(one_line(text, limit))
