"""`boton up` as a child process, with everything that a test may know of it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.acceptance.api import Api
from tests.acceptance.ports import free_ports, is_listening
from tests.acceptance.simulator import Simulator
from tests.acceptance.waiting import wait_for

ADMIN_PASSWORD = "la contraseña de las pruebas"
START_SECONDS = 120.0
STOP_SECONDS = 90.0
_GONE_SECONDS = 20.0
_PORTS = ("API_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SIMULATOR_PORT", "METRICS_PORT")
_MARK = "BOTON_ACCEPTANCE_STACK"


def boton_command(*arguments: str) -> tuple[str, ...]:
    """The `boton` of this virtual environment."""
    return (str(Path(sys.executable).with_name("boton")), *arguments)


class Stack:
    """One data folder with ports of its own; `start` and `stop` as often as one likes. `settings`: without BOTON_."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self._settings = {f"BOTON_{name}": value for name, value in settings.items()}
        self._mark = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------------------ life

    def start(self) -> float:
        """Returns when up.json is there; answers how many seconds that took."""
        began = time.monotonic()
        self.launch()
        wait_for(self._is_up, START_SECONDS, lambda: f"up.json\n{self.logs()}")
        return time.monotonic() - began

    def launch(self) -> None:
        """Starts `boton up` in a session of its own, and does not wait."""
        with (self.folder / "terminal.log").open("ab") as terminal:
            self._process = subprocess.Popen(
                boton_command("up"),
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=terminal,
                start_new_session=True,
            )

    def stop(self) -> int:
        """SIGTERM to `boton up`, as an operator does; answers its exit code. Nothing of it may be left."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        wait_for(lambda: not self.processes(), _GONE_SECONDS, lambda: f"the end of {self.processes()}\n{self.logs()}")
        return code

    def clean_up(self) -> None:
        """For the end of a test, whatever it did: ends what still lives of this stack."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pid in self.processes():
            _signal(pid, signal.SIGKILL)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, f"boton up ended with {self.process.returncode}\n{self.logs()}"
        try:
            return self.living("api") > 0
        except FileNotFoundError:  # none yet; or it was that of a killed one, removed just now
            return False

    def await_link(self) -> None:
        """Until the number is connected: `boton up` waits for that no longer than ten seconds."""
        wait_for(
            lambda: self.living("link") and self.api.get("/status")["connected"],
            START_SECONDS,
            lambda: f"the connection\n{self.logs()}",
        )

    # ------------------------------------------------------------ what it tells

    @property
    def store_url(self) -> str:
        return self._settings.get("BOTON_DATABASE_URL", f"sqlite:///{self.data_dir / 'boton.db'}")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def up_file(self) -> Path:
        return self.data_dir / "up.json"

    def up(self) -> dict[str, Any]:
        """up.json as it stands now."""
        found: dict[str, Any] = json.loads(self.up_file.read_text(encoding="utf-8"))
        return found

    @property
    def api(self) -> Api:
        document = self.up()
        return Api(document["api"], document["token"])

    @property
    def simulator(self) -> Simulator:
        document = self.up()
        return Simulator(document["simulator"], document["business"]["phone"])

    @property
    def terminal(self) -> str:
        return (self.folder / "terminal.log").read_text(encoding="utf-8")

    def logs(self) -> str:
        """The terminal and the ends of all logs, for failures."""
        files = [self.folder / "terminal.log", *sorted((self.data_dir / "logs").glob("*.log"))]
        return "\n".join(f"--- {file.name}\n{_tail(file)}" for file in files if file.exists())

    def environment(self) -> dict[str, str]:
        """This process's environment without settings of BOTON, then the stack's."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("BOTON_", "OPENAI_"))}
        ports = {f"BOTON_{name}": str(port) for name, port in self.ports.items()}
        own = {"BOTON_DATA_DIR": str(self.data_dir), "BOTON_ADMIN_PASSWORD": ADMIN_PASSWORD, _MARK: self._mark}
        return {**inherited, **ports, **own, **self._settings}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `boton` command on the same folder."""
        return subprocess.run(
            boton_command(*arguments),
            env=self.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    # ------------------------------------------------------------ processes

    def pid(self, name: str) -> int:
        """By the names of up.json; `link` is the first link."""
        found = self.up()["pids"].get(name)
        return int(found[0] if isinstance(found, list) else found)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Sends a signal to one process; answers its pid."""
        pid = wait_for(lambda: self.living(name), START_SECONDS, f"a living {name}")
        os.kill(pid, number)
        return pid

    def living(self, name: str) -> int:
        """Its pid, 0 when there is none now."""
        pids = self.up()["pids"].get(name) or 0
        pid = int(pids[0] if isinstance(pids, list) else pids)
        return pid if pid in self.processes() else 0

    def wait_replaced(self, name: str, pid: int, seconds: float = START_SECONDS) -> int:
        """The pid of the process that took the place of that one, once it listens where that one did."""
        port = self.ports.get(f"{name.upper()}_PORT")
        successor = wait_for(
            lambda: (new := self.living(name)) != pid and new, seconds, lambda: f"a new {name}\n{self.logs()}"
        )
        wait_for(lambda: port is None or is_listening(port), seconds, f"{name} to listen again")
        return successor

    def processes(self) -> dict[int, str]:
        """Every process that was started by this stack and lives, by its pid: its command line."""
        mark = f"{_MARK}={self._mark}".encode()
        return {pid: command for pid, command in _commands(mark) if pid != os.getpid()}

    # ------------------------------------------------------------ what it holds

    def held_ports(self) -> list[int]:
        """Ports of this stack on which somebody listens."""
        return [port for port in self.ports.values() if is_listening(port)]

    def held_locks(self) -> list[str]:
        """Lock files of the folder that some process holds."""
        return [path.name for path in self.data_dir.rglob("*.lock") if _is_locked(path)]


def running(stack: Stack) -> Iterator[Stack]:
    """For fixtures: started, with its number connected, and nothing of it left at the end."""
    try:
        stack.start()
        stack.await_link()
        yield stack
    finally:
        stack.clean_up()


def _commands(mark: bytes) -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if mark in (folder / "environ").read_bytes() and "State:\tZ" not in (folder / "status").read_text():
                yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-3000:]
