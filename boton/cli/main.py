"""The `boton` command. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from boton.cli.children import python_command
from boton.cli.obstacles import obstacles_told

app = typer.Typer(
    name="boton",
    help="BOTON turns a WhatsApp number into something a business can program.\n\n"
    "`boton up` runs everything on this machine. Settings are BOTON_… variables or lines of a `.env` file.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
business = typer.Typer(no_args_is_help=True, help="The businesses in the store.")
token = typer.Typer(no_args_is_help=True, help="The tokens with which programs use the API.")
held = typer.Typer(no_args_is_help=True, help="What a restore or another number has stopped, and what becomes of it.")
app.add_typer(business, name="business")
app.add_typer(token, name="token")
app.add_typer(held, name="held")


def _example(*lines: str) -> str:
    return "**Examples**\n\n" + "\n\n".join(f"`{line}`" for line in lines)


@app.command(epilog=_example("boton up", "BOTON_API_PORT=8080 BOTON_DATA_DIR=/srv/boton boton up"))
def up() -> None:
    """Starts everything on this machine and keeps it running until Ctrl-C.

    A Temporal server with its web UI, the API, the workers, the connection host and the simulator.
    """
    with obstacles_told():
        from boton.cli.up import up as run_up
        from boton.settings import read_settings

        run_up(read_settings())


@app.command(epilog=_example("boton api", "BOTON_API_HOST=0.0.0.0 BOTON_DATABASE_URL=postgresql://… boton api"))
def api() -> None:
    """The REST API and the dashboard: one process, for deployments."""
    _become("api", on_store=True)


@app.command(epilog=_example("boton worker", "BOTON_TEMPORAL_ADDRESS=temporal:7233 boton worker"))
def worker() -> None:
    """Runs workflows and calls the language model: one process, as many as you like."""
    _become("worker", on_store=True)


@app.command(epilog=_example("boton connections", "BOTON_METRICS_PORT=9402 boton connections"))
def connections() -> None:
    """Holds WhatsApp connections, each in a process of its own: one host, several with PostgreSQL."""
    _become("connections", on_store=True)


@app.command(epilog=_example("boton simulator", "BOTON_SIMULATOR_PORT=8901 boton simulator"))
def simulator() -> None:
    """Stands in for the WhatsApp network and all its phones. Has a page to play the customer by hand."""
    _become("simulator", on_store=False)


@app.command(epilog=_example("boton migrate", "BOTON_DATABASE_URL=postgresql://… boton migrate"))
def migrate() -> None:
    """Brings the store to this version. Safe to repeat; `boton up` does it by itself."""
    with obstacles_told():
        from boton.settings import read_settings
        from boton.store.migrate import migrate as run_migrate

        os.umask(0o077)
        run_migrate(read_settings().store_url)
        typer.echo("The store is up to date.")


@app.command(epilog=_example("boton backup boton-monday.db", "boton backup --force /mnt/backup/boton.db"))
def backup(
    file: Annotated[Path, typer.Argument(help="What the backup becomes: one file.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file where there is one.")] = False,
) -> None:
    """Copies the whole store into one file while everything runs. Holds texts and numbers: keep it safe."""
    with obstacles_told():
        from boton.cli.backup import make_backup

        make_backup(file, force=force)


@app.command(epilog=_example("boton restore boton-monday.db", "boton restore --replace /mnt/backup/boton.db"))
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `boton backup` has made.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace a store that holds a business.")] = False,
    force: Annotated[bool, typer.Option("--force", help="PostgreSQL: also if a number was heard of lately.")] = False,
) -> None:
    """Makes a backup the store, while nothing runs. Everything unfinished is held then: see `boton held`."""
    with obstacles_told():
        from boton.cli.backup import restore_backup

        restore_backup(file, replace=replace, force=force)


@app.command(epilog=_example("boton doctor"))
def doctor() -> None:
    """Checks everything a newcomer trips on, and says what to do. Exit code 1 when something will not work."""
    with obstacles_told():
        from boton.cli.doctor import examine

        raise typer.Exit(examine())


@app.command(epilog=_example("boton find 5491138620812", "boton find '+54 9 11 3862-0812'"))
def find(phone: Annotated[str, typer.Argument(help="A number with country code, or a JID.")]) -> None:
    """Shows a customer's chat, its state, and its workflows with links to the Temporal UI."""
    with obstacles_told():
        from boton.cli.find import show_chat
        from boton.leaving import leave

        leave(0 if show_chat(phone) else 1)


@business.command(
    "create", epilog=_example('boton business create "Mi Negocio"', "boton business create Kiosco --answer-new-chats")
)
def create_business(
    name: Annotated[str, typer.Argument(help="As customers know it.")],
    answer_new_chats: Annotated[bool, typer.Option(help="Whether the bot answers new chats by itself.")] = False,
) -> None:
    """Creates a business and prints its id."""
    with obstacles_told():
        from boton.cli import administration

        administration.create_business(name, answer_new_chats=answer_new_chats)


@business.command("list", epilog=_example("boton business list"))
def list_businesses() -> None:
    """Lists the businesses: id, name, phone, state of the connection."""
    with obstacles_told():
        from boton.cli import administration

        administration.list_businesses()


@token.command("create", epilog=_example("boton token create biz_01M8… crm"))
def create_token(
    business_id: Annotated[str, typer.Argument(help="As `boton business list` shows it.")],
    name: Annotated[str, typer.Argument(help="What it is for; to know it again.")] = "cli",
) -> None:
    """Creates a token and prints it: the only time it can be read."""
    with obstacles_told():
        from boton.cli import administration

        administration.create_token(business_id, name)


@token.command("list", epilog=_example("boton token list", "boton token list biz_01M8…"))
def list_tokens(
    business_id: Annotated[str | None, typer.Argument(help="Only of this business.")] = None,
) -> None:
    """Lists the tokens: id, business, hint, name, last use. Never the tokens themselves."""
    with obstacles_told():
        from boton.cli import administration

        administration.list_tokens(business_id)


@token.command("revoke", epilog=_example("boton token revoke tok_01M8…"))
def revoke_token(token_id: Annotated[str, typer.Argument(help="As `boton token list` shows it.")]) -> None:
    """Makes a token useless from now on. Safe to repeat."""
    with obstacles_told():
        from boton.cli import administration

        administration.revoke_token(token_id)


@app.command(epilog=_example("boton link biz_01M8…", "boton link biz_01M8… --phone 5491138620812"))
def link(
    business_id: Annotated[str, typer.Argument(help="As `boton business list` shows it.")],
    phone: Annotated[
        str | None, typer.Option("--phone", help="Link by a code that is typed on this phone, in place of a QR code.")
    ] = None,
) -> None:
    """Links a phone's WhatsApp to a business: draws the QR code here, and says when it is linked.

    A number that the business had before is given up, and what was queued for it is held: see `boton held`.
    """
    with obstacles_told():
        from boton.cli.linking import link_phone

        raise typer.Exit(link_phone(business_id, phone))


_HELD_IDS = typer.Argument(help="As `boton held list` shows them; none: all of it.", show_default=False)
_HELD_OF = typer.Option("--business", help="Only of this business.", show_default=False)


@held.command("list", epilog=_example("boton held list", "boton held list --business biz_01M8…"))
def list_held(
    business_id: Annotated[str | None, _HELD_OF] = None,
    page: Annotated[int, typer.Option(min=0, help="50 on each, counted from 0.")] = 0,
) -> None:
    """Lists what is held: sends, reminders, chats waiting for an answer."""
    with obstacles_told():
        from boton.cli.held import list_held as list_all

        list_all(business_id, page)


@held.command("resume", epilog=_example("boton held resume", "boton held resume snd_01M8… cht_01M8…"))
def resume_held(
    ids: Annotated[list[str] | None, _HELD_IDS] = None, business_id: Annotated[str | None, _HELD_OF] = None
) -> None:
    """Lets what is held go on: it is sent, fired, answered. What is too late by now expires."""
    with obstacles_told():
        from boton.cli.held import resume_held as resume

        resume(business_id, ids or ())


@held.command("cancel", epilog=_example("boton held cancel", "boton held cancel --business biz_01M8…"))
def cancel_held(
    ids: Annotated[list[str] | None, _HELD_IDS] = None, business_id: Annotated[str | None, _HELD_OF] = None
) -> None:
    """Gives up what is held: it is never sent, fired or answered."""
    with obstacles_told():
        from boton.cli.held import cancel_held as cancel

        cancel(business_id, ids or ())


def _become(name: str, *, on_store: bool) -> None:
    """Turns this process into that one: what the command line needed is gone from memory, the pid stays."""
    process = python_command("boton.cli.process")
    if on_store:
        checked = subprocess.run([*process, "check"], check=False).returncode
        if checked:
            raise typer.Exit(checked)
    os.execv(sys.executable, [*process, name])


if __name__ == "__main__":
    app()
