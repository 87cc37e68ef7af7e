"""Events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index
from sqlmodel import Field, SQLModel

from boton.store.tables.fields import json, moment


class EventRow(SQLModel, table=True):
    __tablename__ = "event"
    __table_args__ = (Index("ix_event_at", "at"),)

    business_id: str = Field(primary_key=True, foreign_key="business.id")
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    id: str
    type: str
    at: datetime = moment()
    data: dict[str, Any] = json()
