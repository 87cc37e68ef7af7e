"""How many tokens a text costs a model, without its tokenizer; and how much a prompt may hold. Pure.

A guess on the safe side. A token of any byte-level tokenizer covers at least one byte. Letters of English, Spanish and
Portuguese come at three to five bytes a token and are counted at three; digits and signs, which some tokenizers take
one by one, at one each; what is not ASCII (accents, emoji, other scripts) at two bytes a token. Ordinary chat text is
so counted 20 to 60 % too high. Runs of letters that are no words may cost up to twice what is counted: where a server
then says that the prompt is too long, the caller asks again with `shrink_budget`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from math import ceil

DEFAULT_BUDGET = 12_000
"""Tokens of a whole prompt (rules, tools, dialogue): half of a small model's window of today, and cheap to read."""

SMALLEST_BUDGET = 750
"""Below this nothing of a dialogue would be left."""

PER_LINE = 8
"""What a chat template adds to each message."""

_SIGN = re.compile(r"[!-@\[-`{-~]")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")


def estimate_tokens(text: str) -> int:
    """At least what a tokenizer would count of ordinary text, in whole tokens."""
    signs = len(_SIGN.findall(text))
    foreign = "".join(_FOREIGN.findall(text))
    letters = len(text) - signs - len(foreign)
    return ceil(letters / 3 + signs + len(foreign.encode("utf-8", "surrogatepass")) / 2)


def cut_to_tokens(text: str, tokens: int) -> str:
    """The beginning of a text that costs at most so many tokens."""
    if estimate_tokens(text) <= tokens:
        return text
    lengths = range(1, len(text) + 1)
    return text[: bisect_right(lengths, tokens, key=lambda length: estimate_tokens(text[:length]))]


def shrink_budget(budget: int) -> int | None:
    """What to try next when the prompt was too long for the model; None: nothing more can be left out."""
    return budget // 2 if budget // 2 >= SMALLEST_BUDGET else None
