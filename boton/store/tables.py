"""The tables, as SQLModel sees them. They never leave the store: what crosses is a domain object.

A column `next_step_at` says when unfinished work is due again; NULL: nothing is owed. The sweeper reads only that.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, Text, false, text
from sqlmodel import Field, SQLModel

from boton.store.columns import UtcDateTime

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name, the same on SQLite and PostgreSQL, by which a later migration can change it."""


IN_FLIGHT = text("status IN ('sending', 'unconfirmed')")
"""Of messages. Queries name it as it stands here: SQLite uses a partial index only for a condition it recognizes, and
without it every question for these few messages reads all there are.
"""

DRAFTED = text("status = 'queued' AND send_id IS NULL")
"""Of messages: what the bot or a human of the business wants to say in one chat. Named as it stands, likewise."""

DUE = text("answer = 'due'")
"""Of messages: what the bot is to answer. Named as it stands, likewise."""

OF_TURN = text("turn_id IS NOT NULL")
"""Of messages: what a turn answers or says. Named as it stands, likewise."""

SUSPENDED = text("answer = 'suspended'")
"""Of messages: after a restore, what the bot answers only when it is told to. Named as it stands, likewise."""

PENDING = text("status = 'pending'")
"""Of follow-ups. Named as it stands, likewise."""

UNFINISHED = text("status IN ('queued', 'scheduled', 'running', 'paused')")
"""Of sends. Named as it stands, likewise."""


def _moment(**kwargs: Any) -> Any:
    return Field(sa_type=UtcDateTime, **kwargs)


def _json(**kwargs: Any) -> Any:
    return Field(sa_type=JSON, **kwargs)


def _count() -> Any:
    return Field(default=0, sa_column_kwargs={"server_default": text("0")})


class BusinessRow(SQLModel, table=True):
    __tablename__ = "business"

    id: str = Field(primary_key=True)
    created_at: datetime = _moment()
    business_name: str
    business_description: str = Field(default="", sa_type=Text)
    bot_purpose: str = "attend"
    guardrails: str = Field(default="", sa_type=Text)
    custom_instructions: str = Field(default="", sa_type=Text)
    bot_new_chats: bool = False
    timezone: str | None = None
    language: str | None = None
    takeover_minutes: int = 120
    quiet_hours: dict[str, Any] | None = _json(default=None)
    pacing: dict[str, Any] | None = _json(default=None)
    debounce_seconds: float = 4.0
    follow_ups: list[Any] = _json()
    conversation_hours: int = 72
    opt_out_words: list[Any] = _json()
    send_ttl_hours: int = 24
    answer_within_minutes: int = 360
    daily_token_budget: int = Field(default=1_000_000, sa_column_kwargs={"server_default": text("1000000")})
    auto_replies: list[Any] = _json()


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
    created_at: datetime = _moment()
    last_used_at: datetime | None = _moment(default=None)
    revoked_at: datetime | None = _moment(default=None)


class ConnectionRow(SQLModel, table=True):
    """`connected_at`: when the link last said `connected`. `answers_from`: what came in before that is not the bot's
    to answer (a restored store does not know what it has answered since). `slow_closed_…`: why and until when the
    slow lane is closed, since when, and how often in a row.
    """

    __tablename__ = "connection"
    __table_args__ = (
        Index(
            "ix_connection_phone_active",
            "gateway",
            "phone",
            unique=True,
            sqlite_where=text("active"),
            postgresql_where=text("active"),
        ),
    )

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id", index=True)
    gateway: str
    phone: str
    active: bool = True
    status: str
    reason: str | None = None
    status_at: datetime = _moment()
    epoch: int = Field(default=0, sa_type=BigInteger)
    cursor: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = _moment()
    next_step_at: datetime | None = _moment(default=None, index=True)
    connected_at: datetime | None = _moment(default=None)
    answers_from: datetime | None = _moment(default=None)
    slow_closed_at: datetime | None = _moment(default=None)
    slow_closed_until: datetime | None = _moment(default=None)
    slow_closed_code: str | None = None
    slow_closures: int = _count()


class OutageRow(SQLModel, table=True):
    """A time in which a connection was away; what is going on now is not here yet (see `connected_at`)."""

    __tablename__ = "outage"

    connection_id: str = Field(primary_key=True, foreign_key="connection.id")
    began_at: datetime = _moment(primary_key=True)
    ended_at: datetime = _moment()


class LaneDayRow(SQLModel, table=True):
    """How many messages of the slow lane were claimed on a day of the business's calendar (`2026-11-22`)."""

    __tablename__ = "lane_day"

    connection_id: str = Field(primary_key=True, foreign_key="connection.id")
    day: str = Field(primary_key=True)
    claimed: int = 0
    last_at: datetime = _moment()


class ChatRow(SQLModel, table=True):
    """A customer of a business. `bot_decided`: the bot was switched on or off here, or the customer has written:
    from then on the chat is not a new one. `known`: a message went either way, or the API said so. `registered`: it
    was seen on WhatsApp. `marketing_unanswered`, `bot_unanswered`: marketing messages, and messages of the bot, since
    the customer last wrote. `handed_off_at`: the bot handed the chat to a human, who has not written yet. `turn_id`:
    the bot's newest turn that is no opening.
    """

    __tablename__ = "chat"
    __table_args__ = (Index("ix_chat_newest", "business_id", "active_at", "id"),)

    id: str = Field(primary_key=True)
    business_id: str = Field(foreign_key="business.id")
    jid: str
    name: str | None = None
    name_is_ours: bool = False
    bot_enabled: bool = False
    bot_decided: bool = False
    untouchable: bool = False
    opted_out: bool = False
    known: bool = False
    registered: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    marketing_unanswered: int = _count()
    bot_unanswered: int = _count()
    handed_off_at: datetime | None = _moment(default=None)
    handed_off_reason: str | None = Field(default=None, sa_type=Text)
    taken_over_at: datetime | None = _moment(default=None)
    takeover_until: datetime | None = _moment(default=None)
    first_incoming_at: datetime | None = _moment(default=None)
    last_turn_at: datetime | None = _moment(default=None)
    conversation_id: str | None = None
    turn_id: str | None = None
    message_count: int = 0
    last_text: str | None = Field(default=None, sa_type=Text)
    last_direction: str | None = None
    last_at: datetime | None = _moment(default=None)
    active_at: datetime = _moment()
    created_at: datetime = _moment()
    next_step_at: datetime | None = _moment(default=None, index=True)


class AliasRow(SQLModel, table=True):
    """Every JID under which a customer of a business is known; all of them lead to one chat."""

    __tablename__ = "chat_alias"

    business_id: str = Field(primary_key=True, foreign_key="business.id")
    jid: str = Field(primary_key=True)
    chat_id: str = Field(foreign_key="chat.id", index=True)


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
    rejected: list[Any] = _json()
    respect_quiet_hours: bool = False
    created_at: datetime = _moment()
    send_at: datetime | None = _moment(default=None)
    expires_at: datetime | None = _moment(default=None)
    started_at: datetime | None = _moment(default=None)
    finished_at: datetime | None = _moment(default=None)
    next_step_at: datetime | None = _moment(default=None, index=True)
    ttl_seconds: int | None = None
    resumed_at: datetime | None = _moment(default=None)
    waiting: str | None = None
    waiting_until: datetime | None = _moment(default=None)
    hold: str | None = None
    reminder_id: str | None = None


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
    created_at: datetime = _moment()
    ended_at: datetime | None = _moment(default=None)
    deadline_at: datetime | None = _moment(default=None)


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
    recomposed: int = _count()
    created_at: datetime = _moment()
    closed_at: datetime | None = _moment(default=None)


class RoundRow(SQLModel, table=True):
    """One answer of the model within a turn: what it wrote, and how many tools it called (see `tool_call`)."""

    __tablename__ = "turn_round"

    turn_id: str = Field(primary_key=True, foreign_key="turn.id")
    number: int = Field(primary_key=True)
    text: str = Field(sa_type=Text)
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    created_at: datetime = _moment()


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
    effect: dict[str, Any] | None = _json(default=None)
    created_at: datetime = _moment()
    answered_at: datetime | None = _moment(default=None)


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
    due_at: datetime = _moment()
    text: str | None = Field(default=None, sa_type=Text)
    status: str
    created_at: datetime = _moment()
    ended_at: datetime | None = _moment(default=None)


class TokenDayRow(SQLModel, table=True):
    """How many tokens a business has used on a day of its calendar (`2026-11-22`)."""

    __tablename__ = "token_day"

    business_id: str = Field(primary_key=True, foreign_key="business.id")
    day: str = Field(primary_key=True)
    tokens: int = Field(default=0, sa_type=BigInteger)


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
    at: datetime = _moment()
    created_at: datetime = _moment()
    jid: str
    whatsapp_id: str | None = None
    # outgoing
    lane: str | None = None
    refusals: int = _count()
    send_id: str | None = Field(default=None, foreign_key="send.id")
    position: int | None = None
    recipient: str | None = None
    reference: str | None = None
    conversation_id: str | None = Field(default=None, foreign_key="conversation.id")
    turn_id: str | None = Field(default=None, foreign_key="turn.id")
    expires_at: datetime | None = _moment(default=None)
    attempt_id: str | None = None
    epoch: int | None = Field(default=None, sa_type=BigInteger)
    counted_day: str | None = None
    error_code: str | None = None
    error_detail: str | None = None
    sent_at: datetime | None = _moment(default=None)
    replied_at: datetime | None = _moment(default=None)
    # incoming
    answer: str | None = None


class ReceiptRow(SQLModel, table=True):
    """A receipt for a message id that is not known yet: kept, and matched when the id is recorded."""

    __tablename__ = "receipt"

    connection_id: str = Field(primary_key=True, foreign_key="connection.id")
    whatsapp_id: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    chat_id: str = Field(primary_key=True)
    at: datetime = _moment()


class EventRow(SQLModel, table=True):
    __tablename__ = "event"
    __table_args__ = (Index("ix_event_at", "at"),)

    business_id: str = Field(primary_key=True, foreign_key="business.id")
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    id: str
    type: str
    at: datetime = _moment()
    data: dict[str, Any] = _json()


class IdempotencyRow(SQLModel, table=True):
    """The first answer to a request with an Idempotency-Key, kept 30 days."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("ix_idempotency_created", "created_at"),)

    business_id: str = Field(primary_key=True, foreign_key="business.id")
    path: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body_hash: str
    status_code: int
    answer: dict[str, Any] = _json()
    created_at: datetime = _moment()


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
    starts_at: datetime | None = _moment(default=None)
    minutes: list[Any] | None = _json(default=None)
    every: str | None = None
    timezone: str | None = None
    event_at: datetime | None = _moment(default=None)
    cancel_on_reply: bool = False
    expire_after_minutes: int = 360
    respect_quiet_hours: bool = False
    next_at: datetime | None = _moment(default=None)
    created_at: datetime = _moment()
    ended_at: datetime | None = _moment(default=None)
    next_step_at: datetime | None = _moment(default=None, index=True)
    hold: str | None = None


class FiringRow(SQLModel, table=True):
    """One firing of a reminder, known by (reminder, planned time): it fires once, as a send of its own.

    `expires_at`: from then on it is too late.
    """

    __tablename__ = "firing"

    reminder_id: str = Field(primary_key=True, foreign_key="reminder.id")
    at: datetime = _moment(primary_key=True)
    status: str
    message_id: str | None = Field(default=None, foreign_key="message.id")
    send_id: str | None = None
    expires_at: datetime | None = _moment(default=None)


class LeaseRow(SQLModel, table=True):
    __tablename__ = "lease"

    name: str = Field(primary_key=True)
    holder: str
    until: datetime = _moment()


class MetaRow(SQLModel, table=True):
    """Single facts about this store: Temporal's namespace id, the admin password's hash."""

    __tablename__ = "meta"

    key: str = Field(primary_key=True)
    value: str = Field(sa_type=Text)
