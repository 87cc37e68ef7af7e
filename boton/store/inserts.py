"""INSERT … ON CONFLICT DO NOTHING, which SQLite and PostgreSQL spell alike and SQLAlchemy does not."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel


def insert_or_ignore(session: Session, table: type[SQLModel]) -> sqlite.Insert | postgresql.Insert:
    """An insert that leaves rows alone which are there already; waits for a concurrent one of the same key."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()
