"""Where a number's linked device lives, so that the number's next process finds it.

With SQLite each connection has two files under `DATA_DIR/whatsapp`: `<connection id>.db` is the library's,
`<connection id>.boton.db` ours. With PostgreSQL all numbers share the schema `whatsapp`: the library finds its tables
in exactly one schema of a database.

Everything here blocks, for milliseconds: call it in a thread.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Engine, create_engine, delete, event, inspect, text
from sqlalchemy.engine import URL, make_url

from boton.domain.jid import JID
from boton.postgresql import FROZEN_SECONDS, PATIENCE, end_frozen
from boton.whatsapp.own_tables import DEVICES, METADATA

_SCHEMA = "whatsapp"
_FILE_OPTIONS = "_foreign_keys=on&_journal_mode=WAL&_busy_timeout=15000&_txlock=immediate&_z="
"""Of the library's SQLite driver; `_z=` swallows what the library itself appends."""

_DRIVER_OPTIONS = {"host", "port", "sslmode", "sslcert", "sslkey", "sslrootcert", "connect_timeout"}
"""What the library's PostgreSQL driver understands of an address; it fails on anything else."""

_SETTING_UP = 0x626F746F6E  # "boton"
_FILES = (".db", ".db-wal", ".db-shm", ".boton.db", ".boton.db-wal", ".boton.db-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A linked device. jid: with its device part (`5491138620812:7@s.whatsapp.net`), as the library wants it.

    key: from which the secrets of our attempts are derived; it never leaves this machine.
    """

    jid: str
    lid: str | None
    key: bytes
    linked_at: datetime

    @property
    def phone(self) -> str:
        return self.jid.partition("@")[0].partition(":")[0].partition(".")[0]


class DeviceStore:
    """The devices of all connections. database_url: the store's; SQLite means files in `data_dir`."""

    def __init__(self, data_dir: Path, database_url: str) -> None:
        self.folder = data_dir.absolute() / "whatsapp"
        self._url = make_url(database_url)
        self._engines: dict[str, Engine] = {}

    @property
    def is_shared(self) -> bool:
        """Whether other hosts see it too."""
        return self._url.get_backend_name() != "sqlite"

    def library_name(self, connection_id: str) -> str:
        """What the library takes as the name of its database."""
        if self.is_shared:
            return _to_library_url(self._url)
        return f"{self._file(connection_id, '.db')}?{_FILE_OPTIONS}"

    def find_device(self, connection_id: str) -> Device | None:
        """The connection's linked device; None when none was linked, or it was logged out meanwhile."""
        if not self.is_shared and not self._file(connection_id, ".boton.db").exists():
            return None
        engine = self.engine(connection_id)
        if not inspect(engine).has_table("whatsmeow_device", schema=_SCHEMA):
            return None
        with engine.connect() as sql:
            row = sql.execute(_FIND_DEVICE, {"id": connection_id}).one_or_none()
        if row is None:
            return None
        linked_at = datetime.fromtimestamp(row.linked_ms / 1000, UTC)
        return Device(jid=row.jid, lid=_without_device(row.lid), key=bytes(row.key), linked_at=linked_at)

    def assign(self, connection_id: str, jid: str) -> None:
        """From now on this device is the connection's."""
        now = int(datetime.now(UTC).timestamp() * 1000)
        row = {"connection_id": connection_id, "jid": jid, "key": secrets.token_bytes(32), "linked_ms": now}
        with self.engine(connection_id).begin() as sql:
            sql.execute(delete(DEVICES).where(DEVICES.c.connection_id == connection_id))
            sql.execute(DEVICES.insert().values(**row))

    def remove(self, connection_id: str) -> None:
        """Forgets the connection's device, keys and journal. The phone still lists the device unless it was logged
        out. No process of the connection may be running.
        """
        if not self.is_shared:
            self._dispose(connection_id)
            for suffix in _FILES:
                self._file(connection_id, suffix).unlink(missing_ok=True)
            return
        device = self.find_device(connection_id)
        with self.engine(connection_id).begin() as sql:
            if device is not None:
                sql.execute(text("DELETE FROM whatsmeow_device WHERE jid = :jid"), {"jid": device.jid})
            for table in METADATA.sorted_tables:
                sql.execute(delete(table).where(table.c.connection_id == connection_id))

    def engine(self, connection_id: str) -> Engine:
        """Both the library's tables and ours, by their plain names."""
        key = "" if self.is_shared else connection_id
        if key not in self._engines:
            self._engines[key] = self._open(connection_id)
        return self._engines[key]

    def index_secrets(self, connection_id: str) -> None:
        """The library has no index by the secret itself, and keeps thousands. Only once its tables exist."""
        where = "" if self.is_shared else f"{_SCHEMA}."
        with self.engine(connection_id).begin() as sql:
            sql.execute(text(f"CREATE INDEX IF NOT EXISTS {where}boton_by_secret ON whatsmeow_message_secrets (key)"))

    def close(self) -> None:
        for connection_id in list(self._engines):
            self._dispose(connection_id)

    def _dispose(self, key: str) -> None:
        engine = self._engines.pop(key, None)
        if engine is not None:
            engine.dispose()

    def _file(self, connection_id: str, suffix: str) -> Path:
        return self.folder / f"{connection_id}{suffix}"

    def _open(self, connection_id: str) -> Engine:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = self._open_shared() if self.is_shared else self._open_file(connection_id)
        with engine.begin() as sql:
            if self.is_shared:
                sql.execute(text(f"SELECT pg_advisory_xact_lock({_SETTING_UP})"))
                sql.execute(text(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}"))
            METADATA.create_all(sql)
        return engine

    def _open_shared(self) -> Engine:
        options = PATIENCE | {"options": f"-csearch_path={_SCHEMA}"}
        url = self._url.set(drivername="postgresql+psycopg").difference_update_query(["options"])
        engine = create_engine(url, connect_args=options, pool_size=2, pool_pre_ping=True, hide_parameters=True)
        end_frozen(engine)
        return engine

    def _open_file(self, connection_id: str) -> Engine:
        ours, librarys = self._file(connection_id, ".boton.db"), self._file(connection_id, ".db")
        for file in (ours, librarys):
            file.touch(mode=0o600)
        url = URL.create("sqlite", database=str(ours))
        engine = create_engine(url, connect_args={"timeout": 15, "check_same_thread": False}, hide_parameters=True)

        @event.listens_for(engine, "connect")
        def _attach(raw: Any, _record: object) -> None:
            raw.execute("PRAGMA journal_mode=WAL")
            raw.execute("PRAGMA synchronous=FULL")
            raw.execute(f"ATTACH DATABASE ? AS {_SCHEMA}", (str(librarys),))

        return engine


_FIND_DEVICE = text(
    "SELECT whatsmeow_device.jid, whatsmeow_device.lid, boton_devices.key, boton_devices.linked_ms "
    "FROM boton_devices JOIN whatsmeow_device ON whatsmeow_device.jid = boton_devices.jid "
    "WHERE boton_devices.connection_id = :id"
)


def _to_library_url(url: URL) -> str:
    """The same database for `lib/pq`, which knows no `prefer` and asks for TLS where nothing is said."""
    query: dict[str, Any] = {key: value for key, value in url.query.items() if key in _DRIVER_OPTIONS}
    if query.get("sslmode") in {None, "prefer", "allow"}:
        query["sslmode"] = "disable" if _is_near(url) else "require"
    query |= {"search_path": _SCHEMA, "idle_in_transaction_session_timeout": f"{FROZEN_SECONDS}s"}
    plain = URL.create("postgres", url.username, url.password, url.host, url.port, url.database)
    return f"{plain.render_as_string(hide_password=False)}?{urlencode(query)}"


def _is_near(url: URL) -> bool:
    """A socket or loopback, where nobody speaks TLS."""
    host = str(url.query.get("host") or url.host or "/")
    return host.startswith("/") or host in {"localhost", "127.0.0.1", "::1"}


def _without_device(jid: str | None) -> str | None:
    user, _, server = (jid or "").partition("@")
    return str(JID(user.partition(":")[0].partition(".")[0], server)) if user else None
