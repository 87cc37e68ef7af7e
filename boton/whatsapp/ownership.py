"""Who may drive a number: the process of its highest epoch. And which earlier processes are known to be dead.

Each process holds a lock on a file of its own as long as it lives, and writes down which file that is: the machine's
present start, the device, the inode. While the process lives nothing else can have all three. So whoever finds that
very file in its own folder, and can take the lock, knows that the process is gone. A copy of the folder has other
files, and the clone of a machine was started by itself: nothing that a copy takes along tells who a host is.

Of everybody else it is not known: of a process on another host, or, where hosts share a store, from before the machine
was started anew, since a clone of the machine looks the same. They are dead once they said so, which those that live do
soon after they were followed. Not to know costs a wait before the first connect, and the attempts that they left open
stay unconfirmed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from boton.errors import SessionReplaced
from boton.machines import identify, read_start
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
        if not (self._is_from_before(row.host) or self._is_free(epoch, row.host)):
            return False
        self._note_left(epoch)
        self._path(epoch).unlink(missing_ok=True)
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
            with contextlib.suppress(SQLAlchemyError):  # then the free lock tells
                self._note_left(epoch)
                self._path(epoch).unlink(missing_ok=True)
            os.close(descriptor)
        self._locks.clear()

    def _write_down(self, epoch: int) -> None:
        self._store.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path(epoch), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        row = {"connection_id": self._connection_id, "epoch": epoch, "host": identify(descriptor)}
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self._store.engine(self._connection_id).begin() as sql:
                sql.execute(EPOCHS.insert().values(**row))
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

    def _is_from_before(self, host: str) -> bool:
        """Whether a process of the only host there is ended with the machine. Where each copy of the folder has a store
        of its own, and so messages of its own, there is no other machine to ask about.
        """
        now = read_start()
        return not self._store.is_shared and now != "" and not host.startswith(now)

    def _is_free(self, epoch: int, host: str) -> bool:
        """Whether the lock's file is the very one that the process opened, and nobody holds it."""
        try:
            descriptor = os.open(self._path(epoch), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return identify(descriptor) == host
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)

    def _ours(self) -> ColumnElement[bool]:
        return EPOCHS.c.connection_id == self._connection_id

    def _path(self, epoch: int) -> Path:
        return self._store.folder / f"{self._connection_id}.{epoch}.lock"
