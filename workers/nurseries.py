"""The host's side of `workers.nursery`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

from boton.processes import tie_to
from workers.masking import pass_on

ENVIRONMENT = {"NEONIZE_BOT_TAG": "off", "PYTHONFAULTHANDLER": "1"}
"""The WhatsApp library reads it at the process's start only: without this it marks every text as a bot's."""

_ANSWER_SECONDS = 60.0
"""The first answer comes when everything is imported."""

_LONGEST = 64
ALIVE = b"alive"
"""The answer instead of an exit code."""

NO_ROOM = b"no room"
"""The answer instead of a pid."""

_END_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_LOOKS = 50


class NurseryGone(ConnectionError):
    """It has ended, and its links with it."""


class NoRoom(Exception):
    """The machine has no memory, or no process, for one more link. Those that run are well."""


class Nursery:
    """One start of `python -m workers.nursery`."""

    def __init__(self, process: asyncio.subprocess.Process, requests: socket.socket) -> None:
        self._process = process
        self._requests = requests
        self._asking = asyncio.Lock()
        assert process.stderr is not None
        self._passing_on = asyncio.create_task(pass_on(process.stderr))

    @classmethod
    async def start(cls) -> Nursery:
        """Call from the main thread only, as for `tie_to`."""
        ours, its = socket.socketpair()
        ours.setblocking(False)
        with its:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "workers.nursery",
                stdin=its.fileno(),
                stderr=asyncio.subprocess.PIPE,  # and its links'
                env=os.environ | ENVIRONMENT,
                preexec_fn=tie_to(os.getpid()),
            )
        return cls(process, ours)

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def fork(self, connection_id: str) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
        """A new link: its pid, what it says, and how it is told. Raises NurseryGone, NoRoom."""
        ours, its = socket.socketpair()
        try:
            with its:
                pid = await self._ask(connection_id.encode(), its)
            assert pid is not None
            return pid, *await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()  # a link that nobody waits for any more ends by itself
            raise

    async def wait(self, pid: int) -> int:
        """The exit code of a link that has closed its end of the pair; negative for a signal. One that does not end
        soon after that is killed.
        """
        looks = count(1)
        try:
            while (code := await self._ask(b"%d" % pid)) is None:
                if next(looks) == _LOOKS:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(_LOOK_SECONDS)
        except NurseryGone:
            return -signal.SIGKILL
        return code

    async def close(self) -> None:
        """Ends the nursery; a link that is left ends with it."""
        self._requests.close()
        try:
            await asyncio.wait_for(self._process.wait(), _END_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._passing_on

    async def _ask(self, request: bytes, *descriptors: socket.socket) -> int | None:
        """One request at a time. What was asked is answered, also when nobody waits for it any more."""
        async with self._asking:
            answering = asyncio.ensure_future(self._exchange(request, descriptors))
            try:
                return await asyncio.shield(answering)
            finally:
                await asyncio.wait({answering})

    async def _exchange(self, request: bytes, descriptors: Sequence[socket.socket]) -> int | None:
        """A nursery that does not answer is killed."""
        try:
            socket.send_fds(self._requests, [request], [one.fileno() for one in descriptors])
            answer = asyncio.get_running_loop().sock_recv(self._requests, _LONGEST)
            told = await asyncio.wait_for(answer, _ANSWER_SECONDS)
            if told == NO_ROOM:
                raise NoRoom
            return None if told == ALIVE else int(told)
        except (OSError, TimeoutError, ValueError):
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            raise NurseryGone from None
