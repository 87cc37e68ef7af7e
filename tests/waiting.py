"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
SECONDS = 60.0


async def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Returns as soon as the condition holds; fails when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def eventually(fetch: Callable[[], Awaitable[T]], holds: Callable[[T], object], seconds: float = SECONDS) -> T:
    """What `fetch` answers, as soon as it `holds`; fails with the last answer when it does not in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await fetch()
        if holds(found):
            return found
        assert asyncio.get_running_loop().time() < deadline, f"still {found!r}"
        await asyncio.sleep(0.05)
