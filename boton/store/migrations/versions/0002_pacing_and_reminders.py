"""Lanes, pacing, outages, holds, and what reminders need."""

import sqlalchemy as sa
from alembic import op

from boton.store.columns import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _change_connections()
    _change_chats()
    _change_sends()
    _change_messages()
    _change_reminders()


def _change_connections() -> None:
    for name in ("connected_at", "answers_from", "slow_closed_at", "slow_closed_until"):
        op.add_column("connection", sa.Column(name, UtcDateTime(), nullable=True))
    op.add_column("connection", sa.Column("slow_closed_code", sa.String(), nullable=True))
    op.add_column("connection", sa.Column("slow_closures", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.create_table(
        "outage",
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], name="fk_outage_connection_id"),
        sa.PrimaryKeyConstraint("connection_id", "began_at", name="pk_outage"),
    )
    op.create_table(
        "lane_day",
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("claimed", sa.Integer(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], name="fk_lane_day_connection_id"),
        sa.PrimaryKeyConstraint("connection_id", "day", name="pk_lane_day"),
    )


def _change_chats() -> None:
    op.add_column("chat", sa.Column("registered", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("chat", sa.Column("marketing_unanswered", sa.Integer(), nullable=False, server_default=sa.text("0")))


def _change_sends() -> None:
    op.add_column("send", sa.Column("lanes", sa.String(), nullable=False, server_default="slow"))
    op.execute("UPDATE send SET lanes = 'fast' WHERE fast")
    op.drop_column("send", "fast")
    op.add_column("send", sa.Column("ttl_seconds", sa.Integer(), nullable=True))
    for name in ("resumed_at", "waiting_until"):
        op.add_column("send", sa.Column(name, UtcDateTime(), nullable=True))
    for name in ("waiting", "hold", "reminder_id"):
        op.add_column("send", sa.Column(name, sa.String(), nullable=True))
    unfinished = sa.text("status IN ('queued', 'scheduled', 'running', 'paused')")
    op.create_index(
        "ix_send_unfinished", "send", ["connection_id"], sqlite_where=unfinished, postgresql_where=unfinished
    )
    op.create_index("ix_send_reminder", "send", ["reminder_id"])


def _change_messages() -> None:
    op.add_column("message", sa.Column("lane", sa.String(), nullable=True))
    op.add_column("message", sa.Column("refusals", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.execute("UPDATE message SET lane = (SELECT lanes FROM send WHERE send.id = send_id) WHERE send_id IS NOT NULL")
    op.drop_index("ix_message_send_claim", "message")
    op.create_index("ix_message_send_claim", "message", ["send_id", "lane", "status", "position"])
    drafted = sa.text("status = 'queued' AND send_id IS NULL")
    op.drop_index("ix_message_draft", "message")
    op.create_index("ix_message_draft", "message", ["chat_id"], sqlite_where=drafted, postgresql_where=drafted)
    held = sa.text("answer = 'suspended'")
    op.create_index("ix_message_suspended", "message", ["chat_id"], sqlite_where=held, postgresql_where=held)


def _change_reminders() -> None:
    op.add_column("reminder", sa.Column("recipient", sa.String(), nullable=True))
    op.add_column("reminder", sa.Column("minutes", sa.JSON(), nullable=True))
    for name in ("starts_at", "ended_at"):
        op.add_column("reminder", sa.Column(name, UtcDateTime(), nullable=True))
    op.add_column("reminder", sa.Column("hold", sa.String(), nullable=True))
    op.add_column("firing", sa.Column("send_id", sa.String(), nullable=True))
    op.add_column("firing", sa.Column("expires_at", UtcDateTime(), nullable=True))
