"""GET /events."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from api.schemas.base import Document, Timestamp
from boton.domain.events import Event, EventPage, EventType

MAX_EVENTS = 1000
MAX_WAIT = 30


class EventOut(Document):
    """Something that happened. `data` holds ids, the jid, the reference, and the text for messages."""

    seq: int
    type: EventType
    at: Timestamp
    data: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> EventOut:
        return cls(seq=event.seq, type=event.type, at=event.at, data=event.data)


class EventList(Document):
    """Events in order. Pass `lastSeq` as `after` next time."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "events": [
                    {
                        "seq": 17,
                        "type": "message.received",
                        "at": "2026-11-20T18:04:05.000Z",
                        "data": {
                            "messageId": "msg_01KAB1C2D3E4F5G6H7J8K9M0NP",
                            "jid": "5491112345678@s.whatsapp.net",
                            "text": "hola",
                        },
                    }
                ],
                "lastSeq": 17,
                "hasMore": False,
                "limit": 100,
            }
        }
    )

    events: list[EventOut]
    last_seq: int
    has_more: bool
    limit: int

    @classmethod
    def of(cls, page: EventPage, limit: int) -> EventList:
        return cls(
            events=[EventOut.of(event) for event in page.events],
            last_seq=page.last_seq,
            has_more=page.has_more,
            limit=limit,
        )
