"""Instruction-led dialogues, and what is to be written later."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from boton.store.tables.conditions import PENDING
from boton.store.tables.fields import moment


class ConversationRow(SQLModel, table=True):
    __tablename__ = "conversation"
    __table_args__ = (Index("ix_conversation_newest", "business_id", "created_at", "id"),)

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id")
    chat_id: str = Field(foreign_key="chat.id", index=True)
    connection_id: str = Field(foreign_key="connection.id")
    send_id: str | None = Field(default=None, foreign_key="send.id", index=True)
    instruction: str = Field(sa_type=Text)
    status: str
    outcome: str | None = None
    summary: str | None = Field(default=None, sa_type=Text)
    turns: int = 0
    reference: str | None = None
    created_at: datetime = moment()
    ended_at: datetime | None = moment(default=None)
    deadline_at: datetime | None = moment(default=None)


class FollowUpRow(SQLModel, table=True):
    """A message that the bot means to write first, unless the dialogue goes on. `text`: what the bot promised to say;
    NULL: one of the business's `followUps`, which the model writes when it is due.
    """

    __tablename__ = "follow_up"
    __table_args__ = (
        Index("ix_follow_up_pending", "chat_id", "due_at", sqlite_where=PENDING, postgresql_where=PENDING),
        Index("ix_follow_up_conversation", "conversation_id"),
    )

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id")
    chat_id: str = Field(foreign_key="chat.id")
    conversation_id: str = Field(foreign_key="conversation.id")
    due_at: datetime = moment()
    text: str | None = Field(default=None, sa_type=Text)
    status: str
    created_at: datetime = moment()
    ended_at: datetime | None = moment(default=None)
