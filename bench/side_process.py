"""Yardsticks in processes of their own, as what they are compared with is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.progress import BenchFailed
from bench.stack import environment
from boton.processes import tie_to

_ROOT = Path(__file__).parent.parent
"""`bench` is no import root of the installed distribution: it is found where it lies."""


@contextmanager
def serving(module: str, *arguments: str) -> Iterator[int]:
    """The pid of a process that serves for as long as this lasts; it says `ready` when it does."""
    process = _start(module, *arguments)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != b"ready":
            raise BenchFailed(f"{module} did not start: {_end_of(process)}")
        yield process.pid
    finally:
        _end_of(process)


def measure_in_process(module: str, *arguments: str, seconds: float = 300) -> dict[str, Any]:
    """Runs a module to its end; the JSON object that it printed last."""
    process = _start(module, *arguments)
    try:
        out, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"{module} did not end in {seconds:g} s: {_end_of(process)}") from None
    if process.returncode:
        raise BenchFailed(f"{module} failed: {errors.decode(errors='replace')[-800:]}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def _start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        (sys.executable, "-m", module, *arguments),
        env=environment(),
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=tie_to(os.getpid()),
    )


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """Kills it; the end of what it said."""
    process.kill()
    _, errors = process.communicate()
    return errors.decode(errors="replace")[-800:]
