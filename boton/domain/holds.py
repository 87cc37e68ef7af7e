"""Work that is held: it goes on only when somebody says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

RESTORED = "restored"
"""Held, because the store was restored from a backup."""

SWITCHED = "switched"
"""Held, because the business has gone to another number, or has logged out."""


class HeldKind(StrEnum):
    SEND = "send"
    REMINDER = "reminder"
    CHAT = "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """reason: why. messages: how many wait with it: queued ones of a send, in a chat those to be answered."""

    kind: HeldKind
    id: str
    business_id: str
    reason: str
    since: datetime
    messages: int
