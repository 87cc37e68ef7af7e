"""A connection: one phone number of a business on one gateway, owned by one link process at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Gateway(StrEnum):
    SIMULATOR = "simulator"
    WHATSAPP = "whatsapp"


class ConnectionStatus(StrEnum):
    """`connected` means that a round trip to WhatsApp succeeded lately."""

    LINKING = "linking"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    LOGGED_OUT = "logged_out"
    REPLACED = "replaced"
    BANNED = "banned"
    OUTDATED = "outdated"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """`epoch` rises with every start of a link; a process with a lower one owns nothing any more."""

    id: str
    business_id: str
    gateway: Gateway
    phone: str
    active: bool
    status: ConnectionStatus
    reason: str | None
    epoch: int
    status_at: datetime
    created_at: datetime
