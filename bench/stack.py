"""`boton up` of this checkout, in a folder and on ports of its own, for as long as a bench takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.progress import BenchFailed, say, wait_for
from bench.rest import Rest
from bench.store_view import StoreView
from boton.cli.children import python_command
from boton.processes import tie_to

_START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_PORTS = ("API_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SIMULATOR_PORT", "METRICS_PORT")
_NOT_INHERITED = ("BOTON_", "OPENAI_")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="boton-bench-") as folder:
        yield Path(folder)


@contextmanager
def running_stack(data_dir: Path | None = None, **settings: str) -> Iterator[Stack]:
    """Started, and nothing of it left at the end. data_dir: one that exists already. `settings`: without BOTON_."""
    with scratch() as folder:
        stack = Stack(folder, data_dir or folder / "data", settings)
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


def environment(**settings: str) -> dict[str, str]:
    """This process's, without settings of BOTON, then these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    return {**inherited, **{f"BOTON_{name}": value for name, value in settings.items()}}


class Stack:
    def __init__(self, folder: Path, data_dir: Path, settings: dict[str, str]) -> None:
        self._folder = folder
        self.data_dir = data_dir
        self._settings = {**dict.fromkeys(_PORTS, "0"), "DATA_DIR": str(data_dir), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when everything answers. Call from the main thread: Linux ends the child with its thread."""
        say("a stack is starting")
        with self._terminal.open("wb") as terminal:
            self._process = subprocess.Popen(
                python_command("boton.cli.main", "up"),
                env=environment(**self._settings),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=terminal,
                process_group=0,
                preexec_fn=tie_to(os.getpid()),
            )
        wait_for(self._is_up, _START_SECONDS, "the stack to start", every=0.1)

    def stop(self) -> None:
        """As an operator does it; what does not end is killed, and its children with it."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise BenchFailed(f"boton up ended with {self._process.returncode}: {self._terminal_end()}")
        return (self.data_dir / "up.json").exists()

    @property
    def _terminal(self) -> Path:
        return self._folder / "terminal.log"

    def _terminal_end(self) -> str:
        return self._terminal.read_text(encoding="utf-8", errors="replace")[-500:]

    # ------------------------------------------------------------ what it tells

    @property
    def up(self) -> dict[str, Any]:
        """up.json as it stands now."""
        document: dict[str, Any] = json.loads((self.data_dir / "up.json").read_text(encoding="utf-8"))
        return document

    @property
    def temporal(self) -> str:
        """host:port of the server."""
        return str(self.up["temporal"])

    @property
    def simulator_url(self) -> str:
        return str(self.up["simulator"])

    @property
    def phone(self) -> str:
        """The business's number."""
        return str(self.up["business"]["phone"])

    def pids(self, *names: str) -> list[int]:
        """Of these processes, by their names in up.json."""
        found = self.up["pids"]
        return [pid for name in names for pid in (found[name] if isinstance(found[name], list) else [found[name]])]

    def api(self, token: str | None = None) -> Rest:
        """A client of the REST API on a connection of its own; token: another business's."""
        document = self.up
        return Rest(f"{document['api']}/api/v1", token or document["token"])

    def simulator(self) -> Rest:
        return Rest(self.simulator_url)

    def store(self) -> StoreView:
        return StoreView(self.data_dir / "boton.db")
