"""Locks on files: held by a process, gone with it, whatever ended it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from boton.cli.obstacles import Obstacle

_POLL_SECONDS = 0.1


class FileLock:
    """An exclusive lock on a file, which names its holder. Lives as long as any process has the descriptor open."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def name_holder(self, pid: int) -> None:
        """Writes who holds the lock into the file, for the line that others will read."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{pid}\n".encode(), 0)

    def close(self) -> None:
        """Gives up this process's share; the lock stays where a child inherited the descriptor."""
        os.close(self.descriptor)


def take_lock(path: Path, wait: float = 0.0) -> FileLock | None:
    """The lock, or None when somebody else held it all the `wait` seconds. Raises OSError for an unusable folder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return FileLock(path, descriptor)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(_POLL_SECONDS)
        except BaseException:
            os.close(descriptor)
            raise


def holder(path: Path) -> str:
    """Who holds the lock, in words."""
    try:
        return f"process {int(path.read_text())}"
    except (OSError, ValueError):
        return "another process"


def lock_data_dir(data_dir: Path) -> FileLock:
    """Makes the folder and takes it for this process. Raises Obstacle when it is unusable or taken."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(data_dir / "boton.lock")
    except OSError as error:
        raise Obstacle(
            f"The folder {data_dir} cannot be written ({error.strerror}): make it writable or set BOTON_DATA_DIR."
        ) from None
    if lock is None:
        raise Obstacle(
            f"Another `boton up` ({holder(data_dir / 'boton.lock')}) runs on the folder {data_dir}: "
            "stop it, or set BOTON_DATA_DIR to another folder."
        )
    lock.name_holder(os.getpid())
    return lock
