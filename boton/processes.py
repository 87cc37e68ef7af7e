"""Child processes that end with their parent, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def tie_to(parent: int) -> Callable[[], None]:
    """For `preexec_fn`: runs in the child between fork and exec, so everything it needs is looked up before.

    Start such a child from the main thread only: Linux kills it when the *thread* that started it ends.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

    def tie() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl was in force
            os._exit(1)

    return tie
