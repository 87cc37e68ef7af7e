"""Reminders: fires what is due. Runs in the workers; the firing itself is the store's one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from temporalio import activity

from boton.domain.sends import Send
from boton.ports import ReminderStore, WorkflowStarter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AdvanceReminder:
    """Input of `advance_reminder`."""

    reminder_id: str


@dataclass(frozen=True, slots=True)
class ReminderStep:
    """Where the reminder stands now. state: `wait` (until `until`), `held` or `done`. fired: how often it just did."""

    state: str
    until: datetime | None = None
    fired: int = 0


class ReminderActivities:
    """`clock` answers the present in UTC."""

    def __init__(self, reminders: ReminderStore, starter: WorkflowStarter, clock: Callable[[], datetime]) -> None:
        self._reminders = reminders
        self._starter = starter
        self._clock = clock

    @activity.defn(name="advance_reminder")
    async def advance_reminder(self, advance: AdvanceReminder) -> ReminderStep:
        """Fires what is due and starts the send that it is. Safe to run twice: each planned time fires once."""
        advanced = await self._reminders.advance_reminder(advance.reminder_id, self._clock())
        if advanced.send is not None:
            await self._start(advanced.send)
        return ReminderStep(state=advanced.state, until=advanced.until, fired=int(advanced.send is not None))

    async def _start(self, send: Send) -> None:
        """The send is on disk: one that cannot be started now is started by the sweeper."""
        try:
            await self._starter.start_send(send.id, send.business_id, send.connection_id, lanes=send.lanes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the sweeper tries again
            extra = {"send": send.id, "error": type(error).__name__}
            log.warning("send of a reminder not started now, the sweeper will", extra=extra)
