"""Free ports on loopback, and whether somebody listens on one."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
_BELOW_OUTGOING = range(10_000, 15_000)
"""The system gives outgoing connections and port 0 higher ones, and `boton up` its children: these stay free."""


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now, all different."""
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(_BELOW_OUTGOING)
        if _is_free(port):
            found.add(port)
    return list(found)


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
