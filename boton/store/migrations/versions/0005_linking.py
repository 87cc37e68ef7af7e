"""Phones that are being linked, and since when a connection is."""

import sqlalchemy as sa
from alembic import op

from boton.store.columns import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("connection", sa.Column("linked_at", UtcDateTime(), nullable=True))
    op.execute("UPDATE connection SET linked_at = created_at")
    op.drop_index("ix_connection_phone_active", "connection")
    known = sa.text("active AND phone <> ''")
    op.create_index(
        "ix_connection_phone_active",
        "connection",
        ["gateway", "phone"],
        unique=True,
        sqlite_where=known,
        postgresql_where=known,
    )
    op.create_table(
        "pairing",
        sa.Column("connection_id", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("phone", sa.String(), nullable=True),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("qr", sa.Text(), nullable=True),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["connection_id"], ["connection.id"], name="fk_pairing_connection_id"),
        sa.PrimaryKeyConstraint("connection_id", name="pk_pairing"),
    )
