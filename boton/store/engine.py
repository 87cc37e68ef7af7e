"""Transactions on SQLite and PostgreSQL, off the event loop.

`write` and `read` take a function of a session and run it in one transaction on a thread. On SQLite one thread per
process writes and groups what waits into one commit (a commit is an fsync), each piece of work in a savepoint of its
own; between groups it leaves a gap, because SQLite's writers of several processes starve each other (measured).
On PostgreSQL each work is a transaction of its own, tried again when it lost a deadlock or another race.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, TypeVar, cast

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import Session

from boton.postgresql import PATIENCE, TRANSACTION_ENDED, end_frozen

T = TypeVar("T")
Work = Callable[[Session], T]
_Joining = Literal["rollback_only", "create_savepoint"]

_GROUP_SIZE = 100
_GROUP_SECONDS = 0.005
_GAP_SECONDS = 0.002
_LONG_SECONDS = 0.01
_LOOK_SECONDS = 0.001
_LOCK_SECONDS = 30.0
_BUSY = {"SQLITE_BUSY", "SQLITE_BUSY_RECOVERY", "SQLITE_BUSY_SNAPSHOT"}
_READERS = 4
_READER_CACHE_KIB = 16_000
"""At most: SQLite's own 2 MB do not hold what a deep page of a long list runs through (1.7 times as slow: measured)."""

_POSTGRES_THREADS = 8
_TRIES = 6
_LOST_RACES = {"40001", "40P01", "23503", TRANSACTION_ENDED}
"""Serialization, deadlock, a row that is gone (two chats have become one meanwhile), and a transaction that was ended
while this process was frozen.
"""


class Overtaken(Exception):
    """What a transaction has read is so no more: on PostgreSQL it is run again, from its beginning. Elsewhere nobody
    writes meanwhile.
    """


def open_database(url: str) -> Database:
    """Opens the store at a `sqlite:///…` or `postgresql://…` address; connects with the first transaction."""
    if url.startswith("sqlite"):
        return Database(_SqliteRunner(url))
    return Database(_PostgresRunner(url))


def driver_url(url: str) -> str:
    """The address with the driver we use: `postgresql://` → `postgresql+psycopg://`."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


class _Runner(Protocol):
    def submit_write(self, work: Work[Any]) -> Future[Any]: ...
    def submit_read(self, work: Work[Any]) -> Future[Any]: ...
    def close(self) -> None: ...


class Database:
    """One store, shared by everything in a process."""

    def __init__(self, runner: _Runner) -> None:
        self._runner = runner

    async def write(self, work: Work[T]) -> T:
        """Runs `work` in one durable transaction: when this returns, it is on disk.

        A cancelled caller does not undo it: the transaction ends either way.
        """
        return cast(T, await asyncio.wrap_future(self._runner.submit_write(work)))

    async def read(self, work: Work[T]) -> T:
        """Runs `work` in one read-only transaction, which sees one state."""
        return cast(T, await asyncio.wrap_future(self._runner.submit_read(work)))

    async def close(self) -> None:
        """Finishes what was submitted, then closes the connections."""
        await asyncio.to_thread(self._runner.close)


# ---------------------------------------------------------------- SQLite


def sqlite_engine(url: str, *, begin: str) -> Engine:
    """An engine whose transactions start with `begin`: IMMEDIATE for writers, so that they never fail half-way."""
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 30, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", partial(_begin, begin))
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 0"):
        connection.execute(f"PRAGMA {pragma}")


def _enlarge_cache(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute(f"PRAGMA cache_size = {-_READER_CACHE_KIB}")


def _begin(statement: str, connection: Connection) -> None:
    """Asks for the lock again and again: SQLite's own waiting sleeps up to 100 ms between two looks, and so misses
    the gaps that a busy writer of another process leaves (waited 1.2 s beside a bulk: measured). SQLAlchemy's own
    way to execute a statement would cost as much as a small read does.
    """
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            driver.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname not in _BUSY or time.monotonic() >= give_up:
                raise OperationalError(statement, None, error) from error
            time.sleep(_LOOK_SECONDS)


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    future: Future[Any]
    result: Any = None
    error: BaseException | None = None

    def run(self, connection: Connection, *, alone: bool) -> None:
        """alone: nothing stands in the transaction yet, so that a failure may take all of it back."""
        try:
            mode: _Joining = "rollback_only" if alone else "create_savepoint"
            with _KeepingSession(bind=connection, join_transaction_mode=mode) as session, _undone_by_an_error(session):
                self.result = self.work(session)
                session.commit()
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who waits on another thread
            self.error = error

    def settle(self, error: BaseException | None = None) -> None:
        error = error or self.error
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(self.result)


class _KeepingSession(Session):
    """Holds on to every row that it has read, until its transaction ends: SQLAlchemy forgets those that nobody else
    holds, and the business was read four times to answer one message.
    """

    def __init__(self, bind: Engine | Connection, **options: Any) -> None:
        super().__init__(bind, expire_on_commit=False, **options)


@event.listens_for(_KeepingSession, "loaded_as_persistent")
@event.listens_for(_KeepingSession, "pending_to_persistent")
def _keep(session: Session, row: object) -> None:
    session.info.setdefault("kept", []).append(row)


@contextmanager
def _undone_by_an_error(session: Session) -> Iterator[None]:
    """A session that is only closed leaves what it wrote in a transaction that is not its own."""
    try:
        yield
    except BaseException:
        session.rollback()
        raise


class _SqliteRunner:
    def __init__(self, url: str) -> None:
        self._writer = sqlite_engine(url, begin="BEGIN IMMEDIATE")
        self._reader = sqlite_engine(url, begin="BEGIN")
        event.listen(self._reader, "connect", _enlarge_cache)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def submit_write(self, work: Work[Any]) -> Future[Any]:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_for_ever, name="store-write", daemon=True)
                self._thread.start()
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._jobs.put(_Job(work, future))
        return future

    def submit_read(self, work: Work[Any]) -> Future[Any]:
        return self._readers.submit(_in_transaction, self._reader, work)

    def close(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
        self._readers.shutdown()
        self._writer.dispose()
        self._reader.dispose()

    def _write_for_ever(self) -> None:
        """Its connection stays its own: to fetch and return one for each group costs as much as a small statement."""
        with ExitStack() as opened:
            connection: Connection | None = None
            while (job := self._jobs.get()) is not None:
                started = time.monotonic()
                try:
                    connection = connection or opened.enter_context(self._writer.connect())
                except BaseException as error:  # noqa: BLE001 - it belongs to the caller
                    job.settle(error)
                    continue
                if not self._write_group(connection, job):
                    return
                if not self._jobs.empty() or time.monotonic() - started > _LONG_SECONDS:
                    time.sleep(_GAP_SECONDS)

    def _write_group(self, connection: Connection, first: _Job) -> bool:
        """One commit for `first` and whatever waits behind it; False when the end was asked for."""
        done: list[_Job] = []
        job: _Job | None = first
        try:
            with connection.begin():
                enough = time.monotonic() + _GROUP_SECONDS
                while job is not None:
                    done.append(job)
                    job.run(connection, alone=len(done) == 1)
                    _check_not_undone(connection)
                    if self._is_over(connection, done, enough):
                        break
                    job = self._jobs.get()
        except BaseException as error:  # noqa: BLE001 - likewise
            with suppress(sqlite3.Error):  # a COMMIT that failed leaves its transaction open
                cast(sqlite3.Connection, connection.connection.driver_connection).rollback()
            for failed in done or [first]:
                failed.settle(error)
        else:
            for finished in done:
                finished.settle()
        return job is not None

    def _is_over(self, connection: Connection, done: Sequence[_Job], enough: float) -> bool:
        """A first work that failed has ended the transaction."""
        full = len(done) >= _GROUP_SIZE or time.monotonic() >= enough
        return full or self._jobs.empty() or not connection.in_transaction()


def _check_not_undone(connection: Connection) -> None:
    """On a full disk SQLite takes the whole transaction back by itself, with what earlier works of the group wrote."""
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    if connection.in_transaction() and not driver.in_transaction:
        undone = sqlite3.OperationalError("SQLite has taken the whole transaction back")
        raise OperationalError("COMMIT", None, undone) from undone


def _in_transaction(engine: Engine, work: Work[T]) -> T:
    with _KeepingSession(engine) as session, session.begin():
        return work(session)


# ---------------------------------------------------------------- PostgreSQL


class _PostgresRunner:
    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            driver_url(url),
            hide_parameters=True,
            pool_size=_POSTGRES_THREADS,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args=PATIENCE,
        )
        end_frozen(self._engine)
        event.listen(self._engine, "handle_error", hide_values)
        self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._threads = ThreadPoolExecutor(_POSTGRES_THREADS, thread_name_prefix="store")

    def submit_write(self, work: Work[Any]) -> Future[Any]:
        return self._threads.submit(_insist, self._engine, work)

    def submit_read(self, work: Work[Any]) -> Future[Any]:
        return self._threads.submit(_insist, self._reader, work)

    def close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()


def _insist(engine: Engine, work: Work[T]) -> T:
    for attempt in range(_TRIES):
        try:
            return _in_transaction(engine, work)
        except (DBAPIError, Overtaken) as error:
            if not _is_lost_race(error) or attempt == _TRIES - 1:
                raise
            time.sleep(0.01 * 2**attempt)
    raise AssertionError("unreachable")


def _is_lost_race(error: DBAPIError | Overtaken) -> bool:
    return isinstance(error, Overtaken) or getattr(error.orig, "sqlstate", None) in _LOST_RACES


def hide_values(context: ExceptionContext) -> None:
    """PostgreSQL's details quote the values of the failing row, which may be a message's text."""
    diagnosis = getattr(context.original_exception, "diag", None)
    if diagnosis is None or diagnosis.message_primary is None:
        return
    context.original_exception.args = (diagnosis.message_primary,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (diagnosis.message_primary,)
