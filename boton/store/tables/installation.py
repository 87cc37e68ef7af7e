"""What belongs to the whole installation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from boton.store.tables.fields import moment


class LeaseRow(SQLModel, table=True):
    __tablename__ = "lease"

    name: str = Field(primary_key=True)
    holder: str
    until: datetime = moment()


class MetaRow(SQLModel, table=True):
    """Single facts about this store: Temporal's namespace id, the admin password's hash."""

    __tablename__ = "meta"

    key: str = Field(primary_key=True)
    value: str = Field(sa_type=Text)
