"""What a customer reads while no language model is configured."""

from __future__ import annotations

import pytest

from boton.domain.businesses import BotPurpose
from boton.domain.conversations import Line
from boton.domain.messages import MessageType
from boton.llm.languages import Language, choose_language, guess_language
from boton.llm.offline import OfflineAssistant
from tests.llm.briefs import customer, ours, prompt


async def say(*history: Line, **changes: object) -> str:
    return (await OfflineAssistant().answer(prompt(*history, **changes))).text


async def test_opening_follows_the_instruction() -> None:
    text = await say(opening=True, instruction="Ofrece turno para mañana.", customer_name="Juan")
    assert text == (
        "Hola Juan. Te escribe el asistente de Clínica Sol. Tengo este encargo para ti: «Ofrece turno para mañana». "
        "¿Qué te parece? (Soy un asistente sin conexión: no tengo un modelo de lenguaje configurado.)"
    )


async def test_opening_without_name_and_business() -> None:
    text = await say(opening=True, instruction="Ofrece turno", config={"business_name": ""})
    assert text.startswith("Hola. Te escribe un asistente automático. Tengo este encargo")


async def test_opens_in_the_business_language_or_the_instructions() -> None:
    assert "Hello" in await say(opening=True, instruction="Ofrece turno", config={"language": "en"})
    assert "Hello" in await say(opening=True, instruction="Offer an appointment for tomorrow")
    assert "Hola" in await say(opening=True, instruction="Offer an appointment", config={"language": "es-AR"})


async def test_says_plainly_what_it_is() -> None:
    assert "no tengo un modelo de lenguaje" in await say(customer("hola"))
    assert "no language model" in await say(customer("hello, how are you?"))


async def test_answer_quotes_what_the_customer_wrote() -> None:
    assert "«quiero un turno»" in await say(customer("quiero un turno"))
    long = await say(customer("quiero\nun turno " + "por favor " * 100))
    assert "«quiero un turno por favor" in long
    assert "…»" in long
    assert len(long) < 400


async def test_answer_quotes_the_newest_message() -> None:
    text = await say(customer("primero"), ours("¿sí?"), customer("segundo"))
    assert "segundo" in text
    assert "primero" not in text


async def test_answers_differ_by_purpose() -> None:
    texts = {purpose: await say(customer("hola"), config={"bot_purpose": purpose}) for purpose in BotPurpose}
    assert len(set(texts.values())) == len(BotPurpose)
    assert "turno" in texts[BotPurpose.SCHEDULE]
    assert "problema" in texts[BotPurpose.SUPPORT]
    assert "comprar" in texts[BotPurpose.SELL]


async def test_answer_remembers_the_conversations_instruction() -> None:
    assert "«Ofrece turno»" in await say(ours("…"), customer("sí"), instruction="Ofrece turno")


@pytest.mark.parametrize("type", [type for type in MessageType if type is not MessageType.TEXT])
async def test_what_it_cannot_read_it_asks_for(type: MessageType) -> None:
    assert "¿me lo escribes?" in await say(customer("descripción", type))


async def test_voice_note_by_name() -> None:
    assert "Recibí tu nota de voz" in await say(customer("[nota de voz]", MessageType.AUDIO))


async def test_same_turn_same_words() -> None:
    assert await say(customer("hola"), customer_name="Ana") == await say(customer("hola"), customer_name="Ana")


async def test_language_of_an_earlier_message_counts_when_the_newest_does_not_tell() -> None:
    assert "I read your message" in await say(customer("I need an appointment"), ours("Which day?"), customer("ok 15"))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello, do you have an appointment tomorrow?", Language.ENGLISH),
        ("what's the price", Language.ENGLISH),
        ("I’m late", Language.ENGLISH),
        ("hola", Language.SPANISH),
        ("tienen turno mañana?", Language.SPANISH),
        ("Ofrece turno para manana", Language.SPANISH),
        ("¿Cuánto sale?", Language.SPANISH),
        ("ok", None),
        ("👍 15:00", None),
        ("", None),
    ],
)
def test_language_is_guessed_from_small_words(text: str, language: Language | None) -> None:
    assert guess_language(text) is language


@pytest.mark.parametrize(
    ("preferred", "language"),
    [
        (None, Language.SPANISH),
        ("", Language.SPANISH),
        ("en", Language.ENGLISH),
        ("EN-gb", Language.ENGLISH),
        ("inglés", Language.ENGLISH),
        ("pt", Language.SPANISH),
    ],
)
def test_business_language_decides_when_no_text_tells(preferred: str | None, language: Language) -> None:
    assert choose_language(["ok"], preferred) is language


def test_customer_goes_before_the_business_language() -> None:
    assert choose_language(["hola, quiero un turno"], "en") is Language.SPANISH
