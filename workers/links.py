"""The link processes of one host: started, watched, started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from activities.holding import HoldEnded
from boton.metrics_text import fetch_exposition
from boton.processes import tie_to
from workers.running import ENDED

log = logging.getLogger(__name__)

_SILENCE_SECONDS = 15.0
"""A link that answers no ping for so long is frozen: it is killed and replaced."""

_START_SECONDS = 60.0
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
_HEALTHY_SECONDS = 60.0
_GRACE_SECONDS = 12.0
_LEFT_SECONDS = 60.0
"""How long a link whose attempt timed out (Temporal was away) waits for the next attempt on this host."""


class LinkProcess:
    """One start of `python -m workers.link`."""

    def __init__(self, process: asyncio.subprocess.Process, ready: Callable[[], None]) -> None:
        self._process = process
        self._ready = ready
        self._heard_at = self._started_at = time.monotonic()
        self._answered = False
        self.metrics_port: int | None = None
        self.ended: HoldEnded | None = None
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, connection_id: str, ready: Callable[[], None]) -> LinkProcess:
        """`ready` is called when the process has told its metrics port."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "workers.link",
            connection_id,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=tie_to(os.getpid()),
        )
        return cls(process, ready)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    @property
    def age(self) -> float:
        return time.monotonic() - self._started_at

    def is_frozen(self) -> bool:
        patience = _SILENCE_SECONDS if self._answered else _START_SECONDS
        return time.monotonic() - self._heard_at > patience

    def ping(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(b"ping\n")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Closes the pipe, which ends the link in order; kills it when that takes too long."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._heard_at = time.monotonic()
            with contextlib.suppress(ValueError, TypeError, KeyError):
                self._hear(json.loads(line))
        await self._process.wait()

    def _hear(self, told: dict[str, Any]) -> None:
        if "pong" in told:
            self._answered = True
        if "metricsPort" in told:
            self.metrics_port = told["metricsPort"]
            self._ready()
        if "ended" in told:
            self.ended = HoldEnded(status=told["ended"]["status"], reason=told["ended"]["reason"])


class _Held:
    """A number that this host holds: its link now, and when the next one may start."""

    def __init__(self, link: LinkProcess) -> None:
        self.link = link
        self.pause = _FIRST_PAUSE
        self.start_at: float | None = None
        self.leaving: asyncio.TimerHandle | None = None


class Links:
    """The LinkKeeper port. `changed` is told whenever a link process starts, is ready or ends."""

    def __init__(self, changed: Callable[[dict[str, LinkProcess]], None]) -> None:
        self._held: dict[str, _Held] = {}
        self._changed = changed
        self._releasing: set[asyncio.Task[None]] = set()

    def running(self) -> dict[str, LinkProcess]:
        return {key: held.link for key, held in self._held.items() if held.link.exit_code is None}

    def expositions(self) -> dict[str, str]:
        """The metrics of every link, by connection id."""
        ports = {key: link.metrics_port for key, link in self.running().items() if link.metrics_port}
        texts = {key: fetch_exposition(port) for key, port in ports.items()}
        return {key: text for key, text in texts.items() if text is not None}

    async def adopt_or_start(self, connection_id: str) -> None:
        held = self._held.get(connection_id)
        if held is not None:
            if held.leaving is not None:
                held.leaving.cancel()
                held.leaving = None
            return
        self._held[connection_id] = _Held(await LinkProcess.start(connection_id, self._tell))
        self._tell()

    async def check(self, connection_id: str) -> HoldEnded | None:
        held = self._held.get(connection_id)
        if held is None:
            await self.adopt_or_start(connection_id)
            return None
        if held.link.exit_code is not None:
            return await self._replace(connection_id, held)
        held.link.ping()
        if held.link.is_frozen():
            log.warning("link does not answer and is killed", extra={"connection": connection_id})
            held.link.kill()
        return None

    async def release(self, connection_id: str) -> None:
        held = self._held.pop(connection_id, None)
        if held is not None:
            await held.link.stop()
            self._tell()

    def leave(self, connection_id: str) -> None:
        held = self._held.get(connection_id)
        if held is not None and held.leaving is None:
            loop = asyncio.get_running_loop()
            held.leaving = loop.call_later(_LEFT_SECONDS, self._release_later, connection_id)

    async def close(self) -> None:
        """Ends every link, side by side."""
        await asyncio.gather(*(self.release(connection_id) for connection_id in list(self._held)))

    def _release_later(self, connection_id: str) -> None:
        task = asyncio.ensure_future(self.release(connection_id))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _replace(self, connection_id: str, held: _Held) -> HoldEnded | None:
        """A dead link is started again after a pause that doubles while it keeps dying."""
        if held.link.exit_code == ENDED:
            return held.link.ended or HoldEnded(status="stopped")
        now = time.monotonic()
        if held.start_at is None:
            held.pause = _FIRST_PAUSE if held.link.age > _HEALTHY_SECONDS else min(held.pause * 2, _LONGEST_PAUSE)
            held.start_at = now + held.pause
            extra = {"connection": connection_id, "code": held.link.exit_code, "again_in": held.pause}
            log.warning("link ended", extra=extra)
            self._tell()
        elif now >= held.start_at:
            held.link, held.start_at = await LinkProcess.start(connection_id, self._tell), None
            self._tell()
        return None

    def _tell(self) -> None:
        self._changed(self.running())


def write_links(path: Path, links: dict[str, LinkProcess]) -> None:
    """`{"<connection id>": {"pid", "metricsPort"}}`, for the supervisor of `boton up`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {key: {"pid": link.pid, "metricsPort": link.metrics_port} for key, link in links.items()}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(told))
    fresh.replace(path)
