"""Hosts of connections as they are deployed: `boton connections` and `boton worker`, each a process with its folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from boton.processes import tie_to
from tests.acceptance.ports import free_ports
from tests.acceptance.stack import boton_command

STOP_SECONDS = 40.0


class Process:
    """One `boton …`. It ends with the test's process."""

    def __init__(self, command: str, data_dir: Path, environment: Mapping[str, str]) -> None:
        data_dir.mkdir(exist_ok=True)
        self.data_dir = data_dir
        self.log = data_dir / f"{command}.log"
        own = {"BOTON_DATA_DIR": str(data_dir), "BOTON_METRICS_PORT": str(free_ports(1)[0])}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                boton_command(command),
                cwd=data_dir,
                env={**os.environ, **environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=tie_to(os.getpid()),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """In order, also one that is frozen."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
            self._process.wait(STOP_SECONDS)


class Host(Process):
    """`boton connections`: a machine of its own, as far as it knows."""

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        super().__init__("connections", data_dir, environment)

    def links(self) -> dict[str, int]:
        """The pid of each number's link, as the host tells it."""
        try:
            told = json.loads((self.data_dir / "run" / "links.json").read_text())
        except FileNotFoundError:
            return {}
        return {connection_id: link["pid"] for connection_id, link in told.items()}

    def living_links(self) -> set[int]:
        """Every link process that is there, whatever the host tells."""
        forked = (link for nursery in psutil.Process(self.pid).children() for link in nursery.children())
        return {link.pid for link in forked if is_alive(link.pid)}


def is_alive(pid: int) -> bool:
    """Whether it can still do something."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
