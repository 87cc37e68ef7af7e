"""The one-shot process before all others of `boton up`: `python -m boton.cli.prepare`.

Migrates the store, seeds it on the first run, prepares Temporal's namespace, and prints one JSON line (`Prepared`)
for the supervisor. It is a process of its own so that the supervisor never loads what all of this needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from boton.cli.obstacles import Obstacle, obstacles_told
from boton.cli.upfile import write_private
from boton.leaving import leave
from boton.passwords import hash_password, new_password
from boton.settings import Settings, read_settings

if TYPE_CHECKING:
    from boton.domain.businesses import Business
    from boton.store.businesses import SqlBusinessStore
    from boton.store.engine import Database
    from boton.store.meta import SqlMetaStore

DEMO_NAME = "Mi Negocio"
DEMO_PHONE = "5491138620812"
PASSWORD_KEY = "admin_password_hash"  # noqa: S105 - the name of a fact in the store
_BUSINESS_KEY, _CONNECTION_KEY = "demo_business", "demo_connection"
_TEMPORAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """phone: of the active connection. token: None when its file holds one that was revoked.

    admin_password: only when it was made in this run.
    """

    business_id: str
    business_name: str
    phone: str | None
    token: str | None = field(repr=False)
    admin_password: str | None = field(repr=False)


def main() -> None:
    os.umask(0o077)
    with obstacles_told():
        settings = read_settings()
        from boton.store.migrate import migrate

        migrate(settings.store_url)
        print(json.dumps(asdict(asyncio.run(_prepare(settings)))), flush=True)
    leave(0)


async def _prepare(settings: Settings) -> Prepared:
    from boton.store.engine import open_database

    await _prepare_temporal(settings)
    database = open_database(settings.store_url)
    try:
        return await seed(database, settings)
    finally:
        await database.close()


async def seed(database: Database, settings: Settings) -> Prepared:
    """The demo business with its token and, where the simulator is on, its connection; the admin password.

    Each step is made once in a store's life, and none twice when an earlier run was cut off in the middle. The
    password comes last: after it nothing can fail, and it is told only once.
    """
    from boton.store.businesses import SqlBusinessStore
    from boton.store.meta import SqlMetaStore

    meta, businesses = SqlMetaStore(database), SqlBusinessStore(database)
    if settings.temporal_address is None:
        await _forget_earlier_links(database)
    business = await _ensure_business(meta, businesses)
    return Prepared(
        business_id=business.id,
        business_name=business.name,
        phone=await _ensure_connection(database, meta, business.id, settings.simulator),
        token=await _ensure_token(businesses, business.id, settings.data_dir / "demo-token"),
        admin_password=await _ensure_password(meta, settings),
    )


async def _ensure_business(meta: SqlMetaStore, businesses: SqlBusinessStore) -> Business:
    known = await meta.get(_BUSINESS_KEY)
    if known is not None:
        return await businesses.fetch_business(known)
    found = next((each for each in await businesses.list_businesses() if each.name == DEMO_NAME), None)
    business = found or await businesses.create_business(DEMO_NAME, bot_new_chats=True, now=_now())
    await meta.put_if_absent(_BUSINESS_KEY, business.id)
    return business


async def _ensure_connection(database: Database, meta: SqlMetaStore, business_id: str, simulator: bool) -> str | None:
    from boton.domain.connections import Gateway
    from boton.store.connections import SqlConnectionStore

    connections = SqlConnectionStore(database)
    connection = await connections.fetch_active_connection(business_id)
    if connection is None and simulator and await meta.get(_CONNECTION_KEY) is None:
        connection = await connections.create_connection(business_id, Gateway.SIMULATOR, DEMO_PHONE, _now())
    if connection is None:
        return None
    await meta.put_if_absent(_CONNECTION_KEY, connection.id)
    return connection.phone


async def _forget_earlier_links(database: Database) -> None:
    """Who is alone on this store holds no number yet: what an earlier life left as connected is not, and a link of it
    that should still live may send nothing more.
    """
    from boton.domain.connections import ConnectionStatus
    from boton.store.connections import SqlConnectionStore

    connections = SqlConnectionStore(database)
    for connection in await connections.list_active_connections():
        if connection.status is ConnectionStatus.CONNECTED:
            await connections.raise_epoch(connection.id, _now())


async def _ensure_token(businesses: SqlBusinessStore, business_id: str, file: Path) -> str | None:
    """The token in the file while it is good; a new one where there is no file. A revoked one stays revoked."""
    secret = _read_text(file)
    if secret is None:
        new = await businesses.create_token(business_id, "demo", _now())
        write_private(file, new.secret + "\n")
        return new.secret
    caller = await businesses.authenticate(secret, _now()) if secret else None
    return secret if caller is not None and caller.business_id == business_id else None


def _read_text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8").strip() if file.exists() else None


async def _ensure_password(meta: SqlMetaStore, settings: Settings) -> str | None:
    """The clear text of a password that was made just now; the store keeps its hash alone."""
    if settings.admin_password is not None or await meta.get(PASSWORD_KEY) is not None:
        return None
    password = new_password()
    hashed = hash_password(password)
    return password if await meta.put_if_absent(PASSWORD_KEY, hashed) == hashed else None


async def _prepare_temporal(settings: Settings) -> None:
    from temporalio.service import RPCError

    from boton.cli.temporal_access import connect_temporal
    from boton.temporal import prepare_namespace

    deadline = time.monotonic() + _TEMPORAL_SECONDS
    while True:
        try:
            return await prepare_namespace(await connect_temporal(settings), embedded=settings.temporal_address is None)
        except (RuntimeError, RPCError, OSError) as error:
            if time.monotonic() >= deadline:
                raise Obstacle(_unreachable(settings, error)) from None
        await asyncio.sleep(0.2)


def _unreachable(settings: Settings, error: Exception) -> str:
    what = "check BOTON_TEMPORAL_ADDRESS" if settings.temporal_address else "see logs/temporal.log"
    return f"Temporal at {settings.temporal_target} does not answer ({type(error).__name__}): {what}."


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
