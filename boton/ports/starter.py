"""What starts workflows, and wakes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from boton.domain.messages import Lane
from boton.domain.sends import SendCategory


class WorkflowStarter(Protocol):
    """Starts or wakes workflows; both are safe at any time, as often as one likes."""

    async def start_send(
        self,
        send_id: str,
        business_id: str,
        connection_id: str,
        *,
        lanes: Sequence[Lane],
        category: SendCategory = SendCategory.TRANSACTIONAL,
        wake: bool = False,
    ) -> None:
        """category: what goes first where more waits than a link takes in. wake: also tells a running one that the
        store changed.
        """

    async def end_send(self, send_id: str) -> None:
        """Ends the workflow of a send that is over, where it still waits for a number that is gone."""

    async def look_at_chat(self, chat_id: str, business_id: str, *, quiet_seconds: float = 0.0) -> None:
        """quiet_seconds: how long the customer must have written nothing before the bot answers."""

    async def start_reminder(
        self, reminder_id: str, business_id: str, *, due_at: datetime | None, wake: bool = False
    ) -> None:
        """due_at: when it fires next; a new run rests until then. wake: a running one looks at the store first."""

    async def look_at_connection(self, connection_id: str, business_id: str) -> None:
        """Starts it, or tells a running one that the store changed."""
