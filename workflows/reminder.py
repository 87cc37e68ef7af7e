"""`reminder/{id}`: waits for a reminder's next time, has it fired, and waits again until nothing is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from activities.reminding import AdvanceReminder, ReminderStep
    from boton import names
    from workflows import policies

_STATUS = SearchAttributeKey.for_keyword(names.SEARCH_STATUS)
_SHORTEST_WAIT = timedelta(seconds=1)
"""The store's clock may be behind Temporal's: what is not due yet there must not be asked for in a tight loop."""


@dataclass(frozen=True, slots=True)
class ReminderInput:
    """due_at: when it fires next, as far as is known; None: the store is asked. fired: how often in earlier runs."""

    reminder_id: str
    due_at: datetime | None = None
    fired: int = 0


@workflow.defn(name=names.REMINDER_WORKFLOW)
class ReminderWorkflow:
    """The store says when it fires; this run is the timer. While it waits it costs nothing."""

    @workflow.init
    def __init__(self, reminder: ReminderInput) -> None:
        self._reminder_id = reminder.reminder_id
        self._fired = reminder.fired
        self._looked = False

    @workflow.signal(name=names.LOOK)
    def look(self) -> None:
        self._looked = True

    @workflow.run
    async def run(self, reminder: ReminderInput) -> int:
        """Answers how often it fired."""
        due_at = reminder.due_at
        if due_at is not None and due_at > workflow.now():
            await self._wait(due_at)
        while True:
            step = await self._advance()
            self._fired += step.fired
            if step.until is not None:
                await self._wait(step.until)
            elif not self._looked:
                self._tell(*_ENDS[step.state])
                return self._fired
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(ReminderInput(self._reminder_id, fired=self._fired))

    async def _advance(self) -> ReminderStep:
        self._looked = False
        step: ReminderStep = await workflow.execute_activity(
            "advance_reminder",
            AdvanceReminder(self._reminder_id),
            result_type=ReminderStep,
            start_to_close_timeout=policies.FIRING_TIMEOUT,
            retry_policy=policies.UNTIL_IT_WORKS,
            summary="fires what is due",
        )
        return step

    async def _wait(self, until: datetime) -> None:
        """Until then or until the store changed."""
        self._tell("scheduled", f"Fires at {until:%Y-%m-%d %H:%M:%S} UTC.")
        timeout = max(until - workflow.now(), _SHORTEST_WAIT)
        try:
            await workflow.wait_condition(lambda: self._looked, timeout=timeout, timeout_summary="next firing")
        except TimeoutError:
            return

    def _tell(self, status: str, next_step: str) -> None:
        """What an operator reads in the Temporal UI."""
        workflow.set_current_details(f"**{status}** · fired: {self._fired} · {next_step}")
        if workflow.info().typed_search_attributes.get(_STATUS) != status:
            workflow.upsert_search_attributes([_STATUS.value_set(status)])


_ENDS = {
    "done": ("finished", "Nothing is left to fire."),
    "held": ("held", "Resumed or cancelled by `boton held`; a new run follows."),
}
