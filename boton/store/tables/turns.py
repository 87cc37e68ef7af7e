"""Turns: the model's answers and its calls of tools."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from boton.store.tables.fields import count, json, moment


class TurnRow(SQLModel, table=True):
    """One turn of the bot, known by (chat, trigger): the last incoming message, the opening to be written, or the
    follow-up that is due. `recomposed`: how many turns in a row before this one were stale when they were written.
    """

    __tablename__ = "turn"
    __table_args__ = (Index("ix_turn_key", "chat_id", "trigger_id", unique=True),)

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id")
    chat_id: str = Field(foreign_key="chat.id")
    trigger_id: str
    conversation_id: str | None = Field(default=None, foreign_key="conversation.id")
    opening: bool = False
    status: str
    reason: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    recomposed: int = count()
    created_at: datetime = moment()
    closed_at: datetime | None = moment(default=None)


class RoundRow(SQLModel, table=True):
    """One answer of the model within a turn: what it wrote, and how many tools it called (see `tool_call`)."""

    __tablename__ = "turn_round"

    turn_id: str = Field(primary_key=True, foreign_key="turn.id")
    number: int = Field(primary_key=True)
    text: str = Field(sa_type=Text)
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    created_at: datetime = moment()


class ToolCallRow(SQLModel, table=True):
    """A call of a tool as the model wrote it, and what the tool answered (`answer` NULL: not run yet). `effect`: what
    it changes once the turn closes.
    """

    __tablename__ = "tool_call"

    turn_id: str = Field(primary_key=True, foreign_key="turn.id")
    number: int = Field(primary_key=True)
    position: int = Field(primary_key=True)
    call_id: str
    name: str
    arguments: str = Field(sa_type=Text)
    answer: str | None = Field(default=None, sa_type=Text)
    ok: bool | None = None
    effect: dict[str, Any] | None = json(default=None)
    created_at: datetime = moment()
    answered_at: datetime | None = moment(default=None)
