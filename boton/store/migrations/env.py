"""Run by Alembic, on the connection that `boton.store.migrate` has opened and locked."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import boton.store.tables  # noqa: F401 - fills SQLModel.metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
