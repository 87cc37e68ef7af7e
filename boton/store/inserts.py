"""INSERT … ON CONFLICT DO NOTHING, which SQLite and PostgreSQL spell alike and SQLAlchemy does not."""

from __future__ import annotations

from sqlalchemy import Dialect, Table, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel


def table_of(model: type[SQLModel]) -> Table:
    """The table itself: statements on it go around the ORM, which costs more than the insert does."""
    table = inspect(model).local_table
    assert isinstance(table, Table)
    return table


def insert_or_ignore(dialect: Dialect, model: type[SQLModel]) -> sqlite.Insert | postgresql.Insert:
    """An insert that leaves rows alone which are there already; waits for a concurrent one of the same key."""
    if dialect.name == "postgresql":
        return postgresql.insert(table_of(model)).on_conflict_do_nothing()
    return sqlite.insert(table_of(model)).on_conflict_do_nothing()
