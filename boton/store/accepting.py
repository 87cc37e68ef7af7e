"""What a POST /send becomes: its rows and its answer, built before the transaction that stores them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Dialect

from boton.domain.conversations import ConversationStatus
from boton.domain.messages import Direction, Lane, MessageKind, MessageStatus, MessageType, Sender
from boton.domain.pacing import lane_of
from boton.domain.sends import (
    AcceptedSend,
    NewRecipient,
    NewSend,
    Recipient,
    Send,
    SendCategory,
    SendKind,
    SendStatus,
)
from boton.ids import Prefix, new_id
from boton.store.bulk import Bulk, to_bulk
from boton.store.inserts import insert_into
from boton.store.rows import from_rejected
from boton.store.tables import ConversationRow, MessageRow, SendRow

_KINDS = {
    SendCategory.TRANSACTIONAL: MessageKind.TRANSACTIONAL,
    SendCategory.MARKETING: MessageKind.MARKETING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownChat:
    """A recipient's chat. `known`: a message went either way, or the API said so."""

    id: str
    jid: str
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All rows of a send, and the answer that is given once they are on disk. introduced: the chats that the client
    says are contacts, and that the store does not know as such yet. lanes: how many messages are in each.
    """

    sends: Bulk
    conversations: Bulk | None
    messages: Bulk
    introduced: tuple[str, ...]
    lanes: Mapping[Lane, int]
    answer: AcceptedSend


def prepare(dialect: Dialect, new: NewSend, connection_id: str, chats: Mapping[str, KnownChat]) -> Prepared:
    """The rows of a send. `chats` by the recipients' JIDs; of recipients who are one chat the first one counts."""
    first: dict[str, tuple[KnownChat, NewRecipient]] = {}
    for recipient in new.recipients:
        chat = chats[recipient.jid]
        first.setdefault(chat.id, (chat, recipient))
    pairs = list(first.values())
    lanes = [_lane(new, *pair) for pair in pairs]
    send = _send(new, connection_id, lanes)
    conversations = [_conversation(send, chat, one) for chat, one in pairs] if _opens(new) else []
    messages = [
        _message(new, send, place, pair, lane) for place, (pair, lane) in enumerate(zip(pairs, lanes, strict=True))
    ]
    for message, conversation in zip(messages, conversations, strict=False):
        message["conversation_id"] = conversation["id"]
    recipients = [_to_recipient(row) for row in messages]
    return Prepared(
        sends=to_bulk(dialect, insert_into(SendRow), [send]),
        conversations=to_bulk(dialect, insert_into(ConversationRow), conversations) if conversations else None,
        messages=to_bulk(dialect, insert_into(MessageRow), messages),
        introduced=tuple(chat.id for chat, one in pairs if one.known and not chat.known),
        lanes=Counter(lanes),
        answer=AcceptedSend(send=_to_send(new, send), recipients=tuple(recipients), estimated_end=None),
    )


def first_answer(send: Send, recipients: Iterable[Recipient], estimated_end: datetime | None = None) -> AcceptedSend:
    """What was answered when the send was accepted, whatever has become of it since."""
    due = max(send.created_at, send.send_at or send.created_at)
    status = SendStatus.SCHEDULED if due > send.created_at else SendStatus.QUEUED
    return AcceptedSend(
        send=replace(
            send,
            status=status,
            next_step_at=send.created_at,
            started_at=None,
            finished_at=None,
            counts=None,
            waiting=None,
            hold=None,
        ),
        recipients=tuple(
            replace(one, status=MessageStatus.QUEUED, error=None, sent_at=None, replied_at=None) for one in recipients
        ),
        estimated_end=estimated_end,
    )


def _opens(new: NewSend) -> bool:
    return new.kind is SendKind.INSTRUCTION


def _kind(new: NewSend) -> MessageKind:
    if _opens(new):
        return MessageKind.OPENING
    return MessageKind.REMINDER if new.reminder_id is not None else _KINDS[new.category]


def _lane(new: NewSend, chat: KnownChat, recipient: NewRecipient) -> Lane:
    return lane_of(_kind(new), known=chat.known or recipient.known)


def _send(new: NewSend, connection_id: str, lanes: Sequence[Lane]) -> dict[str, Any]:
    due = max(new.accepted_at, new.send_at or new.accepted_at)
    return {
        "id": new_id(Prefix.SEND),
        "business_id": new.business_id,
        "connection_id": connection_id,
        "kind": new.kind.value,
        "category": new.category.value,
        "status": (SendStatus.SCHEDULED if due > new.accepted_at else SendStatus.QUEUED).value,
        "total": len(lanes),
        "lanes": " ".join(sorted({lane.value for lane in lanes})),
        "rejected": [from_rejected(one) for one in new.rejected],
        "respect_quiet_hours": new.respect_quiet_hours,
        "created_at": new.accepted_at,
        "send_at": new.send_at,
        "expires_at": new.expires_at,
        "ttl_seconds": new.ttl_seconds,
        "reminder_id": new.reminder_id,
        "next_step_at": new.accepted_at,
    }


def _to_send(new: NewSend, columns: Mapping[str, Any]) -> Send:
    """What the columns say, without the detour over a row: this is what an acceptance waits for."""
    return Send(
        id=columns["id"],
        business_id=new.business_id,
        connection_id=columns["connection_id"],
        kind=new.kind,
        category=new.category,
        status=SendStatus(columns["status"]),
        total=columns["total"],
        rejected=new.rejected,
        created_at=new.accepted_at,
        send_at=new.send_at,
        expires_at=new.expires_at,
        lanes=tuple(Lane(lane) for lane in columns["lanes"].split()),
        respect_quiet_hours=new.respect_quiet_hours,
        next_step_at=columns["next_step_at"],
        reminder_id=new.reminder_id,
    )


def _conversation(send: Mapping[str, Any], chat: KnownChat, recipient: NewRecipient) -> dict[str, Any]:
    return {
        "id": new_id(Prefix.CONVERSATION),
        "business_id": send["business_id"],
        "chat_id": chat.id,
        "connection_id": send["connection_id"],
        "send_id": send["id"],
        "instruction": recipient.text,
        "status": ConversationStatus.OPENING.value,
        "reference": recipient.reference,
        "created_at": send["created_at"],
    }


def _message(
    new: NewSend, send: Mapping[str, Any], position: int, pair: tuple[KnownChat, NewRecipient], lane: Lane
) -> dict[str, Any]:
    """An opening has no text until the model has written it."""
    chat, recipient = pair
    opens = _opens(new)
    return {
        "id": new_id(Prefix.MESSAGE),
        "business_id": send["business_id"],
        "connection_id": send["connection_id"],
        "chat_id": chat.id,
        "direction": Direction.OUTGOING.value,
        "kind": _kind(new).value,
        "type": MessageType.TEXT.value,
        "sender": (Sender.BOT if opens else Sender.API).value,
        "text": None if opens else recipient.text,
        "status": MessageStatus.QUEUED.value,
        "at": new.accepted_at,
        "created_at": new.accepted_at,
        "jid": chat.jid,
        "lane": lane.value,
        "send_id": send["id"],
        "position": position,
        "recipient": recipient.to,
        "reference": recipient.reference,
        "conversation_id": None,
        "expires_at": new.expires_at,
    }


def _to_recipient(message: Mapping[str, Any]) -> Recipient:
    return Recipient(
        to=message["recipient"],
        jid=message["jid"],
        message_id=message["id"],
        status=MessageStatus.QUEUED,
        reference=message["reference"],
        conversation_id=message["conversation_id"],
    )
