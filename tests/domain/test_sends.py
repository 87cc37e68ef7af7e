from __future__ import annotations

import pytest

from boton.domain.sends import fill_in


@pytest.mark.parametrize(
    ("text", "filled", "missing"),
    [
        ("Hola {{name}}", "Hola Juan", ()),
        ("Hola {{ name }}, {{name}}", "Hola Juan, Juan", ()),
        ("{{turn.date}} {{first-name}}", "mañana Juana", ()),
        ("{{inner}}", "{{name}}", ()),
        ("{{nobody}} {{name}} {{nobody}} {{none}}", "{{nobody}} Juan {{nobody}} {{none}}", ("nobody", "none")),
        ("{name} {{}} {{ a b }}", "{name} {{}} {{ a b }}", ()),
        ("", "", ()),
    ],
)
def test_placeholders_are_replaced_once_and_the_missing_are_named(
    text: str, filled: str, missing: tuple[str, ...]
) -> None:
    variables = {"name": "Juan", "turn.date": "mañana", "first-name": "Juana", "inner": "{{name}}"}
    assert fill_in(text, variables) == (filled, missing)
