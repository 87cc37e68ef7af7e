"""What the sweeper looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from boton.domain.messages import Lane
from boton.domain.sends import SendCategory


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Unfinished work whose next step is overdue, to be started or woken. `id` is a send, chat, reminder or
    connection. category: of a send. is_over: a send that ended when its number was gone: its workflow waits for that
    number's link.
    """

    kind: str  # "send" | "chat" | "reminder" | "connection"
    id: str
    business_id: str
    connection_id: str
    lanes: tuple[Lane, ...] = ()
    category: SendCategory = SendCategory.TRANSACTIONAL
    is_over: bool = False


class WorkStore(Protocol):
    async def take_lease(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        """Whether `holder` has the lease until then: it had it, or nobody had it any more."""

    async def settle_left_behind(self, now: datetime) -> None:
        """Of numbers that are gone: holds what was accepted at that moment; what their links have never recorded
        is unconfirmed.
        """

    async def list_overdue(self, now: datetime, grace: timedelta, limit: int) -> Sequence[Overdue]:
        """Unfinished rows whose next step is overdue by more than `grace` (connections: at all), oldest first."""

    async def expire_late(self, overdue: Sequence[Overdue], now: datetime) -> Sequence[Overdue]:
        """Expires what is queued of those sends for which it is too late, by the rule of the claims: while no link
        runs for a number nobody else does. Those that are not over with that.
        """

    async def postpone(
        self, overdue: Sequence[Overdue], now: datetime, until: datetime, *, started: bool = True
    ) -> None:
        """Looked at again only after `until`; a send that was started and is scheduled for later, only then; one that
        is over and whose workflow was told, never.
        """

    async def note_namespace(self, namespace_id: str, now: datetime) -> bool:
        """Remembers Temporal's namespace id; a changed one makes all unfinished work overdue. Whether it changed."""

    async def fetch_queue_age(self, now: datetime) -> float:
        """Seconds since the oldest unfinished send became due; 0 when none is."""

    async def purge(self, now: datetime) -> None:
        """Deletes events and idempotency keys older than 30 days, outages older than 60."""
