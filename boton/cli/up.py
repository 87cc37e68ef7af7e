"""`boton up`: everything on one machine. Loads no library that only its children need."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

from boton.cli.children import Streams, describe_end, is_alive, python_command, signal_group, spawn
from boton.cli.exposition import serve_exposition
from boton.cli.listening import accepts
from boton.cli.locks import lock_data_dir
from boton.cli.logs import LogFile
from boton.cli.obstacles import OBSTACLE_EXIT, Obstacle
from boton.cli.plan import Plan, make_plan
from boton.cli.screen import say, welcome
from boton.cli.supervisor import Supervisor
from boton.cli.upfile import Links, UpFile
from boton.settings import Settings

_TICK = 0.5
"""Seconds between two looks at the link processes."""

_START_TICK = 0.1
_SLOW_START = 30.0
"""Seconds after which the terminal says what does not answer yet."""

_NUMBERS_PATIENCE = 10.0
"""Seconds that a phone number which does not connect may hold up the rest: a banned one must not do so for ever."""

_STOP_ORDER = (("connections", "worker", "api"), ("simulator",), ("temporal",))


def up(settings: Settings) -> None:
    """Blocks until it is asked to stop. Raises Obstacle when something stands in the way."""
    os.umask(0o077)
    lock = lock_data_dir(settings.data_dir)
    try:
        plan = make_plan(settings)
        links, up_file = Links(plan.data_dir), UpFile(plan.data_dir)
        metrics = serve_exposition(lambda: _metrics_targets(plan, links), plan.metrics_port)
        try:
            with Supervisor(say) as supervisor:
                _Run(plan, supervisor, links, up_file).live()
        finally:
            up_file.remove()
            metrics.close()
    finally:
        lock.close()


def _metrics_targets(plan: Plan, links: Links) -> dict[str, int]:
    return {**plan.child_metrics, **{f"link/{connection}": port for connection, port in links.metrics_ports().items()}}


class _Run:
    """One life of `boton up`, from the first process to the last."""

    def __init__(self, plan: Plan, supervisor: Supervisor, links: Links, up_file: UpFile) -> None:
        self._plan = plan
        self._supervisor = supervisor
        self._links = links
        self._up_file = up_file
        self._untold_password: str | None = None

    def live(self) -> None:
        try:
            prepared = self._start()
            if prepared is not None:
                self._stay(prepared)
        finally:
            self._stop()

    def _start(self) -> dict[str, Any] | None:
        """What the preparation answered; None when a stop was asked for meanwhile."""
        say("BOTON is starting…")
        specs = {spec.name: spec for spec in self._plan.processes}
        early = [specs.pop(name) for name in ("temporal", "simulator") if name in specs]
        for spec in early:
            self._supervisor.start(spec)
        prepared = self._prepare()
        if prepared is None:
            return None
        self._untold_password = prepared["admin_password"]
        for spec in specs.values():
            self._supervisor.start(spec)
        return prepared if self._await_ready() else None

    def _prepare(self) -> dict[str, Any] | None:
        log = LogFile(self._plan.data_dir / "logs" / "prepare.log")
        output = log.open()
        try:
            streams = Streams(stdout=subprocess.PIPE, stderr=output)
            process = spawn(python_command("boton.cli.prepare"), self._plan.environment, streams)
        finally:
            os.close(output)
        try:
            answer = self._await_answer(process)
        finally:
            process.kill()
            process.wait()
        if answer is None:
            return None
        if process.returncode == OBSTACLE_EXIT:
            raise Obstacle(log.last_line())
        if process.returncode:
            end = describe_end(process.returncode)
            raise Obstacle(f"The preparation failed ({end}): {log.last_line()} See {log.path}.", exit_code=1)
        found: dict[str, Any] = json.loads(answer)
        return found

    def _await_answer(self, process: subprocess.Popen[bytes]) -> bytes | None:
        while not self._supervisor.stop_asked:
            self._supervisor.watch(0)
            try:
                answer, _ = process.communicate(timeout=_START_TICK)
            except subprocess.TimeoutExpired:
                continue
            return bytes(answer)
        return None

    def _await_ready(self) -> bool:
        """False when a stop was asked for before everything answered."""
        complain_at = time.monotonic() + _SLOW_START
        numbers_until = float("inf")
        while not self._supervisor.stop_asked:
            self._supervisor.watch(_START_TICK)
            missing = self._unready()
            if missing.keys() != {"numbers"}:
                numbers_until = time.monotonic() + _NUMBERS_PATIENCE
            if not missing or time.monotonic() >= numbers_until:
                self._supervisor.settled()
                if missing:
                    say(f"Not everything is connected: {_in_words(missing)}.")
                return True
            if time.monotonic() >= complain_at:
                say(f"Not everything answers yet: {_in_words(missing)}. Logs are in {self._plan.data_dir / 'logs'}.")
                complain_at += 2 * _SLOW_START
                self._supervisor.settled()
        return False

    def _unready(self) -> dict[str, str]:
        """The parts that do not answer yet, with what is known of them; empty when all do."""
        pages = {"simulator": self._plan.simulator, "temporal": self._plan.temporal_ui if self._plan.embedded else None}
        for name, url in pages.items():
            if url is not None and not accepts(*_host_port(url)):
                return {name: ""}
        missing = {spec.name for spec in self._plan.processes} - self._supervisor.pids().keys()
        return dict.fromkeys(sorted(missing), "") or _find_unready(f"{self._plan.api}/health/ready")

    def _stay(self, prepared: dict[str, Any]) -> None:
        document = self._document(prepared)
        self._up_file.write(document)
        say(welcome(document, self._untold_password))
        self._untold_password = None
        while not self._supervisor.stop_asked:
            self._supervisor.watch(_TICK)
            self._up_file.write(self._document(prepared))

    def _document(self, prepared: dict[str, Any]) -> dict[str, Any]:
        plan = self._plan
        return {
            "api": plan.api,
            "dashboard": f"{plan.api}/",
            "temporal": plan.temporal,
            "temporalUi": plan.temporal_ui,
            "simulator": plan.simulator,
            "metrics": f"http://127.0.0.1:{plan.metrics_port}/metrics",
            "business": {
                "id": prepared["business_id"],
                "name": prepared["business_name"],
                "phone": prepared["phone"],
            },
            "token": prepared["token"],
            "pids": {**self._supervisor.pids(), "link": self._links.pids()},
        }

    def _stop(self) -> None:
        if self._supervisor.stop_asked:
            say("BOTON is stopping…")
        if self._untold_password is not None:  # the store keeps its hash alone: now or never
            say(f"Admin password: {self._untold_password} (shown this once)")
        self._up_file.remove()
        left = self._links.pids()
        self._supervisor.stop(*_STOP_ORDER)
        _end_links(left)


def _end_links(pids: list[int]) -> None:
    """Links end with their host; one that hangs is killed after a moment, if it is a link still."""
    deadline = time.monotonic() + 3
    while any(_is_ours(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in filter(_is_ours, pids):
        if not signal_group(pid, signal.SIGKILL):
            os.kill(pid, signal.SIGKILL)


def _is_ours(pid: int) -> bool:
    """Whether the process of that id still is one of BOTON's, not a stranger that was given the id since."""
    try:
        return is_alive(pid) and b"workers" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _in_words(parts: dict[str, str]) -> str:
    return ", ".join(f"{name} ({state})" if state else name for name, state in parts.items())


def _find_unready(url: str) -> dict[str, str]:
    """The parts that are not `ok`, also those that alone do not make the API unready; empty when all are."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return _read_down(response)
    except urllib.error.HTTPError as error:
        with error:
            return _read_down(error) or {"api": ""}
    except (OSError, http.client.HTTPException):
        return {"api": ""}


def _read_down(body: IO[bytes]) -> dict[str, str]:
    try:
        parts: dict[str, str] = json.loads(body.read())["parts"]
        return {name: state for name, state in parts.items() if state != "ok"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"api": ""}


def _host_port(url: str) -> tuple[str, int]:
    host, _, port = url.partition("//")[2].partition("/")[0].rpartition(":")
    return host.strip("[]"), int(port)
