"""Instruction-led dialogues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from boton.domain.conversations import Conversation, ConversationStatus
from boton.ports.paging import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledConversation:
    """chat_id: the chat whose workflow is to look at the store."""

    conversation: Conversation
    chat_id: str


class ConversationStore(Protocol):
    async def list_conversations(
        self, business_id: str, page: Page, *, status: ConversationStatus | None = None, jid: str | None = None
    ) -> tuple[Sequence[Conversation], int]:
        """Newest first, and how many there are in all."""

    async def fetch_conversation(self, business_id: str, conversation_id: str) -> Conversation:
        """Raises NotFound."""

    async def cancel_conversation(self, business_id: str, conversation_id: str, now: datetime) -> CancelledConversation:
        """Ends it, and whatever of it is queued; cancelling twice changes nothing. Raises NotFound, Conflict when it
        has ended otherwise.
        """
