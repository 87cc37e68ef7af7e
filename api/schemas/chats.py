"""GET /chats, /chats/{jid}, /chats/{jid}/messages and PATCH /chats/{jid}."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from api.schemas.base import Body, Document, Listing, Timestamp, to_paging
from boton.domain.chats import Chat, ChatChange, Holder, LastMessage
from boton.domain.messages import Direction, Message, MessageError, MessageStatus, MessageType, Sender
from boton.ports import Page

MAX_MESSAGES = 200

_JID = "5491112345678@s.whatsapp.net"
_LAST: JsonDict = {"text": "hola", "direction": "incoming", "timestamp": "2026-11-20T18:04:05.000Z"}
_CHAT: JsonDict = {"jid": _JID, "name": "Juan", "lastMessage": _LAST, "messageCount": 8, "botEnabled": True}


class LastMessageOut(Document):
    text: str
    direction: Direction
    timestamp: Timestamp

    @classmethod
    def of(cls, last: LastMessage) -> LastMessageOut:
        return cls(text=last.text, direction=last.direction, timestamp=last.at)


class ChatOut(Document):
    """`name` is null as long as nobody told it; `lastMessage` as long as there is none."""

    jid: str
    name: str | None
    last_message: LastMessageOut | None
    message_count: int
    bot_enabled: bool

    @classmethod
    def of(cls, chat: Chat) -> ChatOut:
        return cls(
            jid=chat.jid,
            name=chat.name,
            last_message=LastMessageOut.of(chat.last_message) if chat.last_message else None,
            message_count=chat.message_count,
            bot_enabled=chat.bot_enabled,
        )


class ChatList(Listing):
    """Chats, the one with the newest activity first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"chats": [_CHAT], "total": 45, "page": 0, "pageSize": 20, "hasMore": True}}
    )

    chats: list[ChatOut]

    @classmethod
    def of(cls, chats: Sequence[Chat], total: int, page: Page) -> ChatList:
        return cls(chats=[ChatOut.of(chat) for chat in chats], **to_paging(page, total))


class ChatDetail(ChatOut):
    """One chat with who holds it: the bot, a human (until `takeoverUntil`), or nobody."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _CHAT
            | {
                "untouchable": False,
                "optedOut": False,
                "known": True,
                "heldBy": "bot",
                "takeoverUntil": None,
                "conversationId": None,
            }
        }
    )

    untouchable: bool
    opted_out: bool
    known: bool = Field(description="a known contact: messages to them go in the fast lane")
    held_by: Holder
    takeover_until: Timestamp | None
    conversation_id: str | None

    @classmethod
    def at(cls, chat: Chat, now: datetime) -> ChatDetail:
        """The chat as it stands at `now`."""
        return cls(
            **dict(ChatOut.of(chat)),
            untouchable=chat.untouchable,
            opted_out=chat.opted_out,
            known=chat.known,
            held_by=chat.held_by(now),
            takeover_until=chat.takeover_until,
            conversation_id=chat.conversation_id,
        )


class ChatPatch(Body):
    """What is left out stays as it is. `botEnabled: true` hands a chat back that a human holds."""

    model_config = ConfigDict(json_schema_extra={"example": {"botEnabled": True, "name": "Juan"}})

    bot_enabled: bool | None = None
    untouchable: bool | None = Field(None, description="the bot never writes here (family, suppliers)")
    opted_out: bool | None = Field(None, description="no marketing messages")
    known: bool | None = Field(None, description="a known contact, whoever wrote first")
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    def to_change(self) -> ChatChange:
        return ChatChange(
            bot_enabled=self.bot_enabled,
            untouchable=self.untouchable,
            opted_out=self.opted_out,
            known=self.known,
            name=self.name,
        )


class MessageErrorOut(Document):
    """A stable code, and what to do."""

    code: str
    detail: str

    @classmethod
    def of(cls, error: MessageError | None) -> MessageErrorOut | None:
        return None if error is None else cls(code=error.code, detail=error.detail)


class MessageOut(Document):
    """One message. `text` of anything but a text is a short description; see `type`."""

    id: str
    text: str
    direction: Direction
    timestamp: Timestamp
    bot_generated: bool
    status: MessageStatus
    type: MessageType
    sender: Sender
    send_id: str | None
    error: MessageErrorOut | None

    @classmethod
    def of(cls, message: Message) -> MessageOut:
        return cls(
            id=message.id,
            text=message.text,
            direction=message.direction,
            timestamp=message.at,
            bot_generated=message.bot_generated,
            status=message.status,
            type=message.type,
            sender=message.sender,
            send_id=message.send_id,
            error=MessageErrorOut.of(message.error),
        )


class MessageList(Document):
    """The newest `limit` messages (before or after a message id), oldest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "jid": _JID,
                "messages": [
                    {
                        "id": "msg_01KAB1C2D3E4F5G6H7J8K9M0NP",
                        **_LAST,
                        "botGenerated": False,
                        "status": "received",
                        "type": "text",
                        "sender": "customer",
                        "sendId": None,
                        "error": None,
                    }
                ],
                "limit": 50,
                "hasMore": False,
            }
        }
    )

    jid: str
    messages: list[MessageOut]
    limit: int
    has_more: bool
