"""Ports: checked before anything starts, chosen where the setting is 0."""

from __future__ import annotations

import errno
import socket

from boton.cli.obstacles import Obstacle
from boton.metrics_text import pick_loopback_port

LOOPBACK = "127.0.0.1"


def settle_ports(wanted: dict[str, tuple[str, int]]) -> dict[str, int]:
    """A usable port for each variable, given as `{variable: (host, port)}`; port 0 becomes a free one.

    Raises Obstacle that names the port and the variable to change.
    """
    taken: dict[int, str] = {}
    for variable, (host, port) in wanted.items():
        if port and port in taken:
            raise Obstacle(f"{taken[port]} and {variable} are both {port}: set one of them to another port.")
        if port:
            check_free(variable, host, port)
            taken[port] = variable
    return {variable: port or _pick(taken, variable) for variable, (_, port) in wanted.items()}


def check_free(variable: str, host: str, port: int) -> None:
    """Raises Obstacle unless somebody could listen there now."""
    host_variable = variable.replace("_PORT", "_HOST")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # What was closed a moment ago may be bound again, what is listened on may not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        raise Obstacle(f"{host_variable} names no address of this machine: {host}") from None
    except OSError as error:
        raise Obstacle(_why(error, variable, host_variable, host, port)) from None


def _why(error: OSError, variable: str, host_variable: str, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use: stop what listens there, or set {variable} to another port (0: any free one)."
    if error.errno == errno.EACCES:
        return f"Port {port} needs more rights than this user has: set {variable} to a port above 1023."
    return f"{host}:{port} cannot be listened on ({error.strerror}): check {host_variable} and {variable}."


def _pick(taken: dict[int, str], variable: str) -> int:
    while (port := pick_loopback_port()) in taken:
        pass
    taken[port] = variable
    return port


def accepts(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
