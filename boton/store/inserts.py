"""Inserts around the ORM, made once and kept: what is compiled for one of them need not be compiled again."""

from __future__ import annotations

from functools import cache

from sqlalchemy import Dialect, Insert, Table, insert, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel


@cache
def insert_into(model: type[SQLModel]) -> Insert:
    """An insert into the table itself: the ORM costs more than the insert does."""
    return insert(table_of(model))


def insert_or_ignore(dialect: Dialect, model: type[SQLModel]) -> sqlite.Insert | postgresql.Insert:
    """An insert that leaves rows alone which are there already; waits for a concurrent one of the same key."""
    return _insert_or_ignore(dialect.name, model)


@cache
def _insert_or_ignore(dialect: str, model: type[SQLModel]) -> sqlite.Insert | postgresql.Insert:
    """ON CONFLICT DO NOTHING, which SQLite and PostgreSQL spell alike and SQLAlchemy does not."""
    if dialect == "postgresql":
        return postgresql.insert(table_of(model)).on_conflict_do_nothing()
    return sqlite.insert(table_of(model)).on_conflict_do_nothing()


def table_of(model: type[SQLModel]) -> Table:
    table = inspect(model).local_table
    assert isinstance(table, Table)
    return table
