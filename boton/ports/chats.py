"""Chats and their messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from boton.domain.chats import Chat, ChatChange
from boton.domain.messages import Message
from boton.ports.paging import Page


class ChatStore(Protocol):
    async def list_chats(self, business_id: str, page: Page) -> tuple[Sequence[Chat], int]:
        """Chats with the newest activity first, and how many there are in all."""

    async def fetch_chat(self, business_id: str, jid: str) -> Chat:
        """By any JID under which the customer is known. Raises NotFound."""

    async def change_chat(self, business_id: str, jid: str, change: ChatChange, now: datetime) -> Chat:
        """PATCH: creates the chat where it does not exist yet. `bot_enabled=True` hands a held chat back."""

    async def take_over(self, business_id: str, jid: str, now: datetime) -> Chat:
        """A human holds the chat from now on, for `takeoverMinutes`. Raises NotFound."""

    async def list_messages(
        self, business_id: str, jid: str, *, limit: int, before: str | None = None, after: str | None = None
    ) -> tuple[str, Sequence[Message], bool]:
        """The chat's JID, its newest `limit` messages (before or after a message id), oldest first, and whether
        there are more in that direction. Raises NotFound for an unknown chat or message id.
        """
