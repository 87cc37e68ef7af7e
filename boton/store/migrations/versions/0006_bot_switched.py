"""When the bot was switched on or off in a chat."""

import sqlalchemy as sa
from alembic import op

from boton.store.columns import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("chat", sa.Column("bot_switched_at", UtcDateTime(), nullable=True))
