"""The link processes of one host: started, watched, started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from activities.holding import HoldEnded, OwnershipLost
from boton.metrics_text import fetch_exposition
from workers.nurseries import Nursery
from workers.running import ENDED, LOST_OWNERSHIP

log = logging.getLogger(__name__)

PATIENCE = 15
"""A link that leaves so many pings unanswered (one goes out with each check, once a second) is frozen: it is killed
and replaced. Counted, not timed: a host that was stopped itself must not blame its links.
"""

_STARTING_PATIENCE = 60
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
_GROWTH = 1.5
"""A link that keeps dying comes to 30 s in a minute and a half. Twice as long each time, that was after half a minute:
of 60 kills in a minute, drawn among 20 links, one number in every tenth run got there by chance.
"""

_HEALTHY_SECONDS = 10.0
"""A link that has answered for so long and then dies is no crash loop: its own life keeps the starts apart."""

_AT_ONCE = (os.cpu_count() or 1) + 1
"""So many links start at a time: one takes a processor for a second, and more would only make all of them late. Twenty
at once took a minute on a busy machine (measured), and who has not answered in a minute is killed as frozen.
"""

_GRACE_SECONDS = 12.0
_LEFT_SECONDS = 60.0
"""How long a link whose attempt timed out (Temporal was away) waits for the next attempt on this host."""


def next_pause(last: float, lived: float) -> float:
    """Seconds until a link that died is started again. last: the pause before it. lived: how long it answered."""
    return _FIRST_PAUSE if lived >= _HEALTHY_SECONDS else min(last * _GROWTH, _LONGEST_PAUSE)


class LinkProcess:
    """One link, forked by a nursery."""

    def __init__(
        self,
        nursery: Nursery,
        pid: int,
        said: asyncio.StreamReader,
        told: asyncio.StreamWriter,
        ready: Callable[[], None],
    ) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self._nursery = nursery
        self._said = said
        self._told = told
        self._ready = ready
        self._has_spoken = False
        self._answered_at: float | None = None
        self._unanswered = 0
        self.metrics_port: int | None = None
        self.ended: HoldEnded | None = None
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, nursery: Nursery, connection_id: str, ready: Callable[[], None]) -> LinkProcess:
        """`ready` is called when the process has told its metrics port. Raises NurseryGone, NoRoom."""
        return cls(nursery, *await nursery.fork(connection_id), ready)

    @property
    def is_starting(self) -> bool:
        """Whether it has said nothing yet."""
        return self.exit_code is None and not self._has_spoken

    @property
    def lived(self) -> float:
        """Seconds since it first answered: a slow start is no life."""
        return 0.0 if self._answered_at is None else time.monotonic() - self._answered_at

    def is_frozen(self, patience: int) -> bool:
        """Whether it left more than so many pings unanswered; one that just starts may take longer."""
        return self._unanswered > (patience if self._answered_at is not None else max(patience, _STARTING_PATIENCE))

    def ping(self) -> None:
        self._unanswered += 1
        if not self._told.is_closing():
            self._told.write(b"ping\n")

    def kill(self) -> None:
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Closes the line, which ends the link in order; kills it when that takes too long."""
        with contextlib.suppress(OSError):
            self._told.write_eof()
        try:
            await asyncio.wait_for(asyncio.shield(self._listening), _GRACE_SECONDS)
        except TimeoutError:
            self.kill()
            await self._listening

    async def _listen(self) -> None:
        """Until the process has ended."""
        with contextlib.suppress(ConnectionError):
            while not self._said.at_eof():
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    self._hear(json.loads(await self._said.readline()))
        self._told.close()
        self.exit_code = await self._nursery.wait(self.pid)

    def _hear(self, told: dict[str, Any]) -> None:
        self._has_spoken = True
        if "pong" in told:
            self._answered_at, self._unanswered = self._answered_at or time.monotonic(), 0
        if "metricsPort" in told:
            self.metrics_port = told["metricsPort"]
            self._ready()
        if "ended" in told:
            self.ended = HoldEnded(status=told["ended"]["status"], reason=told["ended"]["reason"])


class _Held:
    """A number that this host holds: its link, once it was started, and when the next one is to start."""

    def __init__(self) -> None:
        self.link: LinkProcess | None = None
        self.pause = _FIRST_PAUSE
        self.start_at: float | None = time.monotonic()
        self.leaving: asyncio.TimerHandle | None = None

    @property
    def is_due(self) -> bool:
        return self.start_at is not None and self.start_at <= time.monotonic()

    def goes_before(self, other: _Held) -> bool:
        """One that no attempt holds is not started, and keeps nobody back."""
        if self.start_at is None or other.start_at is None or self.leaving is not None:
            return False
        return self.start_at < other.start_at

    def keep(self) -> None:
        """An attempt holds it: it does not leave."""
        if self.leaving is not None:
            self.leaving.cancel()
            self.leaving = None


class Links:
    """The LinkKeeper port. `changed` is told whenever a link process starts, is ready or ends."""

    def __init__(self, changed: Callable[[dict[str, LinkProcess]], None], patience: int = PATIENCE) -> None:
        self._held: dict[str, _Held] = {}
        self._changed = changed
        self._patience = patience
        self._starting = asyncio.Lock()
        self._nursery: Nursery | None = None
        self._releasing: set[asyncio.Task[None]] = set()

    def running(self) -> dict[str, LinkProcess]:
        links = {key: held.link for key, held in list(self._held.items()) if held.link is not None}
        return {key: link for key, link in links.items() if link.exit_code is None}

    def expositions(self) -> dict[str, str]:
        """The metrics of every link, by connection id."""
        ports = {key: link.metrics_port for key, link in self.running().items() if link.metrics_port}
        texts = {key: fetch_exposition(port) for key, port in ports.items()}
        return {key: text for key, text in texts.items() if text is not None}

    async def adopt_or_start(self, connection_id: str) -> None:
        held = self._held.setdefault(connection_id, _Held())
        held.keep()
        await self._start_if_due(connection_id, held)

    async def check(self, connection_id: str) -> HoldEnded | None:
        """Raises OwnershipLost when another link took the number: Temporal then chooses who goes on."""
        held = self._held.get(connection_id)
        if held is None:
            await self.adopt_or_start(connection_id)
            return None
        held.keep()  # an earlier attempt may have left after this one adopted it
        if held.start_at is not None:
            await self._start_if_due(connection_id, held)
        elif held.link is not None and held.link.exit_code is not None:
            return await self._bury(connection_id, held, held.link)
        elif held.link is not None:
            self._watch(connection_id, held.link)
        return None

    async def release(self, connection_id: str) -> None:
        held = self._held.pop(connection_id, None)
        if held is not None and held.link is not None:
            await held.link.stop()
            self._tell()

    def leave(self, connection_id: str) -> None:
        held = self._held.get(connection_id)
        if held is not None and held.leaving is None:
            loop = asyncio.get_running_loop()
            held.leaving = loop.call_later(_LEFT_SECONDS, self._release_later, connection_id)

    async def close(self) -> None:
        """Ends every link, side by side."""
        releases = [self.release(connection_id) for connection_id in list(self._held)]
        await asyncio.gather(*releases, *self._releasing)
        if self._nursery is not None:
            await self._nursery.close()

    def _release_later(self, connection_id: str) -> None:
        task = asyncio.ensure_future(self.release(connection_id))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    def _watch(self, connection_id: str, link: LinkProcess) -> None:
        link.ping()
        if link.is_frozen(self._patience):
            log.warning("link does not answer and is killed", extra={"connection": connection_id})
            link.kill()

    async def _bury(self, connection_id: str, held: _Held, link: LinkProcess) -> HoldEnded | None:
        """A dead link is started again after a pause that grows while it keeps dying."""
        if link.exit_code == LOST_OWNERSHIP:
            await self.release(connection_id)
            raise OwnershipLost(connection_id)
        if link.ended is not None or link.exit_code == ENDED:  # one that hung after it had said so was killed
            return link.ended or HoldEnded(status="stopped")
        held.pause = next_pause(held.pause, link.lived)
        held.start_at = time.monotonic() + held.pause
        log.warning("link ended", extra={"connection": connection_id, "code": link.exit_code, "again_in": held.pause})
        self._tell()
        return None

    async def _start_if_due(self, connection_id: str, held: _Held) -> None:
        """Where too many start just now, a later check does it."""
        async with self._starting:  # an attempt and its successor may overlap
            if self._held.get(connection_id) is not held or not held.is_due or not self._has_place(held):
                return
            held.link, held.start_at = await self._start(connection_id), None
        if self._held.get(connection_id) is held:
            self._tell()
        else:
            await held.link.stop()  # released meanwhile

    def _has_place(self, held: _Held) -> bool:
        """Who has waited for longer goes first."""
        starting = sum(link.is_starting for link in self.running().values())
        return starting + sum(other.goes_before(held) for other in self._held.values()) < _AT_ONCE

    async def _start(self, connection_id: str) -> LinkProcess:
        """From a nursery that is alive: one that died has taken all its links with it."""
        if self._nursery is None or not self._nursery.is_alive:
            self._nursery = await Nursery.start()
        return await LinkProcess.start(self._nursery, connection_id, self._tell)

    def _tell(self) -> None:
        """Where it cannot be written down (a full disk), the links go on."""
        try:
            self._changed(self.running())
        except OSError as error:
            log.warning("links not told", extra={"reason": type(error).__name__})


def write_links(path: Path, links: dict[str, LinkProcess]) -> None:
    """`{"<connection id>": {"pid", "metricsPort"}}`, for the supervisor of `boton up`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {key: {"pid": link.pid, "metricsPort": link.metrics_port} for key, link in links.items()}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(told))
    fresh.replace(path)
