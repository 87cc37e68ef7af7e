"""All rows of one store into another, whatever the two are, inside the transactions of the caller."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, Table, create_engine, event, func, insert, select
from sqlmodel import SQLModel

import boton.store.tables  # noqa: F401 - fills SQLModel.metadata
from boton.errors import BotonError
from boton.postgresql import PATIENCE
from boton.store.engine import driver_url, hide_values

_AT_ONCE = 5_000
"""Rows in memory at a time; more of them copied no faster (measured)."""


class CopyIncomplete(BotonError):
    """A table of the copy does not hold what the original holds."""

    code = "copy_incomplete"

    def __init__(self, table: str, wanted: int, found: int) -> None:
        super().__init__(f"Of table {table} {found} rows of {wanted} were copied; nothing was changed. Try again.")


def postgres_engine(url: str) -> Engine:
    """For one long transaction. What it raises holds no value of a row."""
    engine = create_engine(driver_url(url), hide_parameters=True, connect_args=PATIENCE)
    event.listen(engine, "handle_error", hide_values)
    return engine


def our_tables() -> list[Table]:
    """Those that others refer to come first."""
    return SQLModel.metadata.sorted_tables


def copy_rows(source: Connection, target: Connection) -> None:
    """Copies everything into empty tables of the same revision; compares what is there then.

    Both must be in a transaction that sees one state. Raises CopyIncomplete.
    """
    for table in our_tables():
        _copy(source, target, table)
        wanted, found = _count(source, table), _count(target, table)
        if wanted != found:
            raise CopyIncomplete(table.name, wanted, found)


def _copy(source: Connection, target: Connection, table: Table) -> None:
    rows = source.execute(select(table).execution_options(yield_per=_AT_ONCE)).mappings()
    for some in rows.partitions():
        target.execute(insert(table), [dict(row) for row in some])


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()
