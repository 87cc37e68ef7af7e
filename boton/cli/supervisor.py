"""Starts processes, restarts those that die, stops them in order. Knows nothing of what they are for."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from boton.cli.children import Streams, bury_adopted, describe_end, signal_group, spawn
from boton.cli.locks import FileLock
from boton.cli.logs import LogFile
from boton.cli.obstacles import OBSTACLE_EXIT, Obstacle

_ERRORS_EVERY = 5.0
_STRAY_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """A process to keep alive. `lock`, given seconds to wait, takes the lock that is to live as long as the process."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path
    lock: Callable[[float], FileLock] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds: before the first restart, at most before a restart, alive to be called healthy, given to stop."""

    first: float = 0.5
    longest: float = 30.0
    healthy: float = 60.0
    grace: float = 10.0
    lock: float = 10.0


class Supervisor:
    """Use as a context manager in the main thread: it takes the signals, and leaving it leaves no process.

    Until `settled` is called a child that ends with exit code 2 raises Obstacle with the line it left.
    """

    def __init__(self, say: Callable[[str], None], patience: Patience | None = None) -> None:
        self._say = say
        self._patience = patience or Patience()
        self._kept: dict[str, _Kept] = {}
        self._starting = True
        self._stopping = False
        self._signals = _Signals()

    def __enter__(self) -> Supervisor:
        self._signals.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._signals.restore()

    @property
    def stop_asked(self) -> bool:
        """SIGINT, SIGTERM or SIGHUP arrived."""
        return self._signals.stops > 0

    def pids(self) -> dict[str, int]:
        """The processes that live now."""
        return {name: kept.process.pid for name, kept in self._kept.items() if kept.process is not None}

    def start(self, spec: ProcessSpec) -> None:
        """Starts a process and keeps it alive from now on. Raises Obstacle when it cannot be started at all."""
        kept = self._kept[spec.name] = _Kept(spec, self._patience)
        try:
            kept.start(self._patience.lock)
        except OSError as error:
            raise Obstacle(f"{spec.name} cannot be started ({error.strerror}): {spec.command[0]}") from None

    def settled(self) -> None:
        """The first start is over: from now on whatever dies is restarted."""
        self._starting = False

    def watch(self, seconds: float) -> None:
        """Waits, at most that long, until a child ends or a signal comes; restarts what is due."""
        self._signals.wait(min([seconds, *(kept.until_restart() for kept in self._kept.values())]))
        for kept in self._kept.values():
            self._look_at(kept)

    def stop(self, *stages: Sequence[str]) -> None:
        """Ends the stages one after the other: SIGTERM, then SIGKILL after the grace; a second Ctrl-C kills at once."""
        self._stopping = True
        already = self._signals.stops
        for stage in stages:
            kept = [self._kept[name] for name in stage if name in self._kept]
            for each in kept:
                each.ask_to_stop()
            deadline = time.monotonic() + self._patience.grace
            while any(each.runs() for each in kept) and time.monotonic() < deadline:
                if self._signals.stops > max(already, 1):
                    return self.kill()
                self._signals.wait(0.1)
            for each in kept:
                each.finish()
        return None

    def kill(self) -> None:
        """SIGKILL to everything that still lives, before any of it is waited for."""
        self._stopping = True
        for kept in self._kept.values():
            kept.strike()
        deadline = time.monotonic() + _STRAY_SECONDS
        for kept in self._kept.values():
            kept.bury(deadline)

    def _look_at(self, kept: _Kept) -> None:
        name = kept.spec.name
        kept.log.rotate()
        if (line := kept.error_to_show()) is not None:
            self._say(f"{name}: {line}")
        returncode = kept.reap()
        if returncode is not None:
            self._tell_end(kept, returncode)
        if kept.is_due():
            try:
                kept.start(0.0)
            except (OSError, Obstacle) as error:
                delay = kept.put_off()
                self._say(f"{name} cannot be restarted ({type(error).__name__}); next try in {delay:g} s")

    def _tell_end(self, kept: _Kept, returncode: int) -> None:
        last = kept.log.last_line()
        if self._starting and returncode == OBSTACLE_EXIT:
            raise Obstacle(last or f"{kept.spec.name} cannot start: see {kept.log.path}")
        delay = kept.put_off()
        why = describe_end(returncode) + (f"; last line: {last}" if last else "")
        self._say(f"{kept.spec.name} died ({why}); restart in {delay:g} s")


class _Kept:
    """One process that is kept alive: its current life, and when the next one begins."""

    def __init__(self, spec: ProcessSpec, patience: Patience) -> None:
        self.spec = spec
        self.log = LogFile(spec.log)
        self.process: subprocess.Popen[bytes] | None = None
        self._patience = patience
        self._delay = patience.first
        self._started = 0.0
        self._restart_at: float | None = None
        self._group: int | None = None
        self._shown = 0.0

    def start(self, lock_wait: float) -> None:
        output = self.log.open()
        lock = None
        try:
            lock = self.spec.lock(lock_wait) if self.spec.lock is not None else None
            inherited = () if lock is None else (lock.descriptor,)
            streams = Streams(stdout=output, stderr=output, inherited=inherited)
            self.process = spawn(self.spec.command, self.spec.environment, streams)
            if lock is not None:
                lock.name_holder(self.process.pid)
        finally:
            os.close(output)
            if lock is not None:
                lock.close()
        self._group = self.process.pid
        self._started = time.monotonic()
        self._restart_at = None

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def reap(self) -> int | None:
        """The exit code of a process that has ended since the last look."""
        if self.process is None or (returncode := self.process.poll()) is None:
            return None
        self.process = None
        return returncode

    def put_off(self) -> float:
        """Sets the next start and answers in how many seconds: doubling, from the start again after good health."""
        if time.monotonic() - self._started >= self._patience.healthy:
            self._delay = self._patience.first
        delay = self._delay
        self._delay = min(delay * 2, self._patience.longest)
        self._restart_at = time.monotonic() + delay
        return delay

    def until_restart(self) -> float:
        return float("inf") if self._restart_at is None else max(0.0, self._restart_at - time.monotonic())

    def is_due(self) -> bool:
        return self.process is None and self._restart_at is not None and self.until_restart() == 0

    def error_to_show(self) -> str | None:
        """The newest ERROR line of its log, at most one every few seconds."""
        if time.monotonic() - self._shown < _ERRORS_EVERY or not (errors := self.log.new_errors()):
            return None
        self._shown = time.monotonic()
        more = f" (and {len(errors) - 1} more in {self.log.path})" if len(errors) > 1 else ""
        return errors[-1] + more

    def ask_to_stop(self) -> None:
        self._restart_at = None
        if self.runs() and self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def finish(self) -> None:
        """Waits a moment for what the process itself had started, then kills the rest."""
        if not self.runs():
            self._await_group(time.monotonic() + _STRAY_SECONDS)
        self.strike()
        self.bury(time.monotonic() + _STRAY_SECONDS)

    def strike(self) -> None:
        self._restart_at = None
        if self._group is not None:
            signal_group(self._group, signal.SIGKILL)

    def bury(self, deadline: float) -> None:
        """Until nothing of it is left; where nobody buries what it had started, until then."""
        if self.process is not None:
            self.process.wait()
            self.process = None
        self._await_group(deadline)
        self._group = None

    def _await_group(self, deadline: float) -> None:
        while self._group is not None and signal_group(self._group, 0) and time.monotonic() < deadline:
            bury_adopted(self._group)
            time.sleep(0.05)


class _Signals:
    """Counts the wishes to stop; SIGCHLD and they wake whoever waits."""

    _STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.stops = 0
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before: dict[signal.Signals, object] = {}

    def install(self) -> None:
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (*self._STOP, signal.SIGCHLD):
            self._before[number] = signal.signal(number, self._on_signal)

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def wait(self, seconds: float) -> None:
        if select.select([self._reader], [], [], max(0.0, seconds))[0]:
            self._reader.recv(4096)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in self._STOP:
            self.stops += 1
