"""uvicorn as this process needs it: one line when the port is taken, exit code 0 after SIGTERM, everything closed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from boton.errors import Conflict

_GRACE = 5
"""Seconds that requests under way are given at the end."""


class ApiServer(uvicorn.Server):
    """Serves until it is asked to stop. The signal is not raised again: what opened the server closes its things."""

    def __init__(self, app: FastAPI, listener: socket.socket, on_stop: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._listener = listener
        self._on_stop = on_stop

    async def serve_until_stopped(self) -> None:
        await self.serve(sockets=[self._listener])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """The second signal does not wait for requests any more."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._on_stop()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Conflict when the address cannot be had."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # The protocol is named because asyncio sets TCP_NODELAY only then; without it an answer may take 40 ms.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        return listener
    except OSError as error:
        detail = f"The API cannot listen on {host}:{port} ({error.strerror}): set BOTON_API_HOST or BOTON_API_PORT."
        raise Conflict(detail) from None
