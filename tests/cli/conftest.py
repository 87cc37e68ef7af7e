"""Real processes: the command line as a user runs it, from an empty folder and with an environment of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("API", "TEMPORAL", "TEMPORAL_UI", "SIMULATOR", "METRICS")
SECONDS = 60.0
"""Far more than anything takes here: the machine may be busy with other tests."""


def wait_until(condition: Callable[[], object]) -> None:
    """Fails when the condition has not come true in time."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def processes_in(folder: Path) -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(folder)]


@dataclass
class Shell:
    """Runs `boton` and small Python programs; every port is a free one unless set."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.home / "data"

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """`boton <arguments>`, to its end."""
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=90)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def start(self, *arguments: str, stdout: int = subprocess.PIPE, **env: str) -> subprocess.Popen[str]:
        return self.python("-m", "boton.cli.main", *arguments, stdout=stdout, **env)

    def python(
        self, *arguments: str, executable: str = sys.executable, stdout: int = subprocess.PIPE, **env: str
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [executable, "-P", *arguments],
            cwd=self.home,
            env={**self.env, **env},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    home = tmp_path / "home"
    home.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("BOTON_", "OPENAI_"))}
    env |= {f"BOTON_{name}_PORT": "0" for name in PORTS} | {"PYTHONPATH": str(ROOT)}
    shell = Shell(home, env)
    yield shell
    for process in shell.started:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
