"""Messages, and receipts that came before their message was known."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text, text
from sqlmodel import Field, SQLModel

from boton.store.tables.conditions import DRAFTED, DUE, IN_FLIGHT, OF_TURN, SUSPENDED
from boton.store.tables.fields import count, moment


class MessageRow(SQLModel, table=True):
    """A message either way. `text` is NULL only for an opening that the model has not written yet. `counted_day`: the
    day of the slow lane in which its claim counts (`LaneDayRow.day`); NULL: in none.
    """

    __tablename__ = "message"
    __table_args__ = (
        Index("ix_message_chat", "chat_id", "at", "id"),
        Index("ix_message_send_claim", "send_id", "lane", "status", "position"),
        Index("ix_message_send_list", "send_id", "position"),
        Index(
            "ix_message_whatsapp",
            "connection_id",
            "chat_id",
            "whatsapp_id",
            unique=True,
            sqlite_where=text("whatsapp_id IS NOT NULL"),
            postgresql_where=text("whatsapp_id IS NOT NULL"),
        ),
        Index("ix_message_turn", "turn_id", sqlite_where=OF_TURN, postgresql_where=OF_TURN),
        Index(
            "ix_message_in_flight",
            "connection_id",
            sqlite_where=IN_FLIGHT,
            postgresql_where=IN_FLIGHT,
        ),
        Index(
            "ix_message_due",
            "chat_id",
            sqlite_where=DUE,
            postgresql_where=DUE,
        ),
        Index("ix_message_suspended", "chat_id", sqlite_where=SUSPENDED, postgresql_where=SUSPENDED),
        Index(
            "ix_message_draft",
            "chat_id",
            sqlite_where=DRAFTED,
            postgresql_where=DRAFTED,
        ),
        Index(
            "ix_message_unreplied",
            "chat_id",
            sqlite_where=text("send_id IS NOT NULL AND sent_at IS NOT NULL AND replied_at IS NULL"),
            postgresql_where=text("send_id IS NOT NULL AND sent_at IS NOT NULL AND replied_at IS NULL"),
        ),
    )

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id")
    connection_id: str = Field(foreign_key="connection.id")
    chat_id: str = Field(foreign_key="chat.id")
    direction: str
    kind: str
    type: str = "text"
    sender: str
    text: str | None = Field(default=None, sa_type=Text)
    status: str
    at: datetime = moment()
    created_at: datetime = moment()
    jid: str
    whatsapp_id: str | None = None
    # outgoing
    lane: str | None = None
    refusals: int = count()
    send_id: str | None = Field(default=None, foreign_key="send.id")
    position: int | None = None
    recipient: str | None = None
    reference: str | None = None
    conversation_id: str | None = Field(default=None, foreign_key="conversation.id")
    turn_id: str | None = Field(default=None, foreign_key="turn.id")
    expires_at: datetime | None = moment(default=None)
    attempt_id: str | None = None
    epoch: int | None = Field(default=None, sa_type=BigInteger)
    counted_day: str | None = None
    error_code: str | None = None
    error_detail: str | None = None
    sent_at: datetime | None = moment(default=None)
    replied_at: datetime | None = moment(default=None)
    # incoming
    answer: str | None = None


class ReceiptRow(SQLModel, table=True):
    """A receipt for a message id that is not known yet: kept, and matched when the id is recorded."""

    __tablename__ = "receipt"

    connection_id: str = Field(primary_key=True, foreign_key="connection.id")
    whatsapp_id: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    chat_id: str = Field(primary_key=True)
    at: datetime = moment()
