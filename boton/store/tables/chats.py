"""Chats, and every JID that leads to one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text, false
from sqlmodel import Field, SQLModel

from boton.store.tables.fields import count, moment


class ChatRow(SQLModel, table=True):
    """A customer of a business. `bot_decided`: the bot was switched on or off here, or the customer has written:
    from then on the chat is not a new one. `bot_switched_at`: when it was switched last, by a person or by an opening.
    `known`: a message went either way, or the API said so. `registered`: it was seen on WhatsApp.
    `marketing_unanswered`, `bot_unanswered`: marketing messages, and messages of the bot, since the customer last
    wrote. `handed_off_at`: the bot handed the chat to a human, who has not written yet. `turn_id`: the bot's newest
    turn that is no opening.
    """

    __tablename__ = "chat"
    __table_args__ = (Index("ix_chat_newest", "business_id", "active_at", "id"),)

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id")
    jid: str
    name: str | None = None
    name_is_ours: bool = False
    bot_enabled: bool = False
    bot_decided: bool = False
    bot_switched_at: datetime | None = moment(default=None)
    untouchable: bool = False
    opted_out: bool = False
    known: bool = False
    registered: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    marketing_unanswered: int = count()
    bot_unanswered: int = count()
    handed_off_at: datetime | None = moment(default=None)
    handed_off_reason: str | None = Field(default=None, sa_type=Text)
    taken_over_at: datetime | None = moment(default=None)
    takeover_until: datetime | None = moment(default=None)
    first_incoming_at: datetime | None = moment(default=None)
    last_turn_at: datetime | None = moment(default=None)
    conversation_id: str | None = None
    turn_id: str | None = None
    message_count: int = 0
    last_text: str | None = Field(default=None, sa_type=Text)
    last_direction: str | None = None
    last_at: datetime | None = moment(default=None)
    active_at: datetime = moment()
    created_at: datetime = moment()
    next_step_at: datetime | None = moment(default=None, index=True)


class AliasRow(SQLModel, table=True):
    """Every JID under which a customer of a business is known; all of them lead to one chat."""

    __tablename__ = "chat_alias"

    business_id: str = Field(primary_key=True, foreign_key="business.id")
    jid: str = Field(primary_key=True)
    chat_id: str = Field(foreign_key="chat.id", index=True)
