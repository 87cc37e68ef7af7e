"""`boton link <business>`: the QR code in the terminal, anew as it changes, until the phone is linked."""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import time
from dataclasses import dataclass

import segno
import typer

from boton.cli.administration import with_store
from boton.clock import utc_now
from boton.domain.connections import NEEDS_A_PERSON, Connection, ConnectionStatus, Gateway
from boton.domain.jid import parse_phone
from boton.domain.linking import LinkMethod, LinkRequest, Pairing
from boton.settings import Settings
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database
from boton.store.linking import SqlLinkingStore

_LOOK_SECONDS = 0.5
_PATIENCE = 240.0
"""Longer than any pairing lasts, the start of its process included."""

_CONNECT_PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the terminal shows. code: it appears in place of the one before."""

    line: str
    code: str | None = None


def link_phone(business_id: str, phone: str | None) -> int:
    """The exit code: 0 once it is linked, 1 where it was not."""
    number = None if phone is None else parse_phone(phone)
    method = LinkMethod.QR if number is None else LinkMethod.CODE
    wanted = LinkRequest(gateway=Gateway.WHATSAPP, phone=number, method=method)

    async def work(database: Database, _: Settings) -> int:
        linked = await SqlLinkingStore(database).link(business_id, wanted, utc_now(), lambda *_: {})
        return await _follow(database, linked.connection_id)

    try:
        return with_store(work)
    except KeyboardInterrupt:
        typer.echo(
            "The phone can be linked for three minutes more: the page at / shows the code. `boton link` begins anew."
        )
        raise


async def _follow(database: Database, connection_id: str) -> int:
    """Shows each new step until there is no next one."""
    connections, linking = SqlConnectionStore(database), SqlLinkingStore(database)
    shown: View | None = None
    linked, since = False, time.monotonic()
    task = asyncio.current_task()
    while time.monotonic() - since < (_CONNECT_PATIENCE if linked else _PATIENCE):
        connection = (await connections.fetch_connection(connection_id)).as_seen(utc_now())
        view = to_view(connection, await linking.fetch_pairing(connection_id))
        if view != shown:
            _show(view, shown)
            shown = view
        if (code := exit_code(connection)) is not None:
            return code
        if linked != (connection.linked_at is not None):
            linked, since = not linked, time.monotonic()
        if task is not None and task.cancelling():  # Ctrl-C, lost on its way through the database's driver
            raise asyncio.CancelledError
        await asyncio.sleep(_LOOK_SECONDS)
    typer.echo("Not connected yet; `boton business list` says how it stands.")
    return 1


def to_view(connection: Connection, pairing: Pairing | None) -> View:
    """What is to be shown of a number."""
    now = utc_now()
    if connection.status is ConnectionStatus.LINKING and pairing is not None:
        step = pairing.next_step(now)
        if not pairing.shown(now):
            return View(line=step)
        return View(line=step, code=draw(pairing.qr) if pairing.qr else f"    {pairing.code}")
    if connection.status is ConnectionStatus.CONNECTED:
        return View(line=f"Linked: +{connection.phone} is connected.")
    if connection.linked_at is not None and connection.status not in NEEDS_A_PERSON:
        return View(line=f"Linked: +{connection.phone}. It is connecting…")
    return View(line=connection.reason or connection.status.value)


def exit_code(connection: Connection) -> int | None:
    """None: it is not over."""
    if connection.status is ConnectionStatus.CONNECTED:
        return 0
    return 1 if not connection.active or connection.status in NEEDS_A_PERSON else None


def draw(content: str) -> str:
    """A QR code in half-height characters, narrow enough for most terminals."""
    drawn = io.StringIO()
    segno.make_qr(content, error="l").terminal(out=drawn, compact=True, border=2)
    return drawn.getvalue().rstrip("\n")


def _show(view: View, before: View | None) -> None:
    """On a terminal a new code takes the old one's place, white on black whatever its colours are."""
    on_terminal = sys.stdout.isatty()
    if before is not None and before.code is not None and on_terminal:
        sys.stdout.write(f"\x1b[{_height(before.code)}A\x1b[J")
    for row in (view.code or "").splitlines():
        typer.echo(f"\x1b[97;40m{row}\x1b[0m" if on_terminal else row)
    typer.echo(view.line)
    if view.code is not None and on_terminal and _height(view.code) >= shutil.get_terminal_size().lines:
        typer.echo(
            "This window is too low for the whole code: make it higher, or use --phone or the page at /.", err=True
        )


def _height(code: str) -> int:
    """Rows of the screen that it takes with its line."""
    return code.count("\n") + 2
