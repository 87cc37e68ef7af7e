"""The simulator's process: `boton simulator`."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn

import uvicorn

from boton.simulator.app import create_app
from boton.simulator.network import Network
from boton.simulator.records import Records

_KEEP_ALIVE = 120
"""Seconds; longer than the gateway keeps an idle connection, so that it never writes into one that is closing."""


def run(*, port: int, path: Path, metrics_port: int | None = None) -> None:
    """Serves the simulator on 127.0.0.1 until SIGTERM or SIGINT; `path` is its file, made if need be.

    With `metrics_port` the same answers there too, `/metrics` among it. Exits with code 2 and one line when a port
    is in use or the file cannot be used.
    """
    listeners = [_listen(each) for each in (port, metrics_port) if each is not None]
    with closing(_open_records(path)) as records:
        network = Network(records)
        config = uvicorn.Config(
            create_app(network),
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=5,
        )
        _Server(config, network).run(sockets=listeners)


class _Server(uvicorn.Server):
    """Ends quietly on a signal: first whoever waits is let go, then uvicorn drains."""

    def __init__(self, config: uvicorn.Config, network: Network) -> None:
        super().__init__(config)
        self._network = network

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
        self._network.stop()


def _listen(port: int) -> socket.socket:
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it each answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        _give_up(f"Port {port} is in use: stop what uses it, or set BOTON_SIMULATOR_PORT.")
    return listener


def _open_records(path: Path) -> Records:
    try:
        return Records(path)
    except (sqlite3.Error, OSError) as error:
        _give_up(f"The simulator's file {path} cannot be used ({error}): is another simulator running on it?")


def _give_up(line: str) -> NoReturn:
    print(line, file=sys.stderr)
    raise SystemExit(2)
