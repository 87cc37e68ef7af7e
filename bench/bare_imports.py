"""The yardstick of link.memory: a process that has imported what any link must, and does nothing.

python -m bench.bare_imports
"""

from __future__ import annotations

import signal

import neonize.aioze.client  # noqa: F401
import temporalio.client
import temporalio.worker  # noqa: F401

if __name__ == "__main__":
    print("ready", flush=True)
    signal.pause()
