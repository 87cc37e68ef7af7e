"""Sends."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from boton.store.tables.conditions import UNFINISHED
from boton.store.tables.fields import json, moment


class SendRow(SQLModel, table=True):
    """`lanes`: those its messages are in, space-separated. `ttl_seconds`: how long the connection may be away before
    it expires, counted anew from `resumed_at`. `waiting`: what it waits for, until `waiting_until`. `hold`:
    why it is paused, unless a client asked.
    """

    __tablename__ = "send"
    __table_args__ = (
        Index("ix_send_newest", "business_id", "created_at", "id"),
        Index("ix_send_unfinished", "connection_id", sqlite_where=UNFINISHED, postgresql_where=UNFINISHED),
        Index("ix_send_reminder", "reminder_id"),
    )

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id")
    connection_id: str = Field(foreign_key="connection.id")
    kind: str
    category: str
    status: str
    total: int
    lanes: str = Field(default="slow", sa_column_kwargs={"server_default": "slow"})
    rejected: list[Any] = json()
    respect_quiet_hours: bool = False
    created_at: datetime = moment()
    send_at: datetime | None = moment(default=None)
    expires_at: datetime | None = moment(default=None)
    started_at: datetime | None = moment(default=None)
    finished_at: datetime | None = moment(default=None)
    next_step_at: datetime | None = moment(default=None, index=True)
    ttl_seconds: int | None = None
    resumed_at: datetime | None = moment(default=None)
    waiting: str | None = None
    waiting_until: datetime | None = moment(default=None)
    hold: str | None = None
    reminder_id: str | None = None
