"""Businesses, what is counted of them, and their tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Text, text
from sqlmodel import Field, SQLModel

from boton.store.tables.fields import json, moment


class BusinessRow(SQLModel, table=True):
    __tablename__ = "business"

    id: str = Field(primary_key=True)
    created_at: datetime = moment()
    business_name: str
    business_description: str = Field(default="", sa_type=Text)
    bot_purpose: str = "attend"
    guardrails: str = Field(default="", sa_type=Text)
    custom_instructions: str = Field(default="", sa_type=Text)
    bot_new_chats: bool = False
    timezone: str | None = None
    language: str | None = None
    takeover_minutes: int = 120
    quiet_hours: dict[str, Any] | None = json(default=None)
    pacing: dict[str, Any] | None = json(default=None)
    debounce_seconds: float = 4.0
    follow_ups: list[Any] = json()
    conversation_hours: int = 72
    opt_out_words: list[Any] = json()
    send_ttl_hours: int = 24
    answer_within_minutes: int = 360
    daily_token_budget: int = Field(default=1_000_000, sa_column_kwargs={"server_default": text("1000000")})
    auto_replies: list[Any] = json()


class TallyRow(SQLModel, table=True):
    """Counts of one business, and the seq of its newest event: this row is the lock that orders events."""

    __tablename__ = "tally"

    business_id: str = Field(primary_key=True, foreign_key="business.id")
    chats: int = 0
    active_bot_chats: int = 0
    untouchable_chats: int = 0
    event_seq: int = Field(default=0, sa_type=BigInteger)


class TokenRow(SQLModel, table=True):
    __tablename__ = "token"

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id", index=True)
    name: str
    hint: str
    secret_hash: str = Field(unique=True)
    created_at: datetime = moment()
    last_used_at: datetime | None = moment(default=None)
    revoked_at: datetime | None = moment(default=None)


class TokenDayRow(SQLModel, table=True):
    """How many tokens a business has used on a day of its calendar (`2026-11-22`)."""

    __tablename__ = "token_day"

    business_id: str = Field(primary_key=True, foreign_key="business.id")
    day: str = Field(primary_key=True)
    tokens: int = Field(default=0, sa_type=BigInteger)
