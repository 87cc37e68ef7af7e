"""In the processes that `tests.whatsapp.remote.played_links` lets a test start: the library gets a played Go part."""

from __future__ import annotations

import os
import sys

if "PLAYED_WIRE" in os.environ and {"workers.link", "workers.pairing", "workers.unlinking"} & {*sys.orig_argv}:
    import gc
    from collections import defaultdict

    if "workers.link" in sys.orig_argv:
        gc.disable()  # as at the top of that module, most of whose imports come here

    from neonize.aioze import client as library

    from tests.whatsapp.ffi import FakeGo, Wire
    from tests.whatsapp.remote import ADDRESS, FarWire

    played = FakeGo(library.gocode)
    wire = FarWire(int(os.environ[ADDRESS]))
    wires: defaultdict[str, Wire] = defaultdict(lambda: wire)
    played.wires = wires
    library.gocode = played
