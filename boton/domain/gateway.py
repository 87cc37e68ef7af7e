"""What crosses the edge to WhatsApp: attempts that go out, and what comes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from boton.domain.connections import ConnectionStatus
from boton.domain.messages import MessageKind, MessageType


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to send one message. `id` is fresh for every claim: the gateway ties what becomes of it to it."""

    id: str
    message_id: str
    chat_id: str
    kind: MessageKind
    epoch: int
    jid: str
    text: str
    claimed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The network took the message under `whatsapp_id`, at its own time."""

    whatsapp_id: str
    at: datetime


class Unsettled(StrEnum):
    """What `find_outcome` answers when the attempt is not known to be sent."""

    NOT_SENT = "not_sent"  # final: this attempt can no longer reach the wire
    UNKNOWN = "unknown"  # nothing tells


Outcome = Sent | Unsettled


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A message seen on the phone, converted from the gateway's raw event.

    jid: the customer's; also_known_as: further JIDs of the same customer (LID and phone number).
    from_me: it left from the business's own account. attempt_id: our attempt, where the gateway knows it.
    at: WhatsApp's time of the message. history: it came by history sync. takes_back: the customer deleted something
    written before, which says nothing.
    """

    whatsapp_id: str
    jid: str
    also_known_as: tuple[str, ...] = ()
    push_name: str | None = None
    from_me: bool = False
    attempt_id: str | None = None
    type: MessageType = MessageType.TEXT
    text: str = ""
    at: datetime
    history: bool = False
    takes_back: bool = False


class ReceiptKind(StrEnum):
    """`sent`: the own phone or the server has it; the others are the customer's."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of messages of ours. A message is known by (chat, id), never by id alone.

    also_known_as: further JIDs of the same customer, as in Inbound.
    """

    jid: str
    also_known_as: tuple[str, ...] = ()
    whatsapp_ids: tuple[str, ...]
    kind: ReceiptKind
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """A customer is writing to us just now."""

    jid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """The connection itself changed."""

    status: ConnectionStatus
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Something came in that this version cannot read. The gateway keeps it for a version that can."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayEvent:
    """One journalled event. `cursor` grows; whoever has stored all up to a cursor asks for what comes after it."""

    cursor: int
    body: Inbound | Receipt | Typing | StatusChange | Unread
