"""Who may drive a number: the process of its highest epoch. And which earlier processes are known to be dead.

Each process holds a lock on a file of its own as long as it lives. Whoever can take that lock knows that it is gone. A
process of another host is known to be gone only if it said so: nobody else can tell a dead host from a slow one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from boton.errors import SessionReplaced
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.own_tables import EPOCHS

_REMEMBERED = 100


class Ownership:
    """One process's claim on one number. Everything blocks, for milliseconds."""

    def __init__(self, store: DeviceStore, connection_id: str) -> None:
        self._store = store
        self._connection_id = connection_id
        self._locks: dict[int, int] = {}
        self._epoch = 0

    def take(self, epoch: int) -> None:
        """From now on processes of lower epochs own nothing. Raises SessionReplaced when a higher one has opened."""
        if epoch not in self._locks:
            self._write_down(epoch)
        self._epoch = epoch
        self.check()
        with self._store.engine(self._connection_id).begin() as sql:
            old = self._ours() & (EPOCHS.c.epoch < epoch - _REMEMBERED)
            sql.execute(delete(EPOCHS).where(old, EPOCHS.c.left_in_order))

    def check(self) -> None:
        """Raises SessionReplaced once a higher epoch has opened."""
        newest = select(func.max(EPOCHS.c.epoch)).where(self._ours())
        with self._store.engine(self._connection_id).connect() as sql:
            highest = sql.execute(newest).scalar_one()
        if highest is not None and highest > self._epoch:
            raise SessionReplaced("A newer process has opened this number.")

    def is_mine(self, epoch: int) -> bool:
        return epoch in self._locks

    def is_dead(self, epoch: int) -> bool:
        """Whether the process of a lower epoch is known to be gone, or never opened the number."""
        one = self._ours() & (EPOCHS.c.epoch == epoch)
        with self._store.engine(self._connection_id).connect() as sql:
            row = sql.execute(select(EPOCHS.c.host, EPOCHS.c.left_in_order).where(one)).one_or_none()
        if row is None or row.left_in_order:
            return True
        if row.host != self._host() or not self._is_free(epoch):
            return False
        self._note_left(epoch)
        return True

    def is_predecessor_dead(self) -> bool:
        """Whether the last process before this one is. That one has waited for those before it, or found out that some
        never tell.
        """
        last = select(func.max(EPOCHS.c.epoch)).where(self._ours(), EPOCHS.c.epoch < self._epoch)
        with self._store.engine(self._connection_id).connect() as sql:
            epoch = sql.execute(last).scalar_one()
        return epoch is None or self.is_mine(epoch) or self.is_dead(epoch)

    def leave(self) -> None:
        """This process can send nothing any more. Only after the library was stopped."""
        for epoch, descriptor in self._locks.items():
            with contextlib.suppress(Exception):
                self._note_left(epoch)
            os.close(descriptor)
            self._path(epoch).unlink(missing_ok=True)
        self._locks.clear()

    def _write_down(self, epoch: int) -> None:
        host = self._host()
        descriptor = os.open(self._path(epoch), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self._store.engine(self._connection_id).begin() as sql:
                sql.execute(EPOCHS.insert().values(connection_id=self._connection_id, epoch=epoch, host=host))
        except (BlockingIOError, IntegrityError):
            os.close(descriptor)
            raise SessionReplaced("Another process has opened this number under the same epoch.") from None
        except BaseException:
            os.close(descriptor)
            raise
        self._locks[epoch] = descriptor

    def _note_left(self, epoch: int) -> None:
        one = self._ours() & (EPOCHS.c.epoch == epoch)
        with self._store.engine(self._connection_id).begin() as sql:
            sql.execute(update(EPOCHS).where(one).values(left_in_order=True))

    def _is_free(self, epoch: int) -> bool:
        """Whether nobody holds the lock of an epoch of this host."""
        descriptor = os.open(self._path(epoch), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        self._path(epoch).unlink(missing_ok=True)
        return True

    def _ours(self) -> ColumnElement[bool]:
        return EPOCHS.c.connection_id == self._connection_id

    def _path(self, epoch: int) -> Path:
        return self._store.folder / f"{self._connection_id}.{epoch}.lock"

    def _host(self) -> str:
        """Names the folder of the lock files: two hosts have two, even on one machine."""
        self._store.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._store.folder / "host"
        if not path.exists():
            fresh = path.with_suffix(f".{secrets.token_hex(4)}")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_hex(16))
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)  # whole or not at all, and only one wins
            fresh.unlink()
        return path.read_text()
