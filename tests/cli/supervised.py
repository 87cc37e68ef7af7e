"""A little `boton up` for the tests: `python -m tests.cli.supervised FOLDER NAME=COMMAND…`, stopped in that order.

Writes `{"name": pid}` to FOLDER/pids.json whenever it changes. FOLDER/settled: the first start is over already.
ADOPTS: orphans are left to it, as to the first process of a container; whatever is left over is waited for without end.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

from boton.cli import supervisor as supervisors
from boton.cli.embedded import lock_temporal
from boton.cli.obstacles import obstacles_told
from boton.cli.supervisor import Patience, ProcessSpec, Supervisor
from boton.cli.upfile import write_private

_PR_SET_CHILD_SUBREAPER = 36
PATIENCE = Patience(first=0.1, longest=0.4, healthy=60, grace=float(os.environ.get("GRACE", "1")), lock=2.0)


def main(folder: Path, commands: list[str]) -> None:
    if "ADOPTS" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        supervisors._STRAY_SECONDS = float("inf")
    specs = [_spec(folder, *command.split("=", 1)) for command in commands]
    with obstacles_told(), Supervisor(lambda line: print(line, flush=True), PATIENCE) as supervisor:
        for spec in specs:
            supervisor.start(spec)
        told = None
        if (folder / "settled").exists():
            supervisor.settled()
        while not supervisor.stop_asked:
            if supervisor.pids() != told:
                told = supervisor.pids()
                write_private(folder / "pids.json", json.dumps(told))
            supervisor.watch(0.1)
        supervisor.stop(*([spec.name] for spec in specs))


def _spec(folder: Path, name: str, command: str) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        command=("/bin/sh", "-c", command),
        log=folder / "logs" / f"{name}.log",
        lock=(lambda wait: lock_temporal(folder, wait)) if name == "locked" else None,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
