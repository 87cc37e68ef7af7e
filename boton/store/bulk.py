"""Many rows of one table, converted for the driver before the transaction that inserts them begins.

SQLite has one writer at a time: 10,000 messages kept the others waiting for 0.4 s, most of it for conversions in
Python; inserted like this it is 0.1 s (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnDefault, Dialect, Insert
from sqlalchemy.sql.compiler import SQLCompiler
from sqlmodel import Session, SQLModel


@dataclass(frozen=True, slots=True)
class Bulk:
    """An insert and its rows, as the driver takes them."""

    statement: str
    rows: Sequence[Any]


def to_bulk(dialect: Dialect, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> Bulk:
    """Every row must have the same keys, and there must be one; what is left out gets its column's default.

    `statement` is one that is kept (see `inserts`): it is compiled once.
    """
    plan = _plan(dialect, statement, tuple(rows[0]))
    complete = ({**plan.defaults, **row} for row in rows)
    converted = [tuple(convert(row[name]) for name, convert in plan.steps) for row in complete]
    if plan.positional:
        return Bulk(plan.statement, converted)
    names = [name for name, _ in plan.steps]
    return Bulk(plan.statement, [dict(zip(names, row, strict=True)) for row in converted])


@dataclass(frozen=True, slots=True)
class _Plan:
    """How rows with certain keys are inserted: a conversion for each of the statement's parameters, in their order."""

    statement: str
    defaults: Mapping[str, Any]
    steps: Sequence[tuple[str, Callable[[Any], Any]]]
    positional: bool


@lru_cache(maxsize=64)
def _plan(dialect: Dialect, statement: Insert, keys: tuple[str, ...]) -> _Plan:
    columns = statement.table.columns
    defaults = {column.name: column.default.arg for column in columns if isinstance(column.default, ColumnDefault)}
    compiled = statement.compile(dialect=dialect, column_keys=[*defaults, *keys])
    assert isinstance(compiled, SQLCompiler)
    names = list(compiled.positiontup or compiled.params)
    converters = [columns[name].type.dialect_impl(dialect).bind_processor(dialect) or _as_it_is for name in names]
    return _Plan(str(compiled), defaults, list(zip(names, converters, strict=True)), compiled.positional)


def insert_bulk(session: Session, bulk: Bulk) -> None:
    session.connection().exec_driver_sql(bulk.statement, bulk.rows)


def insert_rows(session: Session, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """A few rows, likewise: the ORM takes as long for one of them as the whole transaction takes for the others."""
    insert_bulk(session, to_bulk(session.get_bind().dialect, statement, rows))


def insert_row(session: Session, statement: Insert, row: SQLModel) -> None:
    """One that need not be the session's afterwards."""
    insert_rows(session, statement, [{column.name: getattr(row, column.name) for column in statement.table.columns}])


def _as_it_is(value: Any) -> Any:
    return value
