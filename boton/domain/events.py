"""What happened, in order, for a CRM that asks (contract, section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

KEPT_FOR = timedelta(days=30)


class EventType(StrEnum):
    MESSAGE_RECEIVED = "message.received"
    MESSAGE_STATUS = "message.status"
    SEND_FINISHED = "send.finished"
    CONVERSATION_ENDED = "conversation.ended"
    CHAT_HANDED_OFF = "chat.handed_off"
    CHAT_TAKEN_OVER = "chat.taken_over"
    CHAT_OPTED_OUT = "chat.opted_out"
    REMINDER_FIRED = "reminder.fired"
    CONNECTION_CHANGED = "connection.changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event before it has its place in the order. `data`: camelCase keys, JSON values."""

    business_id: str
    type: EventType
    at: datetime
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    seq: int
    type: EventType
    at: datetime
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """`last_seq`: the seq of the last event here, or `after` when there is none: what to pass as `after` next."""

    events: tuple[Event, ...]
    last_seq: int
    has_more: bool
