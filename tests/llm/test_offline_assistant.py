"""What a customer reads while no language model is configured."""

from __future__ import annotations

import json

import pytest

from boton.domain.businesses import BotPurpose
from boton.domain.conversations import Line, Occasion
from boton.domain.languages import Language, choose_language, guess_language
from boton.domain.messages import MessageType
from boton.domain.tools import Round, ToolAnswer
from boton.llm.intents import Intent, read_intent
from boton.llm.offline import OfflineAssistant
from boton.llm.own_tools import OWN_TOOLS
from boton.llm.prompts import build_prompt
from boton.llm.purposes import FINISH, HAND_OFF
from boton.llm.tools import ToolRegistry
from boton.ports import ModelAnswer
from tests.llm.briefs import brief, customer, ours, prompt

REGISTRY = ToolRegistry(OWN_TOOLS)


async def say(*history: Line, **changes: object) -> str:
    return (await OfflineAssistant().answer(prompt(*history, **changes))).text


async def ask(*history: Line, rounds: tuple[Round, ...] = (), **changes: object) -> ModelAnswer:
    """With our tools offered."""
    turn = brief(*history, rounds=rounds, **changes)
    return await OfflineAssistant().answer(build_prompt(turn, registry=REGISTRY))


async def act(text: str, **changes: object) -> tuple[dict[str, object], str]:
    """What it calls upon this message, and what the customer then reads."""
    (call,) = (await ask(customer(text), **changes)).calls
    outcome = await REGISTRY.run(call, brief(customer(text), **changes))
    assert outcome.ok, outcome.text
    done = Round(text="", answers=(ToolAnswer(call=call, text=outcome.text, ok=outcome.ok),))
    last = await ask(customer(text), rounds=(done,), **changes)
    assert last.calls == ()
    return {"tool": call.name, **json.loads(call.arguments)}, last.text


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


async def test_clear_yes_finishes_the_conversation_as_achieved() -> None:
    called, text = await act("Sí, dale!", instruction="Ofrece turno")
    assert called == {"tool": FINISH, "outcome": "achieved", "summary": "El cliente aceptó: «Sí, dale!»."}
    assert text.startswith("Anotado, muchas gracias.")
    assert "no tengo un modelo de lenguaje" in text


async def test_clear_no_finishes_it_as_declined() -> None:
    called, text = await act("No, thank you. Not interested", instruction="Offer an appointment")
    assert called["outcome"] == "declined"
    assert called["summary"] == 'The customer did not agree: "No, thank you. Not interested".'
    assert text.startswith("Understood: I will not insist.")
    assert "no language model" in text


async def test_who_asks_for_a_person_is_handed_over() -> None:
    called, text = await act("quiero hablar con una persona")
    assert called == {
        "tool": HAND_OFF,
        "reason": "El cliente pide hablar con una persona: «quiero hablar con una persona».",
    }
    assert "una persona te responderá" in text
    assert "no tengo un modelo de lenguaje" in text


async def test_yes_without_an_instruction_finishes_nothing() -> None:
    answer = await ask(customer("sí"))
    assert answer.calls == ()
    assert "«sí»" in answer.text


@pytest.mark.parametrize("occasion", [Occasion.OPENING, Occasion.FOLLOW_UP])
async def test_old_yes_finishes_nothing_when_the_bot_writes_first(occasion: Occasion) -> None:
    answer = await ask(customer("sí"), ours("…"), occasion=occasion, instruction="Ofrece turno")
    assert answer.calls == ()
    assert "Ofrece turno" in answer.text


async def test_call_that_failed_is_answered_as_if_there_had_been_none() -> None:
    (call,) = (await ask(customer("sí"), instruction="Ofrece turno")).calls
    failed = Round(text="", answers=(ToolAnswer(call=call, text="no", ok=False),))
    answer = await ask(customer("sí"), rounds=(failed,), instruction="Ofrece turno")
    assert (answer.calls, "«sí»" in answer.text) == ((), True)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("si", Intent.YES),
        ("SÍ!!! 👍", Intent.YES),
        ("ok perfecto gracias", Intent.YES),
        ("yes please", Intent.YES),
        ("no", Intent.NO),
        ("No, gracias", Intent.NO),
        ("no me interesa", Intent.NO),
        ("not interested, sorry", Intent.NO),
        ("quiero un humano", Intent.PERSON),
        ("Can I talk to a human?", Intent.PERSON),
        ("agent", Intent.PERSON),
        ("sí, pero ¿a qué hora?", None),
        ("¿sí?", None),
        ("no sé", None),
        ("no entiendo", None),
        ("sí o no", None),
        ("si me das un descuento", None),
        ("quiero un turno", None),
        ("gracias", None),
        ("👍", None),
        ("", None),
    ],
)
def test_only_what_is_clear_is_understood(text: str, intent: Intent | None) -> None:
    assert read_intent(text) is intent


async def test_follow_up_reminds_of_the_errand_in_other_words() -> None:
    opening = await say(opening=True, instruction="Ofrece turno")
    text = await say(ours(opening), occasion=Occasion.FOLLOW_UP, instruction="Ofrece turno")
    assert "Te escribo otra vez por lo de antes: «Ofrece turno»" in text
    assert "no tengo un modelo de lenguaje" in text
    assert text not in opening


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
