"""Counting tokens without a tokenizer."""

from __future__ import annotations

import pytest

from boton.domain.tokens import DEFAULT_BUDGET, SMALLEST_BUDGET, cut_to_tokens, estimate_tokens, shrink_budget

MEASURED = [
    ("Hola, ¿cómo estás?", 8),
    ("Tenemos turno mañana a las 15:30. ¿Te sirve?", 17),
    ("Hello, do you have an appointment tomorrow?", 9),
    ("Olá, vocês têm horário amanhã?", 11),
    ("+54 9 11 3862-0812, el 05/03/2026 a las 15:30", 39),
    ("NECESITO UN TURNO URGENTE", 13),
    ("👍🏽🙏😂❤️🎉 gracias 😊", 30),
    ("你好，请问明天下午有预约吗？", 13),
    ('{"outcome": "achieved", "summary": "Turno el lunes a las 10."}', 23),
    ("", 0),
]
"""With Mistral's tokenizer (tekken 240911)."""


@pytest.mark.parametrize(("text", "tokens"), MEASURED)
def test_ordinary_text_is_counted_a_little_too_high(text: str, tokens: int) -> None:
    assert tokens <= estimate_tokens(text) <= 1.8 * tokens


@pytest.mark.parametrize("text", ["1234567890" * 10, "¿?!.,;:" * 10, "你好" * 50, "🇦🇷" * 20, "\x00\ud83d" * 20])
def test_digits_signs_and_other_scripts_cost_more_than_letters(text: str) -> None:
    assert estimate_tokens(text) > len(text) / 3


def test_more_text_never_costs_less() -> None:
    text = "Hola 👋, son $ 1.500,00 — ¿dale? 你好" * 3
    costs = [estimate_tokens(text[:length]) for length in range(len(text))]
    assert costs == sorted(costs)


@pytest.mark.parametrize("text", ["y" * 100, "Hola 👋 15:30 ¿dale? " * 9, "你好" * 40, "corto"])
@pytest.mark.parametrize("tokens", [0, 1, 7, 20])
def test_cut_keeps_as_much_of_the_beginning_as_fits(text: str, tokens: int) -> None:
    cut = cut_to_tokens(text, tokens)
    assert text.startswith(cut)
    assert estimate_tokens(cut) <= tokens
    assert cut == text or estimate_tokens(text[: len(cut) + 1]) > tokens


def test_budget_shrinks_by_halves_to_an_end() -> None:
    budgets = [DEFAULT_BUDGET]
    while (smaller := shrink_budget(budgets[-1])) is not None:
        budgets.append(smaller)
    assert budgets == [12000, 6000, 3000, 1500]
    assert budgets[-1] >= SMALLEST_BUDGET
