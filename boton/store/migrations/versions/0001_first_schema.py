"""The first schema."""

import sqlalchemy as sa
from alembic import op

from boton.store.columns import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "business",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("business_name", sa.String(), nullable=False),
        sa.Column("business_description", sa.Text(), nullable=False),
        sa.Column("bot_purpose", sa.String(), nullable=False),
        sa.Column("guardrails", sa.Text(), nullable=False),
        sa.Column("custom_instructions", sa.Text(), nullable=False),
        sa.Column("bot_new_chats", sa.Boolean(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=True),
        sa.Column("language", sa.String(), nullable=True),
        sa.Column("takeover_minutes", sa.Integer(), nullable=False),
        sa.Column("quiet_hours", sa.JSON(), nullable=True),
        sa.Column("pacing", sa.JSON(), nullable=True),
        sa.Column("debounce_seconds", sa.Float(), nullable=False),
        sa.Column("follow_ups", sa.JSON(), nullable=False),
        sa.Column("conversation_hours", sa.Integer(), nullable=False),
        sa.Column("opt_out_words", sa.JSON(), nullable=False),
        sa.Column("send_ttl_hours", sa.Integer(), nullable=False),
        sa.Column("answer_within_minutes", sa.Integer(), nullable=False),
        sa.Column("auto_replies", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_business"),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lease"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "chat",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("jid", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("name_is_ours", sa.Boolean(), nullable=False),
        sa.Column("bot_enabled", sa.Boolean(), nullable=False),
        sa.Column("bot_decided", sa.Boolean(), nullable=False),
        sa.Column("untouchable", sa.Boolean(), nullable=False),
        sa.Column("opted_out", sa.Boolean(), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("taken_over_at", UtcDateTime(), nullable=True),
        sa.Column("takeover_until", UtcDateTime(), nullable=True),
        sa.Column("first_incoming_at", UtcDateTime(), nullable=True),
        sa.Column("last_turn_at", UtcDateTime(), nullable=True),
        sa.Column("conversation_id", sa.String(), nullable=True),
        sa.Column("message_count", sa.Integer(), nullable=False),
        sa.Column("last_text", sa.Text(), nullable=True),
        sa.Column("last_direction", sa.String(), nullable=True),
        sa.Column("last_at", UtcDateTime(), nullable=True),
        sa.Column("active_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("next_step_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_chat_business_id"),
        sa.PrimaryKeyConstraint("id", name="pk_chat"),
    )
    op.create_index("ix_chat_newest", "chat", ["business_id", "active_at", "id"])
    op.create_index("ix_chat_next_step_at", "chat", ["next_step_at"])
    op.create_table(
        "connection",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("phone", sa.String(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("status_at", UtcDateTime(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("next_step_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_connection_business_id"),
        sa.PrimaryKeyConstraint("id", name="pk_connection"),
    )
    op.create_index("ix_connection_business_id", "connection", ["business_id"])
    op.create_index("ix_connection_next_step_at", "connection", ["next_step_at"])
    op.create_index(
        "ix_connection_phone_active",
        "connection",
        ["gateway", "phone"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "event",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_event_business_id"),
        sa.PrimaryKeyConstraint("business_id", "seq", name="pk_event"),
    )
    op.create_index("ix_event_at", "event", ["at"])
    op.create_table(
        "idempotency",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("body_hash", sa.String(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_idempotency_business_id"),
        sa.PrimaryKeyConstraint("business_id", "path", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created", "idempotency", ["created_at"])
    op.create_table(
        "tally",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("chats", sa.Integer(), nullable=False),
        sa.Column("active_bot_chats", sa.Integer(), nullable=False),
        sa.Column("untouchable_chats", sa.Integer(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_tally_business_id"),
        sa.PrimaryKeyConstraint("business_id", name="pk_tally"),
    )
    op.create_table(
        "token",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_token_business_id"),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sa.UniqueConstraint("secret_hash", name="uq_token_secret_hash"),
    )
    op.create_index("ix_token_business_id", "token", ["business_id"])
    op.create_table(
        "chat_alias",
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("jid", sa.String(), nullable=False),
        sa.Column("chat_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_chat_alias_business_id"),
        sa.ForeignKeyConstraint(["chat_id"], ["chat.id"], name="fk_chat_alias_chat_id"),
        sa.PrimaryKeyConstraint("business_id", "jid", name="pk_chat_alias"),
    )
    op.create_index("ix_chat_alias_chat_id", "chat_alias", ["chat_id"])
    op.create_table(
        "receipt",
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("whatsapp_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("chat_id", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], name="fk_receipt_connection_id"),
        sa.PrimaryKeyConstraint("connection_id", "whatsapp_id", "kind", "chat_id", name="pk_receipt"),
    )
    op.create_table(
        "reminder",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("chat_id", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("instruction", sa.Text(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("every", sa.String(), nullable=True),
        sa.Column("timezone", sa.String(), nullable=True),
        sa.Column("event_at", UtcDateTime(), nullable=True),
        sa.Column("cancel_on_reply", sa.Boolean(), nullable=False),
        sa.Column("expire_after_minutes", sa.Integer(), nullable=False),
        sa.Column("respect_quiet_hours", sa.Boolean(), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("next_step_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_reminder_business_id"),
        sa.ForeignKeyConstraint(["chat_id"], ["chat.id"], name="fk_reminder_chat_id"),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], name="fk_reminder_connection_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reminder"),
    )
    op.create_index("ix_reminder_chat_id", "reminder", ["chat_id"])
    op.create_index("ix_reminder_newest", "reminder", ["business_id", "created_at", "id"])
    op.create_index("ix_reminder_next_step_at", "reminder", ["next_step_at"])
    op.create_table(
        "send",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("fast", sa.Boolean(), nullable=False),
        sa.Column("rejected", sa.JSON(), nullable=False),
        sa.Column("respect_quiet_hours", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("send_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("next_step_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_send_business_id"),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], name="fk_send_connection_id"),
        sa.PrimaryKeyConstraint("id", name="pk_send"),
    )
    op.create_index("ix_send_newest", "send", ["business_id", "created_at", "id"])
    op.create_index("ix_send_next_step_at", "send", ["next_step_at"])
    op.create_table(
        "conversation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("chat_id", sa.String(), nullable=False),
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("send_id", sa.String(), nullable=True),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("deadline_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_conversation_business_id"),
        sa.ForeignKeyConstraint(["chat_id"], ["chat.id"], name="fk_conversation_chat_id"),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], name="fk_conversation_connection_id"),
        sa.ForeignKeyConstraint(["send_id"], ["send.id"], name="fk_conversation_send_id"),
        sa.PrimaryKeyConstraint("id", name="pk_conversation"),
    )
    op.create_index("ix_conversation_chat_id", "conversation", ["chat_id"])
    op.create_index("ix_conversation_newest", "conversation", ["business_id", "created_at", "id"])
    op.create_index("ix_conversation_send_id", "conversation", ["send_id"])
    op.create_table(
        "turn",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("chat_id", sa.String(), nullable=False),
        sa.Column("trigger_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=True),
        sa.Column("opening", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("tokens_in", sa.Integer(), nullable=False),
        sa.Column("tokens_out", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_turn_business_id"),
        sa.ForeignKeyConstraint(["chat_id"], ["chat.id"], name="fk_turn_chat_id"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name="fk_turn_conversation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_turn"),
    )
    op.create_index("ix_turn_key", "turn", ["chat_id", "trigger_id"], unique=True)
    op.create_table(
        "message",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("business_id", sa.String(), nullable=False),
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("chat_id", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("jid", sa.String(), nullable=False),
        sa.Column("whatsapp_id", sa.String(), nullable=True),
        sa.Column("send_id", sa.String(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("recipient", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("conversation_id", sa.String(), nullable=True),
        sa.Column("turn_id", sa.String(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("attempt_id", sa.String(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_detail", sa.String(), nullable=True),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("replied_at", UtcDateTime(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_message_business_id"),
        sa.ForeignKeyConstraint(["chat_id"], ["chat.id"], name="fk_message_chat_id"),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], name="fk_message_connection_id"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name="fk_message_conversation_id"),
        sa.ForeignKeyConstraint(["send_id"], ["send.id"], name="fk_message_send_id"),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name="fk_message_turn_id"),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
    )
    op.create_index("ix_message_chat", "message", ["chat_id", "at", "id"])
    op.create_index(
        "ix_message_draft",
        "message",
        ["chat_id"],
        sqlite_where=sa.text("status = 'queued' AND turn_id IS NOT NULL"),
        postgresql_where=sa.text("status = 'queued' AND turn_id IS NOT NULL"),
    )
    op.create_index(
        "ix_message_due",
        "message",
        ["chat_id"],
        sqlite_where=sa.text("answer = 'due'"),
        postgresql_where=sa.text("answer = 'due'"),
    )
    op.create_index(
        "ix_message_in_flight",
        "message",
        ["connection_id"],
        sqlite_where=sa.text("status IN ('sending', 'unconfirmed')"),
        postgresql_where=sa.text("status IN ('sending', 'unconfirmed')"),
    )
    op.create_index("ix_message_send_claim", "message", ["send_id", "status", "position"])
    op.create_index("ix_message_send_list", "message", ["send_id", "position"])
    op.create_index(
        "ix_message_unreplied",
        "message",
        ["chat_id"],
        sqlite_where=sa.text("send_id IS NOT NULL AND sent_at IS NOT NULL AND replied_at IS NULL"),
        postgresql_where=sa.text("send_id IS NOT NULL AND sent_at IS NOT NULL AND replied_at IS NULL"),
    )
    op.create_index(
        "ix_message_whatsapp",
        "message",
        ["connection_id", "chat_id", "whatsapp_id"],
        unique=True,
        sqlite_where=sa.text("whatsapp_id IS NOT NULL"),
        postgresql_where=sa.text("whatsapp_id IS NOT NULL"),
    )
    op.create_table(
        "firing",
        sa.Column("reminder_id", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name="fk_firing_message_id"),
        sa.ForeignKeyConstraint(["reminder_id"], ["reminder.id"], name="fk_firing_reminder_id"),
        sa.PrimaryKeyConstraint("reminder_id", "at", name="pk_firing"),
    )
