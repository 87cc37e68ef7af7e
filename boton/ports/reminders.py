"""Reminders: accepted, changed, fired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from boton.domain.reminders import NewReminder, Plan, Reminder, ReminderStatus, Timing
from boton.domain.sends import Send
from boton.ports.idempotency import IdempotencyKey
from boton.ports.paging import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedReminder:
    """What is answered, and the new reminder; None when it was answered before."""

    answer: dict[str, Any]
    reminder: Reminder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReminderPatch:
    """What is to be changed: fields of Reminder by their names, when it fires, and what is planned from then on."""

    values: Mapping[str, Any]
    timing: Timing | None = None
    plan: Plan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledReminder:
    """queued_sends: what it has fired and has not left yet."""

    reminder: Reminder
    queued_sends: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """Where a reminder stands: `wait` (until `until`), `held` or `done`. send: what it has just fired."""

    state: str
    until: datetime | None = None
    send: Send | None = None


class ReminderStore(Protocol):
    async def accept_reminder(
        self,
        new: NewReminder,
        to_answer: Callable[[Reminder], dict[str, Any]],
        *,
        idempotency: IdempotencyKey | None = None,
    ) -> AcceptedReminder:
        """Stores the reminder with its firings; on return it is on disk. With a key, the answer is kept with it: one
        that is known gets the first answer again, a concurrent twin waits for it.

        Raises Conflict when the business has no active connection, Invalid when the key came with another body.
        """

    async def find_accepted(self, business_id: str, idempotency: IdempotencyKey) -> dict[str, Any] | None:
        """What was answered to this key before; None when it is new. Raises Invalid when the body was another."""

    async def fetch_reminder(self, business_id: str, reminder_id: str) -> Reminder:
        """Raises NotFound."""

    async def list_reminders(
        self, business_id: str, page: Page, *, status: ReminderStatus | None = None, jid: str | None = None
    ) -> tuple[Sequence[Reminder], int]:
        """Newest first, and how many there are in all."""

    async def note_started(self, reminder_id: str) -> None:
        """Its workflow was started, and rests until it fires next: nothing is due before. Changes nothing if somebody
        has changed or fired it meanwhile.
        """

    async def change_reminder(
        self, business_id: str, reminder_id: str, patch: ReminderPatch, now: datetime
    ) -> Reminder:
        """Raises NotFound, Conflict when it has ended."""

    async def cancel_reminder(self, business_id: str, reminder_id: str, now: datetime) -> CancelledReminder:
        """Nothing of it fires from now on. What has fired and is queued still is the caller's to cancel; cancelling
        twice changes nothing. Raises NotFound, Conflict when it has finished and nothing of it is queued.
        """

    async def advance_reminder(self, reminder_id: str, now: datetime) -> Advanced:
        """Fires what is due, once; of several missed times only the newest. Raises NotFound."""
