"""What a process with the WhatsApp library in it prints: the library's own words hold phone numbers."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import suppress

_NUMBER = re.compile(rb"(?<![0-9A-Za-z])[0-9]{8,}")


async def pass_on(printed: asyncio.StreamReader) -> None:
    """To this process's stderr, line by line and without numbers, until nobody prints any more. Whatever a panic of the
    library says comes through: it is read here, not in the process that dies.
    """
    while True:
        try:
            line = await printed.readline()
        except ValueError:
            continue  # longer than anybody reads
        if not line:
            return
        with suppress(OSError):  # a full disk: who prints must not wait for it
            sys.stderr.buffer.write(_NUMBER.sub("…".encode(), line))
            sys.stderr.buffer.flush()
