"""Opting out: which message means it, and what the customer is told. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def is_opt_out(text: str, words: Iterable[str]) -> bool:
    """Whether the whole message is one of the business's opt-out words, however it is written."""
    said = _bare(text)
    return said != "" and any(said in (word, _without_accents(word)) for word in map(_bare, words))


def confirmation(language: str | None, business_name: str) -> str:
    """What the customer is told, in the language of the business (a BCP 47 tag; Spanish unless it is one we have)."""
    primary = (language or "").partition("-")[0].lower()
    told, name = _CONFIRMATIONS.get(primary, _SPANISH), business_name.strip()
    return told[0].format(name=name) if name else told[1]


_SPANISH = (
    "Listo: {name} ya no te enviará mensajes promocionales. Si cambias de idea, escríbenos por aquí y una persona de "
    "{name} los volverá a activar.",
    "Listo: ya no te enviaremos mensajes promocionales. Si cambias de idea, escríbenos por aquí y una persona de "
    "nuestro equipo los volverá a activar.",
)
_ENGLISH = (
    "Done: {name} will not send you promotional messages any more. If you change your mind, write to us here and a "
    "person of {name} will turn them on again.",
    "Done: we will not send you promotional messages any more. If you change your mind, write to us here and a person "
    "of our team will turn them on again.",
)
_PORTUGUESE = (
    "Pronto: {name} não vai mais enviar mensagens promocionais para você. Se mudar de ideia, escreva por aqui e uma "
    "pessoa de {name} vai ativá-las de novo.",
    "Pronto: não vamos mais enviar mensagens promocionais para você. Se mudar de ideia, escreva por aqui e uma pessoa "
    "da nossa equipe vai ativá-las de novo.",
)
_CONFIRMATIONS = {"es": _SPANISH, "en": _ENGLISH, "pt": _PORTUGUESE}
"""Each with the name of the business, and without one."""


_EMOJI_STYLE = "\ufe0f"
"""Follows some signs, to have them shown as emoji."""


def _bare(text: str) -> str:
    """Without case, and without spaces, punctuation, emoji and invisible characters around it; what is nothing else
    stays.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace(_EMOJI_STYLE, "")
    start, end = 0, len(folded)
    while start < end and _is_around(folded[start]):
        start += 1
    while end > start and _is_around(folded[end - 1]):
        end -= 1
    return " ".join((folded[start:end] or folded).split())


def _is_around(character: str) -> bool:
    return unicodedata.category(character)[0] in "PZCS"


def _without_accents(text: str) -> str:
    """As many write it on a phone."""
    parts = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFKC", "".join(char for char in parts if not unicodedata.combining(char)))
