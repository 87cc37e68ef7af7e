"""`boton business …` and `boton token …`: straight on the store, whether or not anything runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import typer

from boton.clock import utc_now
from boton.domain.connections import Connection
from boton.errors import Invalid
from boton.settings import Settings, read_settings
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.migrate import check

T = TypeVar("T")


def with_store(work: Callable[[Database, Settings], Awaitable[T]]) -> T:
    """Runs `work` on the migrated store. Raises StoreTooNew or StoreNotMigrated."""
    os.umask(0o077)
    settings = read_settings()
    check(settings.store_url)

    async def run() -> T:
        database = open_database(settings.store_url)
        try:
            return await work(database, settings)
        finally:
            await database.close()

    return asyncio.run(run())


def create_business(name: str, *, answer_new_chats: bool) -> None:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 200:
        raise Invalid("A business's name has 1 to 200 characters.")

    async def work(database: Database, _: Settings) -> str:
        business = await SqlBusinessStore(database).create_business(name, bot_new_chats=answer_new_chats, now=_now())
        return business.id

    typer.echo(with_store(work))


def list_businesses() -> None:
    async def work(database: Database, _: Settings) -> list[tuple[str, ...]]:
        connections = SqlConnectionStore(database)
        rows: list[tuple[str, ...]] = []
        for business in await SqlBusinessStore(database).list_businesses():
            active = await connections.fetch_active_connection(business.id)
            connection = active.as_seen(utc_now()) if active else None
            rows.append((business.id, business.name, *_state(connection)))
        return rows

    print_table(("ID", "NAME", "PHONE", "GATEWAY", "STATUS"), with_store(work))


def _state(connection: Connection | None) -> tuple[str, str, str]:
    if connection is None:
        return ("-", "-", "-")
    return connection.phone or "-", connection.gateway.value, connection.status.value


def create_token(business_id: str, name: str) -> None:
    async def work(database: Database, _: Settings) -> str:
        return (await SqlBusinessStore(database).create_token(business_id, name, _now())).secret

    typer.echo(with_store(work))


def list_tokens(business_id: str | None) -> None:
    async def work(database: Database, _: Settings) -> list[tuple[str, ...]]:
        businesses = SqlBusinessStore(database)
        if business_id is not None:
            await businesses.fetch_business(business_id)
        return [
            (each.id, each.business_id, each.hint, each.name, _when(each.last_used_at), _when(each.revoked_at))
            for each in await businesses.list_tokens(business_id)
        ]

    print_table(("ID", "BUSINESS", "HINT", "NAME", "LAST USED", "REVOKED"), with_store(work))


def revoke_token(token_id: str) -> None:
    async def work(database: Database, _: Settings) -> None:
        await SqlBusinessStore(database).revoke_token(token_id, _now())

    with_store(work)
    typer.echo(f"{token_id} is revoked.")


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as what stands in them."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _when(moment: datetime | None) -> str:
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M")


def _now() -> datetime:
    return datetime.now(UTC)
