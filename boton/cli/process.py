"""One process of BOTON: `python -m boton.cli.process api|worker|connections|simulator`, without typer's weight.

`check` is the short-lived one that tells whether the store fits, so that the long-lived ones never load Alembic.
"""

from __future__ import annotations

import os
import sys

from boton.cli.obstacles import obstacles_told
from boton.leaving import leave
from boton.settings import read_settings


def main() -> None:
    os.umask(0o077)
    with obstacles_told():
        run(sys.argv[1])
    leave(0)


def run(name: str) -> None:
    """Blocks until the process is asked to stop."""
    settings = read_settings()
    if name != "check":
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    match name:
        case "api":
            from api.main import run as run_api

            run_api(settings)
        case "worker":
            from workers.main import run as run_worker

            run_worker(settings)
        case "connections":
            from workers.connections import run as run_connections

            run_connections(settings)
        case "simulator":
            from boton.simulator.main import run as run_simulator

            path = settings.data_dir / "simulator.db"
            run_simulator(port=settings.simulator_port, path=path, metrics_port=settings.metrics_port or None)
        case "check":
            from boton.store.migrate import check

            check(settings.store_url)
        case _:
            raise SystemExit(f"There is no process {name!r}.")


if __name__ == "__main__":
    main()
