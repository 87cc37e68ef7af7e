from __future__ import annotations

import pytest

from boton.domain.businesses import DEFAULT_OPT_OUT_WORDS
from boton.domain.optout import confirmation, is_opt_out


@pytest.mark.parametrize(
    "text",
    [
        "STOP",
        "stop",
        " Baja.\n",
        "¡BAJA!",
        "*Unsubscribe*",
        "~baja~",
        "«baja»",
        "\u200bSTOP\u200b",
        "ＳＴＯＰ",
        '"stop"...',
        "STOP 🛑",
        "🙏🏽 baja",
        "Baja ❤\ufe0f",
    ],
)
def test_whole_message_is_an_opt_out_however_it_is_written(text: str) -> None:
    assert is_opt_out(text, DEFAULT_OPT_OUT_WORDS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "!!!",
        "Quiero la baja",
        "no stop",
        "stop stop",
        "bajar",
        "BAJA el precio",
        "bajá",
        "🛑",
        "👍",
        "CANCELAR",
        "Cancelar.",
        "no",
    ],
)
def test_what_customers_write_about_other_things_is_no_opt_out(text: str) -> None:
    assert not is_opt_out(text, DEFAULT_OPT_OUT_WORDS)


def test_words_of_the_business_replace_the_default() -> None:
    words = ("No  más", "¡Cancelar!")
    assert is_opt_out("NO MÁS", words)
    assert is_opt_out("no ma\u0301s.", words)
    assert is_opt_out("cancelar", words)
    assert is_opt_out("no mas", words)
    assert not is_opt_out("STOP", words)
    assert not is_opt_out("STOP", ())


def test_word_of_signs_alone_is_not_what_every_sign_says() -> None:
    assert not is_opt_out("?", ("...", "-"))
    assert not is_opt_out("👍", ("🛑",))


def test_word_may_be_a_sign() -> None:
    assert is_opt_out("🛑", ("🛑",))


def test_accents_that_the_word_has_may_be_left_out_and_none_added() -> None:
    words = ("Cancelar suscripción", "baja")
    assert is_opt_out("cancelar suscripcion", words)
    assert not is_opt_out("cancelár suscripcion", words)
    assert not is_opt_out("bajá", words)


@pytest.mark.parametrize(
    ("language", "start"),
    [
        (None, "Listo"),
        ("es-AR", "Listo"),
        ("en", "Done"),
        ("en-US", "Done"),
        ("pt-BR", "Pronto"),
        ("PT", "Pronto"),
        ("de", "Listo"),
    ],
)
def test_confirmation_is_in_the_language_of_the_business_and_names_it(language: str | None, start: str) -> None:
    told = confirmation(language, "Café {Sol}")
    assert told.startswith(start)
    assert "Café {Sol}" in told


@pytest.mark.parametrize(("language", "undo"), [("es", "escríbenos"), ("en", "write to us"), ("pt", "escreva")])
def test_confirmation_says_how_to_undo_it_also_without_a_name(language: str, undo: str) -> None:
    for name in ("Sol", " "):
        told = confirmation(language, name)
        assert undo in told
        assert "  " not in told
        assert "{" not in told
