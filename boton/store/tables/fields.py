"""Kinds of columns that many tables have, and the names of their constraints."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, text
from sqlmodel import Field, SQLModel

from boton.store.columns import UtcDateTime

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
"""Every constraint has a name, the same on SQLite and PostgreSQL, by which a later migration can change it."""


def moment(**kwargs: Any) -> Any:
    return Field(sa_type=UtcDateTime, **kwargs)


def json(**kwargs: Any) -> Any:
    return Field(sa_type=JSON, **kwargs)


def count() -> Any:
    return Field(default=0, sa_column_kwargs={"server_default": text("0")})
