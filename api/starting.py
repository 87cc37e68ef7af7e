"""Workflows are started beside the answer, never before it: what was accepted is on disk already."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from boton.domain.reminders import Reminder
from boton.domain.sends import Send
from boton.ports import WorkflowStarter

log = logging.getLogger(__name__)

_PATIENCE = 1.0
"""Seconds. A dead Temporal makes its client wait much longer; the sweeper starts what was given up here."""

_WOKEN_AT_ONCE = 10


class Launcher:
    """Starts workflows in tasks of its own and keeps them from being collected."""

    def __init__(self, starter: WorkflowStarter) -> None:
        self._starter = starter
        self._tasks: set[asyncio.Task[None]] = set()

    def start_send(self, send: Send) -> None:
        """Returns at once; a failure is only logged."""
        self._launch(self._start_send(send, wake=False))

    def wake_sends(self, sends: Sequence[Send]) -> None:
        """Tells their workflows that the store changed, some at a time. Returns at once; a failure is only logged."""
        if sends:
            self._launch(self._wake_sends(sends))

    def start_reminder(self, reminder: Reminder, *, wake: bool = False) -> None:
        """wake: it has changed. Returns at once; a failure is only logged."""
        self._launch(self._start_reminder(reminder, wake=wake))

    async def finish(self) -> None:
        """Waits for what is under way, at most as long as one start may take."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_PATIENCE)

    def _launch(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake_sends(self, sends: Sequence[Send]) -> None:
        """With the first that fails Temporal is away: the sweeper wakes the others."""
        for start in range(0, len(sends), _WOKEN_AT_ONCE):
            some = sends[start : start + _WOKEN_AT_ONCE]
            woken = await asyncio.gather(*(self._start_send(send, wake=True) for send in some))
            if not all(woken):
                return

    async def _start_send(self, send: Send, *, wake: bool) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._starter.start_send(
                    send.id, send.business_id, send.connection_id, lanes=send.lanes, wake=wake
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, the sweeper tries again
            extra = {"send": send.id, "error": type(error).__name__}
            log.warning("send not started now, the sweeper will", extra=extra)
            return False
        return True

    async def _start_reminder(self, reminder: Reminder, *, wake: bool) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._starter.start_reminder(
                    reminder.id, reminder.business_id, due_at=reminder.next_at, wake=wake
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, the sweeper tries again
            extra = {"reminder": reminder.id, "error": type(error).__name__}
            log.warning("reminder not started now, the sweeper will when it is due", extra=extra)
