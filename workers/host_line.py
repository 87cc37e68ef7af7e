"""The line between a link process and its host: JSON lines go up, pings come down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TextIO


class HostLine:
    """The link's end."""

    def __init__(self, up: TextIO) -> None:
        self._up = up

    @classmethod
    def take_stdout(cls) -> HostLine:
        """Nobody else writes to the line: what is printed from now on (the WhatsApp library prints) goes to stderr."""
        up = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return cls(up)

    def tell(self, line: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError, BlockingIOError):  # the host has gone, or does not listen
            print(json.dumps(line), file=self._up, flush=True)

    async def answer_pings(self) -> None:
        """Until the host closes its end."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while await reader.readline():
            self.tell({"pong": True})
