"""Names for machines and their files that a copy does not take along."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def identify(file: int | Path) -> str:
    """What no other file or folder has as long as this one is there: the machine's present start, the device, the
    inode. file: a path, or an open one's descriptor.
    """
    found = os.stat(file)
    return f"{read_start() or secrets.token_hex(16)}/{found.st_dev}/{found.st_ino}"


def read_start() -> str:
    """Another after each start, and on each machine. Empty where the system does not tell: then nothing is the same
    twice.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
