"""Which of two languages a text looks like. Pure; a guess from small words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum


class Language(StrEnum):
    SPANISH = "es"
    ENGLISH = "en"


_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENGLISH = _words(
    """a an and any appointment are at book can could do does for good have hello help hey hi how i i'd i'm i've is it
    like my need of offer on please price problem thank thanks that the there this to today tomorrow want what when
    where which who will with would yes you your"""
)
_SPANISH = _words(
    """al buenas buenos cita como con cuando cuanto de del desde día donde el ella en es esta este estoy gracias hay
    hola la las lo los mañana manana me mi necesito noches ofrece para pero por porque precio problema puedo que
    quería quiero quisiera se si sí tardes te tengo tiene tienen turno tu un una y yo"""
)
_SPANISH_SIGNS = frozenset("ñ¿¡áéíóú")


def guess_language(text: str) -> Language | None:
    """None when nothing in the text tells."""
    words = _WORD.findall(text.lower().replace("’", "'"))
    english = sum(word in _ENGLISH for word in words)
    spanish = sum(word in _SPANISH or not _SPANISH_SIGNS.isdisjoint(word) for word in words)
    spanish += "¿" in text or "¡" in text
    if english == spanish:
        return None
    return Language.ENGLISH if english > spanish else Language.SPANISH


def choose_language(texts: Iterable[str], preferred: str | None) -> Language:
    """The language of the first text that tells, else the preferred one (`en`, `en-GB`…), else Spanish."""
    for text in texts:
        if guess := guess_language(text):
            return guess
    if (preferred or "").lower().startswith((Language.ENGLISH.value, "ingl")):
        return Language.ENGLISH
    return Language.SPANISH
