"""A backup: one SQLite file with our schema, whatever the store is, made while everything runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, TextClause, func, insert, select
from sqlmodel import SQLModel, col

from boton.domain.chats import AnswerDecision
from boton.domain.reminders import ReminderStatus
from boton.store.copying import copy_rows, postgres_engine
from boton.store.engine import sqlite_engine
from boton.store.meta import BACKUP_KEY
from boton.store.migrate import migrate, sqlite_file
from boton.store.sqlite_files import copy_pages, make_whole, verify
from boton.store.tables import UNFINISHED, BusinessRow, ChatRow, MessageRow, MetaRow, ReminderRow, SendRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a store or a backup holds. sends, reminders: unfinished ones. answers: messages that the bot owes one."""

    businesses: int
    chats: int
    messages: int
    sends: int
    reminders: int
    answers: int


def back_up(url: str, file: Path, now: datetime) -> Contents:
    """Fills `file`, which is empty, with all that the store holds at one moment, and verifies it.

    The store must have this version's schema. Raises FileDamaged, CopyIncomplete.
    """
    store = sqlite_file(url)
    if store is not None:
        copy_pages(store, file, "mode=rw")
    else:
        _copy_snapshot(url, file)
    engine = sqlite_engine(f"sqlite:///{file}", begin="BEGIN IMMEDIATE")
    with engine.begin() as connection:
        connection.execute(insert(MetaRow), {"key": BACKUP_KEY, "value": now.isoformat()})
        contents = read_contents(connection)
    engine.dispose()
    make_whole(file)
    verify(file)
    return contents


def _copy_snapshot(url: str, file: Path) -> None:
    """One REPEATABLE READ transaction sees one state, and keeps nobody from writing."""
    migrate(f"sqlite:///{file}")
    source, target = postgres_engine(url), sqlite_engine(f"sqlite:///{file}", begin="BEGIN IMMEDIATE")
    snapshot = source.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with snapshot.begin() as reading, target.begin() as writing:
        copy_rows(reading, writing)
    source.dispose()
    target.dispose()


def read_contents(connection: Connection) -> Contents:
    """Counts; of a million messages it takes a moment."""

    def count(table: type[SQLModel], *conditions: ColumnElement[bool] | TextClause) -> int:
        return connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()

    return Contents(
        businesses=count(BusinessRow),
        chats=count(ChatRow),
        messages=count(MessageRow),
        sends=count(SendRow, UNFINISHED),
        reminders=count(ReminderRow, col(ReminderRow.status) == ReminderStatus.SCHEDULED.value),
        answers=count(MessageRow, col(MessageRow.answer) == AnswerDecision.DUE.value),
    )
