"""The process from which a host's links come: it has imported what they need, and forks one for each request.

    python -m workers.nursery, with one end of a socket pair as its standard input

So links start sooner, and share the memory of what they have in common: it counts once on a host, not once for each
number. A request with a descriptor is a connection's id: the link gets the descriptor as its standard input and
output; the answer is its pid, or `NO_ROOM`. One without is such a pid: the answer is the exit code, or `ALIVE`. Each is
answered at once, so that no link waits for another.

No thread may live here: a fork does not copy it. The WhatsApp library starts some when it is imported, so each link
imports it for itself.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module

from sqlalchemy.orm import configure_mappers

from boton.processes import tie_to
from workers import link
from workers.nurseries import ALIVE, NO_ROOM

_IMPORTED_LATE = (
    *("boton.whatsapp.device_store", "boton.whatsapp.journal", "boton.whatsapp.simulator", "prometheus_client"),
    *("httpx", "linkpreview", "magic", "phonenumbers", "PIL.Image", "segno", "tqdm", "concurrent.futures.process"),
)
"""By a link; the second line by the WhatsApp library."""

_LONGEST = 1024


def main() -> None:
    """The nursery's entry point; in a fork it goes on as the link's."""
    gc.disable()  # in a fork, too, until everything is imported: a fifth of a start (measured)
    _import_in_advance()
    for number in (signal.SIGINT, signal.SIGTERM):  # whoever ends the host's whole group gives the links time to end
        signal.signal(number, signal.SIG_IGN)
    connection_id = _answer_host(socket.socket(fileno=sys.stdin.fileno()))
    if connection_id is not None:
        link.main(connection_id)


def _import_in_advance() -> None:
    for name in _IMPORTED_LATE:
        with suppress(ImportError):  # a link that needs it will tell
            import_module(name)
    configure_mappers()
    gc.freeze()  # a collection in a link would touch, and so copy, every page


def _answer_host(host: socket.socket) -> str | None:
    """Until the host has gone. In a fork it returns the id of the connection whose link this is now."""
    own_pid = os.getpid()
    while True:
        request, descriptors, _, _ = socket.recv_fds(host, _LONGEST, 1)
        if not request:
            return None
        if not descriptors:
            ended, status = os.waitpid(int(request), os.WNOHANG)
            host.send(b"%d" % os.waitstatus_to_exitcode(status) if ended else ALIVE)
            continue
        try:
            pid = os.fork()
        except OSError:  # the links that there are go on
            os.close(descriptors[0])
            host.send(NO_ROOM)
            continue
        if not pid:
            host.detach()
            _become_link(descriptors[0], own_pid)
            return request.decode()
        os.close(descriptors[0])
        host.send(b"%d" % pid)


def _become_link(pipe: int, nursery: int) -> None:
    tie_to(nursery)()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for descriptor in (sys.stdin.fileno(), sys.stdout.fileno()):
        os.dup2(pipe, descriptor)
    os.close(pipe)


if __name__ == "__main__":
    main()
