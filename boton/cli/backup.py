"""`boton backup`, while everything runs, and `boton restore`, while nothing does: straight on the store."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from boton.cli.devices import find_without_device, how_to_link
from boton.cli.locks import lock_data_dir, take_lock
from boton.cli.obstacles import Obstacle
from boton.clock import utc_now
from boton.errors import Conflict
from boton.settings import Settings, read_settings
from boton.store.backup import Contents, back_up
from boton.store.migrate import check
from boton.store.restore import Permission, restore
from boton.store.sqlite_files import fsync, remove

_MEGABYTE = 1_000_000


def make_backup(file: Path, *, force: bool) -> None:
    """The file appears complete or not at all."""
    began = time.monotonic()
    settings = read_settings()
    check(settings.store_url)
    file = file.absolute()
    _check_absent(file, force=force)
    with _partial(file) as partial:
        contents = back_up(settings.store_url, partial, utc_now())
        _check_absent(file, force=force)
        os.replace(partial, file)
    fsync(file.parent)
    typer.echo(f"{file}: {_in_words(contents)}.")
    typer.echo(f"{file.stat().st_size / _MEGABYTE:.1f} MB, verified, {time.monotonic() - began:.1f} s.")


def _check_absent(file: Path, *, force: bool) -> None:
    if file.is_dir():
        raise Obstacle(f"{file} is a folder: name the file in it that the backup becomes.")
    if file.exists() and not force:
        raise Conflict(f"{file} exists already: choose another name, or --force to replace it.")


@contextmanager
def _partial(file: Path) -> Iterator[Path]:
    """A file of its owner's beside that one, for as long as it is not complete."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".partial", dir=file.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        remove(Path(name))


def restore_backup(file: Path, *, replace: bool, force: bool) -> None:
    """Nothing unfinished goes on until it is resumed."""
    began = time.monotonic()
    os.umask(0o077)
    settings = read_settings()
    with _alone(settings):
        permission = Permission(replace=replace, force=force)
        restored = restore(settings.store_url, file, settings.data_dir.absolute(), permission, utc_now())
    typer.echo(f"Restored the backup of {restored.made_at:%Y-%m-%d %H:%M} UTC: {_in_words(restored.contents)}.")
    if restored.aside is not None:
        typer.echo(f"The store that was there is {restored.aside} now.")
    if unlinked := find_without_device():
        typer.echo(f"{how_to_link(unlinked)}, once `boton up` runs.")
    typer.echo(f"{time.monotonic() - began:.1f} s. Nothing unfinished goes on by itself: `boton held list` shows it,")
    typer.echo("`boton held resume` and `boton held cancel` decide, before or after the next `boton up`.")


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Nothing of BOTON starts on the folder meanwhile. Raises Obstacle where something runs."""
    with ExitStack() as stack:
        stack.callback(lock_data_dir(settings.data_dir).close)
        host = take_lock(settings.data_dir / "connections.lock")
        if host is None:
            raise Obstacle(f"`boton connections` runs on the folder {settings.data_dir}: stop it first.")
        stack.callback(host.close)
        yield


def _in_words(contents: Contents) -> str:
    kept = f"{contents.businesses} businesses, {contents.chats} chats, {contents.messages} messages"
    waiting = f"{contents.sends} sends, {contents.reminders} reminders, {contents.answers} messages to answer"
    return f"{kept}; unfinished: {waiting}"
