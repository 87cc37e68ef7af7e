"""Customers that nobody has written to yet."""

from __future__ import annotations

from itertools import count

_FIRST = 14155550000
_next = count(_FIRST)


def fresh_numbers(how_many: int) -> list[str]:
    """Phone numbers that this process has not given out before."""
    return [str(next(_next)) for _ in range(how_many)]
