"""A conversation as it is told."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, Field

from api.schemas.base import Document, Listing, Timestamp, to_paging
from boton.domain.conversations import Conversation, ConversationOutcome, ConversationStatus
from boton.ports import Page


class ConversationOut(Document):
    """A dialogue that an instruction began. `summary`: in the customer's language, once it has ended."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "cnv_01JD2X8V7Q3M5K9T4B6N1C0RZE",
                "jid": "5491112345678@s.whatsapp.net",
                "instruction": "Ofrece turno para manana",
                "status": "done",
                "outcome": "achieved",
                "summary": "Acepta el turno de mañana a las 10.",
                "turns": 2,
                "reference": None,
                "createdAt": "2026-11-21T18:04:05.000Z",
                "endedAt": "2026-11-21T18:09:41.000Z",
            }
        }
    )

    id: str
    jid: str
    instruction: str
    status: ConversationStatus
    outcome: ConversationOutcome | None
    summary: str | None
    turns: int = Field(description="how often the bot spoke, its opening included")
    reference: str | None
    created_at: Timestamp
    ended_at: Timestamp | None

    @classmethod
    def of(cls, conversation: Conversation) -> ConversationOut:
        return cls(
            id=conversation.id,
            jid=conversation.jid,
            instruction=conversation.instruction,
            status=conversation.status,
            outcome=conversation.outcome,
            summary=conversation.summary,
            turns=conversation.turns,
            reference=conversation.reference,
            created_at=conversation.created_at,
            ended_at=conversation.ended_at,
        )


class ConversationList(Listing):
    conversations: list[ConversationOut]

    @classmethod
    def of(cls, conversations: Sequence[Conversation], total: int, page: Page) -> ConversationList:
        told = [ConversationOut.of(one) for one in conversations]
        return cls(conversations=told, **to_paging(page, total))
