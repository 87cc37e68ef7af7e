"""Turns in rounds with tools, follow-ups, hand-offs, and what a business's tokens are."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

from boton.store.columns import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("business", sa.Column("daily_token_budget", sa.Integer(), nullable=False, server_default=sa.text("1000000")))
    op.add_column("chat", sa.Column("bot_unanswered", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("chat", sa.Column("handed_off_at", UtcDateTime(), nullable=True))
    op.add_column("chat", sa.Column("handed_off_reason", sa.Text(), nullable=True))
    op.add_column("chat", sa.Column("turn_id", sa.String(), nullable=True))
    op.add_column("turn", sa.Column("recomposed", sa.Integer(), nullable=False, server_default=sa.text("0")))
    of_turn = sa.text("turn_id IS NOT NULL")
    op.create_index("ix_message_turn", "message", ["turn_id"], sqlite_where=of_turn, postgresql_where=of_turn)
    _end_in_time()
    _create_rounds()
    _create_follow_ups()
    op.create_table(
        "token_day",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_token_day_business_id"),
        sa.PrimaryKeyConstraint("business_id", "day", name="pk_token_day"),
    )


def _end_in_time() -> None:
    """Conversations that go on now had no end before."""
    end = datetime.now(UTC) + timedelta(hours=72)
    conversation = sa.table(
        "conversation", sa.column("status"), sa.column("ended_at"), sa.column("deadline_at", UtcDateTime())
    )
    chat = sa.table("chat", sa.column("conversation_id"), sa.column("next_step_at", UtcDateTime()))
    going = (conversation.c.ended_at.is_(None), conversation.c.status != "opening")
    op.execute(conversation.update().where(*going).values(deadline_at=end))
    waiting = (chat.c.conversation_id.is_not(None), chat.c.next_step_at.is_(None))
    op.execute(chat.update().where(*waiting).values(next_step_at=end))


def _create_rounds() -> None:
    op.create_table(
        "turn_round",
        sa.Column("turn_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("tokens_in", sa.Integer(), nullable=False),
        sa.Column("tokens_out", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_turn_round_turn_id"),
        sa.PrimaryKeyConstraint("turn_id", "number", name="pk_turn_round"),
    )
    op.create_table(
        "tool_call",
        sa.Column("turn_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("ok", sa.Boolean(), nullable=True),
        sa.Column("effect", sa.JSON(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_tool_call_turn_id"),
        sa.PrimaryKeyConstraint("turn_id", "number", "position", name="pk_tool_call"),
    )


def _create_follow_ups() -> None:
    op.create_table(
        "follow_up",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("chat_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_follow_up_business_id"),
        sa.ForeignKeyConstraint(["chat_id"], ["chat.id"], name="fk_follow_up_chat_id"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name="fk_follow_up_conversation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_follow_up"),
    )
    pending = sa.text("status = 'pending'")
    op.create_index(
        "ix_follow_up_pending", "follow_up", ["chat_id", "due_at"], sqlite_where=pending, postgresql_where=pending
    )
    op.create_index("ix_follow_up_conversation", "follow_up", ["conversation_id"])
