"""The words of a customer's message, as they are compared with words that we know. Pure."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W\d]+")
_REPEATED = re.compile(r"(.)\1+")


def plain_words(text: str) -> tuple[str, ...]:
    """Without case, accents, digits and signs; what is written twice or more in a row ("graciasss") once."""
    parts = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(char for char in parts if not unicodedata.combining(char))
    return tuple(_REPEATED.sub(r"\1", word.strip("_")) for word in _WORD.findall(bare))
