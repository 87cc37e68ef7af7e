"""A real simulator process on a free port, for tests."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.acceptance.ports import free_ports

_PROGRAM = (
    "import sys; from pathlib import Path; from boton.simulator.main import run;"
    "run(port=int(sys.argv[1]), path=Path(sys.argv[2]), metrics_port=int(sys.argv[3]) if sys.argv[3:] else None)"
)
START_SECONDS = 60.0


def free_port() -> int:
    return free_ports(1)[0]


def spawn(port: int, path: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _PROGRAM, str(port), str(path), *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


class SimulatorProcess:
    """Starts on construction, serves when `start` returns; `kill` is kill -9, `stop` a SIGTERM."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.path = folder / "simulator.db"
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self.process = spawn(self.port, self.path)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, "the simulator ended by itself"
            assert time.monotonic() < deadline, "the simulator did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, sign: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sign)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/faults", trust_env=False).is_success
        except httpx.TransportError:
            return False
