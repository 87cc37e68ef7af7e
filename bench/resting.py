"""What processes take while they have nothing to do."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from bench.progress import BenchFailed

MB = 1024 * 1024

_QUIET_CPU = 5.0
"""Per cent of a core, over a second: below it a process has nothing to do any more."""

_QUIET_SECONDS = 300


def measure_at_rest(pids: Sequence[int]) -> int:
    """Bytes of memory (PSS, so that what they share counts once) of them all, once they have nothing to do."""
    processes = [psutil.Process(pid) for pid in pids]
    for _ in range(_QUIET_SECONDS):
        busy = [process.cpu_percent(interval=1.0 / len(processes)) for process in processes]
        if sum(busy) / len(busy) < _QUIET_CPU:
            return sum(process.memory_full_info().pss for process in processes)
    raise BenchFailed("the processes never came to rest")
