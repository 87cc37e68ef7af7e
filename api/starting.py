"""Workflows are started beside the answer, never before it: what was accepted is on disk already.

Some at a time: all at once would make Temporal too busy to answer any of them in time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from boton.domain.reminders import Reminder
from boton.domain.sends import Send
from boton.ports import ReminderStore, WorkflowStarter

log = logging.getLogger(__name__)

_PATIENCE = 1.0
"""Seconds for one start. A dead Temporal makes its client wait much longer; the sweeper starts what is given up."""

_AT_ONCE = 8
_AWAY_AFTER = 3
"""Starts in a row that fail."""

_WAITING_AT_MOST = 10_000
_WAITING_SECONDS = 30.0
"""What has waited for longer, the sweeper has started by now."""


@dataclass(frozen=True, slots=True)
class _Start:
    """kind, id: for the log. since: the loop's time at which it was asked for."""

    kind: str
    id: str
    since: float
    run: Callable[[], Awaitable[None]]
    then: Callable[[], Awaitable[None]] | None = None


class Launcher:
    """Starts workflows in tasks of its own. What is due goes before what is due later."""

    def __init__(self, starter: WorkflowStarter, reminders: ReminderStore) -> None:
        self._starter = starter
        self._reminders = reminders
        self._due: deque[_Start] = deque()
        self._later: deque[_Start] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0
        self._failed = 0

    def start_send(self, send: Send) -> None:
        """Returns at once; a failure is only logged."""
        self._add(self._due, self._to_start(send, wake=False))

    def wake_sends(self, sends: Sequence[Send]) -> None:
        """Tells their workflows that the store changed; many of them after what is due. Returns at once; a failure is
        only logged.
        """
        queue = self._due if len(sends) == 1 else self._later
        for send in sends:
            self._add(queue, self._to_start(send, wake=True))

    def start_reminder(self, reminder: Reminder, *, wake: bool = False) -> None:
        """wake: it has changed. Returns at once; a failure is only logged."""
        run = partial(
            self._starter.start_reminder, reminder.id, reminder.business_id, due_at=reminder.next_at, wake=wake
        )
        then = None if wake else partial(self._reminders.note_started, reminder.id)
        self._add(self._later, _Start("reminder", reminder.id, _time(), run, then))

    def look_at_chat(self, chat_id: str, business_id: str) -> None:
        """Its workflow looks at the store. Returns at once; a failure is only logged."""
        run = partial(self._starter.look_at_chat, chat_id, business_id)
        self._add(self._due, _Start("chat", chat_id, _time(), run))

    def look_at_connection(self, connection_id: str, business_id: str) -> None:
        """Its workflow looks at the store. Returns at once; a failure is only logged."""
        run = partial(self._starter.look_at_connection, connection_id, business_id)
        self._add(self._due, _Start("connection", connection_id, _time(), run))

    async def finish(self) -> None:
        """Waits for what is under way, at most as long as one start may take; the sweeper does the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_PATIENCE)
        self._drop()

    def _to_start(self, send: Send, *, wake: bool) -> _Start:
        run = partial(
            self._starter.start_send,
            send.id,
            send.business_id,
            send.connection_id,
            lanes=send.lanes,
            category=send.category,
            wake=wake,
        )
        return _Start("send", send.id, _time(), run)

    def _add(self, queue: deque[_Start], start: _Start) -> None:
        """With too much waiting it is the sweeper's."""
        if len(self._due) + len(self._later) >= _WAITING_AT_MOST:
            return
        queue.append(start)
        if self._working < _AT_ONCE:
            self._working += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """One start after the other. When several in a row fail Temporal is away: the sweeper starts the others."""
        try:
            while self._due or self._later:
                start = (self._due or self._later).popleft()
                if _time() - start.since <= _WAITING_SECONDS:
                    self._count(started=await _try(start))
        finally:
            self._working -= 1

    def _count(self, *, started: bool) -> None:
        """One start may fail for a reason of its own."""
        self._failed = 0 if started else self._failed + 1
        if self._failed >= _AWAY_AFTER:
            log.warning("temporal seems away: %d starts are left to the sweeper", len(self._due) + len(self._later))
            self._drop()

    def _drop(self) -> None:
        self._due.clear()
        self._later.clear()


def _time() -> float:
    return asyncio.get_running_loop().time()


async def _try(start: _Start) -> bool:
    """Whether it was started."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await start.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the sweeper tries again
        extra = {start.kind: start.id, "error": type(error).__name__}
        log.warning("%s not started now, the sweeper will", start.kind, extra=extra)
        return False
    await _follow(start)
    return True


async def _follow(start: _Start) -> None:
    try:
        if start.then is not None:
            async with asyncio.timeout(_PATIENCE):
                await start.then()
    except Exception as error:  # noqa: BLE001 - then the sweeper looks at it once more
        extra = {start.kind: start.id, "error": type(error).__name__}
        log.warning("start of a %s not noted", start.kind, extra=extra)
