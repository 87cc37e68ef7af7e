"""What comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from boton.domain.gateway import GatewayEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What followed. owed: the chats in which the bot now owes an answer, once the customer has been quiet for
    `quiet_seconds`; takeovers: chats that a human took over.
    """

    owed: tuple[str, ...] = ()
    quiet_seconds: float = 0.0
    takeovers: int = 0


class InboxStore(Protocol):
    async def record_events(
        self, connection_id: str, epoch: int, events: Sequence[GatewayEvent], now: datetime
    ) -> Recorded:
        """Stores what came in, once, each event with all that follows from it and the cursor in one transaction.

        Raises StaleEpoch.
        """

    async def fetch_cursor(self, connection_id: str) -> int: ...
