"""`boton held …`: what a restore or another number has stopped, and what becomes of it. Ids and counts, no text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import typer

from boton.cli.administration import print_table, with_store
from boton.clock import utc_now
from boton.domain.holds import RESTORED, Held, HeldKind
from boton.errors import NotFound
from boton.settings import Settings
from boton.store.businesses import SqlBusinessStore
from boton.store.engine import Database
from boton.store.holds import SqlHoldStore

_PAGE_SIZE = 50


def list_held(business_id: str | None, page: int) -> None:
    """One page, counted from 0, and how much there is in all."""

    async def work(database: Database, _: Settings) -> tuple[Sequence[Held], datetime | None]:
        return await _find(database, business_id, ()), await SqlHoldStore(database).fetch_backup_time()

    held, backup_at = with_store(work)
    if not held:
        typer.echo("Nothing is held.")
        return
    rows = sorted(held, key=lambda one: one.business_id)
    table = [(one.business_id, one.kind.value, one.id, one.reason, _when(one.since), str(one.messages)) for one in rows]
    begin, end = page * _PAGE_SIZE, (page + 1) * _PAGE_SIZE
    print_table(("BUSINESS", "KIND", "ID", "WHY", "SINCE", "MESSAGES"), table[begin:end])
    if end < len(table):
        typer.echo(f"{len(table) - end} more: `boton held list --page {page + 1}`.")
    typer.echo(f"Held: {in_words(held)}. `boton held resume` and `boton held cancel` take ids, or mean all of it.")
    if backup_at is not None and any(one.reason == RESTORED for one in held):
        typer.echo(
            f"The backup was made at {_when(backup_at)} UTC: what was sent after that counts as not sent here. Cancel "
            "what had gone out by then; resumed, it is sent again."
        )


def resume_held(business_id: str | None, ids: Sequence[str]) -> None:
    async def work(database: Database, _: Settings) -> Sequence[Held]:
        held = await _find(database, business_id, ids)
        await SqlHoldStore(database).resume(held, utc_now())
        return held

    typer.echo(f"Resumed: {in_words(with_store(work))}. The worker takes it up within seconds of its running.")


def cancel_held(business_id: str | None, ids: Sequence[str]) -> None:
    async def work(database: Database, _: Settings) -> Sequence[Held]:
        held = await _find(database, business_id, ids)
        await SqlHoldStore(database).cancel(held, utc_now())
        return held

    typer.echo(f"Cancelled: {in_words(with_store(work))}.")


def find_held() -> Sequence[Held]:
    """All of it. Raises StoreTooNew or StoreNotMigrated."""

    async def work(database: Database, _: Settings) -> Sequence[Held]:
        return await _find(database, None, ())

    return with_store(work)


def in_words(held: Sequence[Held]) -> str:
    """How much of each kind; a chat is one that waits for an answer."""
    kinds = Counter(one.kind for one in held)
    return f"{kinds[HeldKind.SEND]} sends, {kinds[HeldKind.REMINDER]} reminders, {kinds[HeldKind.CHAT]} chats"


async def _find(database: Database, business_id: str | None, ids: Sequence[str]) -> list[Held]:
    """Those of the ids; without ids all. Raises NotFound for a business, or an id, that has nothing held."""
    if business_id is not None:
        await SqlBusinessStore(database).fetch_business(business_id)
    held = await SqlHoldStore(database).list_held(business_id)
    for id in ids:
        if all(one.id != id for one in held):
            raise NotFound("held send, reminder or chat", id)
    return [one for one in held if not ids or one.id in ids]


def _when(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")
