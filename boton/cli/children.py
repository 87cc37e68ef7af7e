"""One child process: tied to this one, in a process group of its own, with its output in a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from boton.processes import tie_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Where a child's output goes, and which descriptors it inherits besides."""

    stdout: int | IO[bytes]
    stderr: int | IO[bytes]
    inherited: tuple[int, ...] = ()


def spawn(command: tuple[str, ...], environment: Mapping[str, str], streams: Streams) -> subprocess.Popen[bytes]:
    """Starts a child that dies with this process, however this one ends. Call from the main thread only: Linux
    kills the child when the *thread* that started it ends. Raises OSError.
    """
    return subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=streams.stdout,
        stderr=streams.stderr,
        pass_fds=streams.inherited,
        process_group=0,
        preexec_fn=tie_to(os.getpid()),
    )


def python_command(module: str, *arguments: str) -> tuple[str, ...]:
    """A module of ours as a command. -P: a folder called `api` where the user happens to be is not ours."""
    return (sys.executable, "-P", "-m", module, *arguments)


def describe_end(returncode: int) -> str:
    """`exit code 1` or `signal SIGKILL`."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"


def signal_group(group: int, number: int) -> bool:
    """Signals a process group; False when nobody is in it any more."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def bury_adopted(group: int) -> None:
    """Those of a process group, its first process buried, whose parents have died and left them to this process: it is
    the first one of a container.
    """
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
