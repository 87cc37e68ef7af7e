"""What the bot says by itself, without the model. Pure."""

from __future__ import annotations

_HAND_OFF = {
    "es": "Te paso con una persona de nuestro equipo, que te responde por aquí.",
    "en": "I am handing you over to a person of our team, who will answer you here.",
    "pt": "Vou passar você para uma pessoa da nossa equipe, que responde por aqui.",
}


def hand_off_notice(language: str | None) -> str:
    """In the language of the business (a BCP 47 tag; Spanish unless it is one we have)."""
    primary = (language or "").partition("-")[0].lower()
    return _HAND_OFF.get(primary, _HAND_OFF["es"])
