"""Waiting for a condition, with a deadline; there is no fixed sleep in these tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK_EVERY = 0.1


def wait_for(condition: Callable[[], T], seconds: float, what: str | Callable[[], str]) -> T:
    """The condition's first true value. Fails, saying what was waited for and what it was last, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            missed = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {seconds:g} s in vain for {missed}; at last: {value!r}")
        time.sleep(_LOOK_EVERY)
    return value


def stays(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """For faults that have a length of their own: the condition must hold all the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"no longer: {what}"
        time.sleep(_LOOK_EVERY)
