"""What a human reads meanwhile: stderr, so that stdout holds nothing but figures. And waiting, which may fail."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class BenchFailed(Exception):
    """A bench could not be run; says why."""


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def wait_for(condition: Callable[[], T], seconds: float, what: str, *, every: float = 0.02) -> T:
    """The condition's first true value. Raises BenchFailed after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise BenchFailed(f"waited {seconds:g} s in vain for {what}")
        time.sleep(every)
    return value
