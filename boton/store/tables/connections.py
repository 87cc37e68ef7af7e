"""Connections, their outages, and what their slow lanes sent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text, text
from sqlmodel import Field, SQLModel

from boton.store.tables.fields import count, moment


class ConnectionRow(SQLModel, table=True):
    """`phone`: empty until one was linked; `linked_at`: since when it is. `connected_at`: when the link last said
    `connected`. `answers_from`: what came in before that is not the bot's to answer (a restored store does not know
    what it has answered since). `slow_closed_…`: why and until when the slow lane is closed, since when, and how often
    in a row.
    """

    __tablename__ = "connection"
    __table_args__ = (
        Index(
            "ix_connection_phone_active",
            "gateway",
            "phone",
            unique=True,
            sqlite_where=text("active AND phone <> ''"),
            postgresql_where=text("active AND phone <> ''"),
        ),
    )

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id", index=True)
    gateway: str
    phone: str
    active: bool = True
    status: str
    reason: str | None = None
    status_at: datetime = moment()
    epoch: int = Field(default=0, sa_type=BigInteger)
    cursor: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = moment()
    next_step_at: datetime | None = moment(default=None, index=True)
    connected_at: datetime | None = moment(default=None)
    answers_from: datetime | None = moment(default=None)
    slow_closed_at: datetime | None = moment(default=None)
    slow_closed_until: datetime | None = moment(default=None)
    slow_closed_code: str | None = None
    slow_closures: int = count()
    linked_at: datetime | None = moment(default=None)


class PairingRow(SQLModel, table=True):
    """A phone that is being linked; or, while its connection is not `linking`, how it is to be linked if its device
    turns out to be gone. `phone`: the one that is wanted. `qr`, `code`: what it is to be shown, until `expires_at`.
    """

    __tablename__ = "pairing"

    connection_id: str = Field(primary_key=True, foreign_key="connection.id")
    method: str
    phone: str | None = None
    asked_at: datetime = moment()
    tries: int = count()
    qr: str | None = Field(default=None, sa_type=Text)
    code: str | None = None
    expires_at: datetime | None = moment(default=None)


class OutageRow(SQLModel, table=True):
    """A time in which a connection was away; what is going on now is not here yet (see `connected_at`)."""

    __tablename__ = "outage"

    connection_id: str = Field(primary_key=True, foreign_key="connection.id")
    began_at: datetime = moment(primary_key=True)
    ended_at: datetime = moment()


class LaneDayRow(SQLModel, table=True):
    """How many messages of the slow lane were claimed on a day of the business's calendar (`2026-11-22`)."""

    __tablename__ = "lane_day"

    connection_id: str = Field(primary_key=True, foreign_key="connection.id")
    day: str = Field(primary_key=True)
    claimed: int = 0
    last_at: datetime = moment()
