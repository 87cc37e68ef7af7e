"""What the bot says by itself, without the model. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from boton.domain.languages import Language, guess_language

_HAND_OFF = {
    "es": "Te paso con una persona de nuestro equipo, que te responde por aquí.",
    "en": "I am handing you over to a person of our team, who will answer you here.",
    "pt": "Vou passar você para uma pessoa da nossa equipe, que responde por aqui.",
}


def hand_off_notice(customers: Iterable[str], language: str | None) -> str:
    """customers: the customer's texts, newest first: the first that tells English from Spanish decides. language: else
    that of the business (a BCP 47 tag; Spanish unless it is one we have), which also tells Portuguese from Spanish.
    """
    primary = (language or "").partition("-")[0].lower()
    match next(filter(None, map(guess_language, customers)), None):
        case Language.ENGLISH:
            primary = "en"
        case Language.SPANISH if primary == "en":
            primary = "es"
    return _HAND_OFF.get(primary, _HAND_OFF["es"])
