"""In the processes that `tests.whatsapp.remote.played_links` lets a test start: the library gets a played Go part."""

from __future__ import annotations

import os
import sys


def play() -> None:
    from collections import defaultdict

    from neonize.aioze import client as library

    from tests.whatsapp.ffi import FakeGo, Wire
    from tests.whatsapp.remote import ADDRESS, FarWire

    played = FakeGo(library.gocode)
    wire = FarWire(int(os.environ[ADDRESS]))
    wires: defaultdict[str, Wire] = defaultdict(lambda: wire)
    played.wires = wires
    library.gocode = played


if "PLAYED_WIRE" in os.environ and {"workers.pairing", "workers.unlinking"} & {*sys.orig_argv}:
    play()
if "PLAYED_WIRE" in os.environ and "workers.nursery" in sys.orig_argv:
    os.register_at_fork(after_in_child=play)
