"""Work that is held."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from boton.domain.holds import Held
from boton.ports.paging import Page


class HoldStore(Protocol):
    async def list_held(self, business_id: str | None = None) -> Sequence[Held]:
        """Of one business or all: sends, reminders, chats, each oldest first."""

    async def page_held(self, business_id: str, page: Page) -> tuple[Sequence[Held], int]:
        """One page of a business's, in the same order; and how many there are in all."""

    async def resume(self, held: Sequence[Held], now: datetime) -> None:
        """All of it is due again, over the business's number; what is too late by now expires by its own rule. Raises
        Conflict where a business has no number.
        """

    async def cancel(self, held: Sequence[Held], now: datetime) -> None:
        """None of it is ever sent, nor answered. Raises Conflict."""
