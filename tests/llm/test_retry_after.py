"""Reading Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from boton.llm.retry_after import LONGEST, parse_retry_after

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 1.5 ", 1.5),
        ("Mon, 02 Mar 2026 14:31:00 GMT", 60),
        ("Mon, 02 Mar 2026 11:31:00 -0300", 60),
        ("Mon, 02 Mar 2026 14:31:00 -0000", 60),
        ("Mon, 02 Mar 2026 14:29:00 GMT", 0),
        ("999999999", LONGEST),
        ("Mon, 02 Mar 2099 14:31:00 GMT", LONGEST),
    ],
)
def test_says_how_long_to_wait(value: str, seconds: float) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize("value", [None, "", "soon", "-1", "nan", "inf", "9" * 400, "Mon, 99 Mar 2026 14:31:00 GMT"])
def test_what_nobody_understands_says_nothing(value: str | None) -> None:
    assert parse_retry_after(value, NOW) is None
