"""From rows to domain objects and back: pure, shared by everything in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import Row

from boton.domain.businesses import BotPurpose, Business, BusinessConfig, Tally, Token
from boton.domain.chats import Chat, LastMessage
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.conversations import Conversation, ConversationOutcome, ConversationStatus
from boton.domain.events import Event, EventType
from boton.domain.linking import LinkMethod, Pairing
from boton.domain.messages import (
    Direction,
    Lane,
    Message,
    MessageError,
    MessageKind,
    MessageStatus,
    MessageType,
    Sender,
)
from boton.domain.pacing import Closure
from boton.domain.sends import Recipient, Rejected, Send, SendCategory, SendKind, SendStatus
from boton.store.tables import (
    BusinessRow,
    ChatRow,
    ConnectionRow,
    ConversationRow,
    EventRow,
    MessageRow,
    PairingRow,
    SendRow,
    TallyRow,
    TokenRow,
)

_TUPLES = frozenset({"follow_ups", "opt_out_words", "auto_replies"})


def to_config(row: BusinessRow | Row[Any]) -> BusinessConfig:
    values = {field.name: getattr(row, field.name) for field in fields(BusinessConfig)}
    values["bot_purpose"] = BotPurpose(values["bot_purpose"])
    for name in _TUPLES:
        values[name] = tuple(values[name])
    return BusinessConfig(**values)


def config_columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of BusinessConfig as their columns hold them; a name that is no field is a mistake of the caller's."""
    unknown = changes.keys() - {field.name for field in fields(BusinessConfig)}
    if unknown:
        raise ValueError(f"not a field of the configuration: {', '.join(sorted(unknown))}")
    columns = {name: list(value) if name in _TUPLES else value for name, value in changes.items()}
    if "bot_purpose" in columns:
        columns["bot_purpose"] = BotPurpose(changes["bot_purpose"]).value
    return columns


def to_business(row: BusinessRow | Row[Any]) -> Business:
    return Business(id=row.id, config=to_config(row), created_at=row.created_at)


def to_tally(row: TallyRow) -> Tally:
    return Tally(chats=row.chats, active_bot_chats=row.active_bot_chats, untouchable_chats=row.untouchable_chats)


def to_token(row: TokenRow) -> Token:
    return Token(
        id=row.id,
        business_id=row.business_id,
        name=row.name,
        hint=row.hint,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )


def to_connection(row: ConnectionRow) -> Connection:
    return Connection(
        id=row.id,
        business_id=row.business_id,
        gateway=Gateway(row.gateway),
        phone=row.phone or None,
        active=row.active,
        status=ConnectionStatus(row.status),
        reason=row.reason,
        epoch=row.epoch,
        status_at=row.status_at,
        created_at=row.created_at,
        linked_at=row.linked_at,
        closure=to_closure(row),
    )


def to_pairing(row: PairingRow) -> Pairing:
    return Pairing(
        method=LinkMethod(row.method),
        phone=row.phone,
        asked_at=row.asked_at,
        tries=row.tries,
        qr=row.qr,
        code=row.code,
        expires_at=row.expires_at,
    )


def to_closure(row: ConnectionRow) -> Closure | None:
    """The last refusal that closed the slow lane, over or not."""
    if row.slow_closed_at is None or row.slow_closed_until is None or row.slow_closed_code is None:
        return None
    return Closure(
        code=row.slow_closed_code, at=row.slow_closed_at, until=row.slow_closed_until, count=row.slow_closures
    )


def to_chat(row: ChatRow) -> Chat:
    return Chat(
        id=row.id,
        business_id=row.business_id,
        jid=row.jid,
        name=row.name,
        bot_enabled=row.bot_enabled,
        untouchable=row.untouchable,
        opted_out=row.opted_out,
        takeover_until=row.takeover_until,
        conversation_id=row.conversation_id,
        message_count=row.message_count,
        last_message=_to_last_message(row),
        created_at=row.created_at,
        known=row.known,
        handed_off_at=row.handed_off_at,
    )


def _to_last_message(row: ChatRow) -> LastMessage | None:
    if row.last_text is None or row.last_direction is None or row.last_at is None:
        return None
    return LastMessage(text=row.last_text, direction=Direction(row.last_direction), at=row.last_at)


def to_message(row: MessageRow) -> Message:
    return Message(
        id=row.id,
        chat_id=row.chat_id,
        connection_id=row.connection_id,
        direction=Direction(row.direction),
        kind=MessageKind(row.kind),
        type=MessageType(row.type),
        sender=Sender(row.sender),
        text=row.text or "",
        status=MessageStatus(row.status),
        at=row.at,
        send_id=row.send_id,
        conversation_id=row.conversation_id,
        error=to_error(row),
    )


def to_error(row: MessageRow) -> MessageError | None:
    if row.error_code is None:
        return None
    return MessageError(code=row.error_code, detail=row.error_detail or "")


def to_recipient(row: MessageRow) -> Recipient:
    """A send's message as its recipient."""
    return Recipient(
        to=row.recipient or row.jid,
        jid=row.jid,
        message_id=row.id,
        status=MessageStatus(row.status),
        reference=row.reference,
        conversation_id=row.conversation_id,
        error=to_error(row),
        sent_at=row.sent_at,
        replied_at=row.replied_at,
    )


def to_send(row: SendRow, counts: Mapping[MessageStatus, int] | None = None) -> Send:
    return Send(
        id=row.id,
        business_id=row.business_id,
        connection_id=row.connection_id,
        kind=SendKind(row.kind),
        category=SendCategory(row.category),
        status=SendStatus(row.status),
        total=row.total,
        rejected=tuple(_to_rejected(one) for one in row.rejected),
        created_at=row.created_at,
        send_at=row.send_at,
        expires_at=row.expires_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        counts=counts,
        lanes=tuple(Lane(lane) for lane in row.lanes.split()),
        respect_quiet_hours=row.respect_quiet_hours,
        waiting=row.waiting,
        waiting_until=row.waiting_until,
        next_step_at=row.next_step_at,
        hold=row.hold,
        reminder_id=row.reminder_id,
    )


def _to_rejected(stored: Mapping[str, str]) -> Rejected:
    return Rejected(to=stored["to"], error=MessageError(code=stored["code"], detail=stored["detail"]))


def from_rejected(rejected: Rejected) -> dict[str, str]:
    """As SendRow.rejected keeps it."""
    return {"to": rejected.to, "code": rejected.error.code, "detail": rejected.error.detail}


def to_conversation(row: ConversationRow, jid: str) -> Conversation:
    """`jid`: the chat's, which the row does not hold."""
    return Conversation(
        id=row.id,
        jid=jid,
        instruction=row.instruction,
        status=ConversationStatus(row.status),
        outcome=None if row.outcome is None else ConversationOutcome(row.outcome),
        summary=row.summary,
        turns=row.turns,
        reference=row.reference,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def to_event(row: EventRow) -> Event:
    return Event(seq=row.seq, type=EventType(row.type), at=row.at, data=row.data)
