"""Counting tokens without a tokenizer."""

from __future__ import annotations

import pytest

from boton.domain.tokens import DEFAULT_BUDGET, SMALLEST_BUDGET, cut_to_tokens, estimate_tokens, shrink_budget

# What OpenAI's o200k and Llama 3's tokenizer count of these at most, as their authors publish it or by whole words.
ORDINARY = [
    ("Hola, ¿cómo estás?", 8),
    ("Tenemos turno mañana a las 15:30. ¿Te sirve?", 16),
    ("Hello, do you have an appointment tomorrow?", 9),
    ("+54 9 11 3862-0812", 12),
    ("👍🏽", 4),
    ("", 0),
]


@pytest.mark.parametrize(("text", "tokens"), ORDINARY)
def test_ordinary_text_is_never_counted_too_low(text: str, tokens: int) -> None:
    assert estimate_tokens(text) >= tokens


def test_ordinary_text_is_not_counted_much_too_high() -> None:
    text = "Buenas tardes, quería saber si tienen turno para la semana que viene con la doctora, por la mañana. " * 50
    words = len(text.split())
    assert words < estimate_tokens(text) < 3 * words


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
    assert budgets == [12000, 6000, 3000, 1500, 750]
    assert budgets[-1] >= SMALLEST_BUDGET
