"""Workflows are started beside the answer, never before it: what was accepted is on disk already."""

from __future__ import annotations

import asyncio
import logging

from boton.domain.sends import AcceptedSend
from boton.ports import WorkflowStarter

log = logging.getLogger(__name__)

_PATIENCE = 1.0
"""Seconds. A dead Temporal makes its client wait much longer; the sweeper starts what was given up here."""


class Launcher:
    """Starts workflows in tasks of its own and keeps them from being collected."""

    def __init__(self, starter: WorkflowStarter) -> None:
        self._starter = starter
        self._tasks: set[asyncio.Task[None]] = set()

    def start_send(self, accepted: AcceptedSend) -> None:
        """Returns at once; a failure is only logged."""
        task = asyncio.create_task(self._start_send(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Waits for what is under way, at most as long as one start may take."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_PATIENCE)

    async def _start_send(self, accepted: AcceptedSend) -> None:
        send = accepted.send
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._starter.start_send(send.id, send.business_id, send.connection_id, fast=accepted.fast)
        except Exception as error:  # noqa: BLE001 - whatever it is, the sweeper tries again
            extra = {"send": send.id, "error": type(error).__name__}
            log.warning("send not started now, the sweeper will", extra=extra)
