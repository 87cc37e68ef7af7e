"""Work that would keep everyone else waiting goes to a thread; small work is quicker done at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LARGE_BODY = 64 * 1024
"""Bytes: a body of this size takes a few milliseconds to read."""
LARGE_SEND = 200
"""Recipients: checking so many takes 10 ms or so."""


async def run(work: Callable[[], T], *, in_thread: bool) -> T:
    """What `work` answers, computed on a thread when it is large."""
    return await asyncio.to_thread(work) if in_thread else work()
