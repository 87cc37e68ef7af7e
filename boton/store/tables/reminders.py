"""Reminders and their firings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from boton.store.tables.fields import json, moment


class ReminderRow(SQLModel, table=True):
    """`starts_at`: `at`, or a recurrence's first possible time; `every`: its RRULE. `minutes`: before `event_at`.
    `next_at`: of the next firing. `hold`: why it does not fire for now.
    """

    __tablename__ = "reminder"
    __table_args__ = (Index("ix_reminder_newest", "business_id", "created_at", "id"),)

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id")
    connection_id: str = Field(foreign_key="connection.id")
    chat_id: str = Field(foreign_key="chat.id", index=True)
    message: str | None = Field(default=None, sa_type=Text)
    instruction: str | None = Field(default=None, sa_type=Text)
    status: str
    recipient: str | None = None
    reference: str | None = None
    starts_at: datetime | None = moment(default=None)
    minutes: list[Any] | None = json(default=None)
    every: str | None = None
    timezone: str | None = None
    event_at: datetime | None = moment(default=None)
    cancel_on_reply: bool = False
    expire_after_minutes: int = 360
    respect_quiet_hours: bool = False
    next_at: datetime | None = moment(default=None)
    created_at: datetime = moment()
    ended_at: datetime | None = moment(default=None)
    next_step_at: datetime | None = moment(default=None, index=True)
    hold: str | None = None


class FiringRow(SQLModel, table=True):
    """One firing of a reminder, known by (reminder, planned time): it fires once, as a send of its own.

    `expires_at`: from then on it is too late.
    """

    __tablename__ = "firing"

    reminder_id: str = Field(primary_key=True, foreign_key="reminder.id")
    at: datetime = moment(primary_key=True)
    status: str
    message_id: str | None = Field(default=None, foreign_key="message.id")
    send_id: str | None = None
    expires_at: datetime | None = moment(default=None)
