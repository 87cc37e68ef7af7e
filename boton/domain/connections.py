"""A connection: one phone number of a business on one gateway, owned by one link process at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boton.domain.pacing import Closure


class Gateway(StrEnum):
    SIMULATOR = "simulator"
    WHATSAPP = "whatsapp"


class ConnectionStatus(StrEnum):
    """`connected` means that a round trip to WhatsApp succeeded lately: within the last minute and a half, or 105
    seconds where the link that said so is gone since.
    """

    LINKING = "linking"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    LOGGED_OUT = "logged_out"
    REPLACED = "replaced"
    BANNED = "banned"
    OUTDATED = "outdated"
    STOPPED = "stopped"


NEEDS_A_PERSON = frozenset(
    {
        ConnectionStatus.LOGGED_OUT,
        ConnectionStatus.REPLACED,
        ConnectionStatus.BANNED,
        ConnectionStatus.OUTDATED,
        ConnectionStatus.STOPPED,
    }
)
"""Nobody holds such a number before somebody has done something and linked it again."""

SAID_AGAIN = timedelta(seconds=20)
_BELIEVED = {ConnectionStatus.CONNECTED: timedelta(seconds=60), ConnectionStatus.CONNECTING: timedelta(minutes=2)}
"""For so long without a word of the link. One that cannot connect says so sooner than in two minutes."""
_UNHEARD = {
    ConnectionStatus.CONNECTED: "its link process has not been heard of lately; is `boton connections` running?",
    ConnectionStatus.CONNECTING: "no link process has taken the number up; is `boton connections` running, with room "
    "for one more (BOTON_CONNECTIONS_CAPACITY)?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """`epoch` rises with every start of a link; a process with a lower one owns nothing any more.

    phone: None until a phone has been linked. linked_at: since when it is; None: it is not, or not any more.
    status_at: when the link last said so; it says `connected` again every SAID_AGAIN. closure: the last refusal that
    closed the slow lane, over or not.
    """

    id: str
    business_id: str
    gateway: Gateway
    phone: str | None
    active: bool
    status: ConnectionStatus
    reason: str | None
    epoch: int
    status_at: datetime
    created_at: datetime
    linked_at: datetime | None = None
    closure: Closure | None = None

    def slow_lane_closed(self, now: datetime) -> Closure | None:
        """Why the slow lane is closed now; None while it is open."""
        return self.closure if self.closure is not None and self.closure.until > now else None

    def as_seen(self, now: datetime) -> Connection:
        """What nobody has repeated is not believed: the link, or its whole host, is gone, or none has taken it up."""
        if self.status not in _BELIEVED or now - self.status_at <= _BELIEVED[self.status]:
            return self
        return replace(self, status=ConnectionStatus.DISCONNECTED, reason=_UNHEARD[self.status])
