"""What the offline assistant understands of a message: a clear yes, a clear no, the wish for a person. Pure."""

from __future__ import annotations

from enum import StrEnum

from boton.domain.words import plain_words


class Intent(StrEnum):
    YES = "yes"
    NO = "no"
    PERSON = "person"


_PERSONS = frozenset(
    plain_words(
        "persona humano humana agente asesor asesora operador operadora representante human agent person representative"
    )
)
_YES = frozenset(
    plain_words("si dale claro ok okay perfecto perfecta acepto confirmo confirmado genial acuerdo yes yep sure agreed")
)
_AROUND_YES = _YES | frozenset(
    plain_words(
        """de me sirve parece bien muy bueno buenisimo quiero por favor gracias muchas lo la el ese esa a las hora turno
        please thank thanks you great good that works for i do accept confirm of course fine"""
    )
)
_NO = frozenset(plain_words("no nope"))
_AROUND_NO = _NO | frozenset(
    plain_words(
        """gracias muchas me interesa puedo quiero por ahora favor muy amable para nada va a poder ir lo la prefiero
        thanks thank you not interested i can't cannot don't want please sorry can t don"""
    )
)
_MOST_WORDS = 8


def read_intent(text: str) -> Intent | None:
    """None for whatever is not clear: a question, a condition, anything with a word that is not known here."""
    words = frozenset(plain_words(text))
    if words & _PERSONS:
        return Intent.PERSON
    if not words or len(words) > _MOST_WORDS or "?" in text:
        return None
    if words & _NO or {"not", "interested"} <= words:
        return Intent.NO if words <= _AROUND_NO else None
    return Intent.YES if words & _YES and words <= _AROUND_YES else None
