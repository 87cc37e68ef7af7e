"""First answers, kept for requests that come twice."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from boton.store.tables.fields import json, moment


class IdempotencyRow(SQLModel, table=True):
    """The first answer to a request with an Idempotency-Key, kept 30 days."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("ix_idempotency_created", "created_at"),)

    business_id: str = Field(primary_key=True, foreign_key="business.id")
    path: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body_hash: str
    status_code: int
    answer: dict[str, Any] = json()
    created_at: datetime = moment()
