"""What a POST /send becomes: its rows and its answer, built before the transaction that stores them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Dialect, insert

from boton.domain.conversations import ConversationStatus
from boton.domain.messages import Direction, MessageKind, MessageStatus, MessageType, Sender
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
from boton.store.inserts import table_of
from boton.store.rows import from_rejected, to_send
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
    """All rows of a send, and the answer that is given once they are on disk."""

    send: Mapping[str, Any]
    conversations: Bulk | None
    messages: Bulk
    answer: AcceptedSend


def prepare(dialect: Dialect, new: NewSend, connection_id: str, chats: Mapping[str, KnownChat]) -> Prepared:
    """The rows of a send. `chats` by the recipients' JIDs; of recipients who are one chat the first one counts."""
    first: dict[str, tuple[KnownChat, NewRecipient]] = {}
    for recipient in new.recipients:
        chat = chats[recipient.jid]
        first.setdefault(chat.id, (chat, recipient))
    pairs = list(first.values())
    send = _send(new, connection_id, pairs)
    conversations = [_conversation(send, chat, one) for chat, one in pairs] if _opens(new) else []
    messages = [_message(new, send, position, *pair) for position, pair in enumerate(pairs)]
    for message, conversation in zip(messages, conversations, strict=False):
        message["conversation_id"] = conversation["id"]
    recipients = [_to_recipient(row) for row in messages]
    answer = first_answer(to_send(SendRow(**send)), recipients, fast=send["fast"])
    return Prepared(
        send=send,
        conversations=to_bulk(dialect, insert(table_of(ConversationRow)), conversations) if conversations else None,
        messages=to_bulk(dialect, insert(table_of(MessageRow)), messages),
        answer=answer,
    )


def first_answer(send: Send, recipients: Iterable[Recipient], *, fast: bool) -> AcceptedSend:
    """What was answered when the send was accepted, whatever has become of it since."""
    scheduled = send.send_at is not None and send.send_at > send.created_at
    status = SendStatus.SCHEDULED if scheduled else SendStatus.QUEUED
    return AcceptedSend(
        send=replace(send, status=status, started_at=None, finished_at=None, counts=None),
        recipients=tuple(
            replace(one, status=MessageStatus.QUEUED, error=None, sent_at=None, replied_at=None) for one in recipients
        ),
        fast=fast,
    )


def _opens(new: NewSend) -> bool:
    return new.kind is SendKind.INSTRUCTION


def _send(new: NewSend, connection_id: str, pairs: Sequence[tuple[KnownChat, NewRecipient]]) -> dict[str, Any]:
    due = max(new.accepted_at, new.send_at or new.accepted_at)
    single = len(pairs) == 1 and new.kind is SendKind.MESSAGE and new.category is SendCategory.TRANSACTIONAL
    return {
        "id": new_id(Prefix.SEND),
        "business_id": new.business_id,
        "connection_id": connection_id,
        "kind": new.kind.value,
        "category": new.category.value,
        "status": (SendStatus.SCHEDULED if due > new.accepted_at else SendStatus.QUEUED).value,
        "total": len(pairs),
        "fast": single and pairs[0][0].known,
        "rejected": [from_rejected(one) for one in new.rejected],
        "respect_quiet_hours": new.respect_quiet_hours,
        "created_at": new.accepted_at,
        "send_at": new.send_at,
        "expires_at": new.expires_at,
        "next_step_at": due,
    }


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
    new: NewSend, send: Mapping[str, Any], position: int, chat: KnownChat, recipient: NewRecipient
) -> dict[str, Any]:
    """An opening has no text until the model has written it."""
    opens = _opens(new)
    return {
        "id": new_id(Prefix.MESSAGE),
        "business_id": send["business_id"],
        "connection_id": send["connection_id"],
        "chat_id": chat.id,
        "direction": Direction.OUTGOING.value,
        "kind": (MessageKind.OPENING if opens else _KINDS[new.category]).value,
        "type": MessageType.TEXT.value,
        "sender": (Sender.BOT if opens else Sender.API).value,
        "text": None if opens else recipient.text,
        "status": MessageStatus.QUEUED.value,
        "at": new.accepted_at,
        "created_at": new.accepted_at,
        "jid": chat.jid,
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
