"""What the offline assistant says, in each of its languages."""

from __future__ import annotations

from dataclasses import dataclass

from boton.domain.businesses import BotPurpose
from boton.domain.languages import Language
from boton.domain.messages import MessageType
from boton.llm.dialogue import NOTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """`greeting` takes `name` (" Juan" or nothing), `read`, the summaries and `hand_off_reason` an excerpt, `seen` a
    kind, the others what they name.
    """

    greeting: str
    from_business: str
    from_nobody: str
    errand: str
    still: str
    welcome: str
    read: str
    seen: str
    unread: str
    by_purpose: dict[BotPurpose, str]
    kinds: dict[MessageType, str]
    ask: str
    follow_up: str
    agreed: str
    declined: str
    handed_off: str
    agreed_summary: str
    declined_summary: str
    hand_off_reason: str
    about_me: str


SPANISH = Phrases(
    greeting="Hola{name}.",
    from_business="Te escribe el asistente de {business}.",
    from_nobody="Te escribe un asistente automático.",
    errand="Tengo este encargo para ti: «{instruction}».",
    still="Seguimos con el encargo: «{instruction}».",
    welcome="¿En qué podemos ayudarte?",
    read="Leí tu mensaje: «{excerpt}».",
    seen="Recibí tu {kind}, que no puedo interpretar: ¿me lo escribes?",
    unread="Aquí estoy para responderte.",
    by_purpose={
        BotPurpose.ATTEND: "Cuéntame qué necesitas: el equipo lo puede leer en este chat.",
        BotPurpose.SCHEDULE: "Para coordinar un turno, dime qué día y a qué hora te queda bien.",
        BotPurpose.SUPPORT: "Para ayudarte con el problema, dime qué pasa, desde cuándo y qué probaste ya.",
        BotPurpose.SELL: "Dime qué producto o servicio te interesa y para cuándo lo quieres comprar.",
    },
    kinds=NOTES,
    ask="¿Qué te parece?",
    follow_up="Te escribo otra vez por lo de antes: «{instruction}». Cuando puedas, dime sí o no.",
    agreed="Anotado, muchas gracias.",
    declined="Entendido: no insisto. Gracias por responder.",
    handed_off="Ya le avisé al equipo: una persona te responderá en este chat.",
    agreed_summary="El cliente aceptó: «{excerpt}».",
    declined_summary="El cliente no aceptó: «{excerpt}».",
    hand_off_reason="El cliente pide hablar con una persona: «{excerpt}».",
    about_me="(Soy un asistente sin conexión: no tengo un modelo de lenguaje configurado.)",
)

ENGLISH = Phrases(
    greeting="Hello{name}.",
    from_business="This is the assistant of {business}.",
    from_nobody="This is an automatic assistant.",
    errand='I was asked to pass this on to you: "{instruction}".',
    still='We are still on this: "{instruction}".',
    welcome="How can we help you?",
    read='I read your message: "{excerpt}".',
    seen="I got your {kind}, which I cannot make out: could you write it to me?",
    unread="I am here to answer you.",
    by_purpose={
        BotPurpose.ATTEND: "Tell me what you need: the team can read it in this chat.",
        BotPurpose.SCHEDULE: "To arrange an appointment, tell me which day and what time suit you.",
        BotPurpose.SUPPORT: "To help with the problem, tell me what happens, since when, and what you have tried.",
        BotPurpose.SELL: "Tell me which product or service interests you and when you would like to buy it.",
    },
    kinds={
        MessageType.AUDIO: "voice note",
        MessageType.IMAGE: "picture",
        MessageType.VIDEO: "video",
        MessageType.DOCUMENT: "document",
        MessageType.STICKER: "sticker",
        MessageType.CONTACT: "contact",
        MessageType.LOCATION: "location",
        MessageType.REACTION: "reaction",
        MessageType.UNKNOWN: "message",
    },
    ask="What do you think?",
    follow_up='I am writing again about this: "{instruction}". When you can, tell me yes or no.',
    agreed="Noted, thank you very much.",
    declined="Understood: I will not insist. Thank you for answering.",
    handed_off="I told the team: a person will answer you in this chat.",
    agreed_summary='The customer agreed: "{excerpt}".',
    declined_summary='The customer did not agree: "{excerpt}".',
    hand_off_reason='The customer asks for a person: "{excerpt}".',
    about_me="(I am an offline assistant: no language model is configured.)",
)

PHRASES = {Language.SPANISH: SPANISH, Language.ENGLISH: ENGLISH}
