"""On which day a message counts in the slow lane's limit, so that it gives back only what it took."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("message", sa.Column("counted_day", sa.String(), nullable=True))
