"""Free ports on loopback, and whether somebody listens on one."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

LOOPBACK = "127.0.0.1"
_BELOW_OUTGOING = range(10_000, 15_000)
"""The system gives outgoing connections and port 0 higher ones, and `boton up` its children: these stay free."""

_RESERVED = Path(tempfile.gettempdir()) / "boton-test-ports"
_locks: list[int] = []
"""Held until this process ends: other test runs on this machine pick their ports from the same range."""


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens, all different, and which no other test run is given."""
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(_BELOW_OUTGOING)
        if port not in found and _reserve(port) and _is_free(port):
            found.add(port)
    return list(found)


def _reserve(port: int) -> bool:
    _RESERVED.mkdir(exist_ok=True)
    lock = os.open(_RESERVED / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    _locks.append(lock)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
