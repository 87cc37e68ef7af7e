"""Replies in parts, and messages that want no answer."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime

import pytest

from boton.domain.conversations import Line
from boton.domain.messages import MessageType, Sender
from boton.domain.replies import MOST_PARTS, needs_no_answer, split_reply

AT = datetime(2026, 3, 2, tzinfo=UTC)
URL = "https://example.com/turnos?dia=2026-03-05&hora=10:30#confirmar"
SENTENCE = "El tratamiento dura unas cuatro semanas y se hace en el consultorio. "


def customer(text: str, type: MessageType = MessageType.TEXT) -> Line:
    return Line(sender=Sender.CUSTOMER, type=type, text=text, at=AT)


def ours(text: str) -> Line:
    return Line(sender=Sender.BOT, type=MessageType.TEXT, text=text, at=AT)


@pytest.mark.parametrize("text", ["Hola", "  Hola \n", "x" * 700, SENTENCE * 10])
def test_short_text_stays_one(text: str) -> None:
    assert split_reply(text) == (text.strip(),)


@pytest.mark.parametrize("text", ["", " \n "])
def test_nothing_is_no_part(text: str) -> None:
    assert split_reply(text) == ()


def test_long_text_is_cut_between_paragraphs() -> None:
    paragraphs = [f"{number}: {(SENTENCE * 6).strip()}" for number in range(3)]
    assert split_reply("\n\n".join(paragraphs)) == tuple(paragraphs)


def test_long_paragraph_is_cut_between_sentences() -> None:
    parts = split_reply(SENTENCE * 24)
    assert all(part.endswith(".") and 350 <= len(part) <= 640 for part in parts)
    assert 3 <= len(parts) <= MOST_PARTS


def test_very_long_text_has_four_longer_parts() -> None:
    parts = split_reply(SENTENCE * 200)
    assert len(parts) == MOST_PARTS
    assert max(map(len, parts)) < 1.2 * min(map(len, parts))


def test_titles_and_list_numbers_end_no_sentence() -> None:
    parts = split_reply("Le atiende la Dr. Gómez a las 10 a.m. en punto y después de eso vemos, 1. piel 2. uñas, " * 20)
    for part in parts:
        assert not part.endswith(("Dr.", "1.", "2."))


@pytest.mark.parametrize("whole", [URL, "+54 9 11 3862 0812", "$ 1 500 000", "palabralarguísima" * 3])
@pytest.mark.parametrize("filler", [0, 3, 17, 40])
def test_nothing_is_cut_within_a_word_an_address_or_a_number(whole: str, filler: int) -> None:
    text = "y " * filler + f"sin punto ni coma {whole} así " * 60
    assert sum(part.count(whole) for part in split_reply(text)) == text.count(whole)


def test_one_endless_word_stays_one() -> None:
    assert split_reply("x" * 5000) == ("x" * 5000,)


def test_only_white_space_is_lost() -> None:
    rng = random.Random(7)
    for _ in range(300):
        pieces = rng.choices(["hola", "sí.", "¿y? ", "\n", "\n\n", " ", "12 345", "«fin.» ", URL, "…", "👍🏽"], k=400)
        text = "".join(pieces)
        parts = split_reply(text)
        assert len(parts) <= MOST_PARTS
        assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)
        assert all(part == part.strip() != "" for part in parts)


@pytest.mark.parametrize(
    "text",
    [
        "ok", "OK!!", "okkk", "dale", "Dale, gracias 😊", "¡Gracias!", "graciassss", "muchas gracias", "👍", "👍🏽🙏",
        "❤️", "thanks", "Thank you so much!", "perfecto", "Perfecto, nos vemos mañana", "listo", "sí", "buenísimo",
        "jajaja", "hasta luego", "got it", "ok, great", "vale", "de nada", "gracias, buenas noches",
        "Igualmente, saludos", "...", "obrigado",
    ],
)  # fmt: skip
def test_bare_acknowledgement_needs_no_answer(text: str) -> None:
    assert needs_no_answer([ours("Turno confirmado."), customer(text)])


@pytest.mark.parametrize(
    "text",
    [
        "ok?", "¿dale?", "no", "gracias pero no puedo ir", "a las 15", "ok 15", "👎", "❓",
        "perfecto, y el estacionamiento", "cancelar", "thanks, what time is it at?", "quiero otro turno",
        "gracias, necesito factura", "ok ok pero llego tarde", "buenas tardes", "hola",
    ],
)  # fmt: skip
def test_what_says_more_needs_an_answer(text: str) -> None:
    assert not needs_no_answer([ours("Turno confirmado."), customer(text)])


@pytest.mark.parametrize("type", [MessageType.REACTION, MessageType.STICKER])
def test_reaction_needs_no_answer(type: MessageType) -> None:
    assert needs_no_answer([ours("Turno confirmado."), customer("¿?", type)])


@pytest.mark.parametrize("type", [MessageType.AUDIO, MessageType.IMAGE, MessageType.LOCATION, MessageType.UNKNOWN])
def test_what_cannot_be_read_needs_an_answer(type: MessageType) -> None:
    assert not needs_no_answer([customer("ok", type)])


def test_all_of_the_newest_messages_count() -> None:
    assert needs_no_answer([customer("¿a qué hora?"), ours("A las 15."), customer("ok"), customer("gracias")])
    assert not needs_no_answer([ours("A las 15."), customer("¿dónde es?"), customer("gracias")])


def test_without_a_newest_message_nothing_is_acknowledged() -> None:
    assert not needs_no_answer([])
    assert not needs_no_answer([customer("ok"), ours("A las 15.")])
