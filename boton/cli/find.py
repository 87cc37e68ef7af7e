"""`boton find <phone>`: the chat, its state, and its workflows with links to the Temporal UI."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import typer

from boton.cli.administration import with_store
from boton.cli.temporal_access import connect_temporal
from boton.cli.upfile import read_up_file
from boton.domain.businesses import Business
from boton.domain.chats import Chat
from boton.domain.jid import parse_recipient
from boton.domain.reminders import ReminderStatus
from boton.errors import NotFound
from boton.names import chat_workflow, connection_workflow, reminder_workflow, send_workflow, workflow_page
from boton.ports import Page
from boton.settings import Settings
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database
from boton.store.reminders import SqlReminderStore

_MESSAGES = 50
"""How far back sends are looked for."""

_REMINDERS = Page(page=0, page_size=50)
"""Those that wait for their time, newest first."""

_PATIENCE = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    business: Business
    chat: Chat
    workflow_ids: tuple[str, ...]


def show_chat(phone: str) -> bool:
    """Prints the customer's chat in each business that knows them; False when none does."""
    jid = str(parse_recipient(phone))
    settings, found = with_store(lambda database, settings: _find(database, settings, jid))
    if not found:
        typer.echo("No business knows this number.")
        return False
    statuses = asyncio.run(_fetch_statuses(settings, [each for found_one in found for each in found_one.workflow_ids]))
    for each in found:
        typer.echo("\n".join([*_describe(each), *_list_workflows(each, settings, statuses), ""]))
    return True


async def _find(database: Database, settings: Settings, jid: str) -> tuple[Settings, list[_Found]]:
    found = []
    for business in await SqlBusinessStore(database).list_businesses():
        try:
            chat = await SqlChatStore(database).fetch_chat(business.id, jid)
        except NotFound:
            continue
        found.append(_Found(business=business, chat=chat, workflow_ids=await _workflow_ids(database, chat)))
    return _as_running(settings), found


async def _workflow_ids(database: Database, chat: Chat) -> tuple[str, ...]:
    _, messages, _ = await SqlChatStore(database).list_messages(chat.business_id, chat.jid, limit=_MESSAGES)
    waiting, _ = await SqlReminderStore(database).list_reminders(
        chat.business_id, _REMINDERS, status=ReminderStatus.SCHEDULED, jid=chat.jid
    )
    connection = await SqlConnectionStore(database).fetch_active_connection(chat.business_id)
    sends = dict.fromkeys(send_workflow(each.send_id) for each in reversed(messages) if each.send_id is not None)
    reminders = [reminder_workflow(each.id) for each in waiting]
    return (chat_workflow(chat.id), *sends, *reminders, *([connection_workflow(connection.id)] if connection else []))


def _as_running(settings: Settings) -> Settings:
    """The addresses that a running `boton up` of this folder settled, which may have chosen its ports."""
    running = read_up_file(settings.data_dir)
    if running is None:
        return settings
    return settings.model_copy(
        update={"temporal_address": running["temporal"], "temporal_ui_url": running["temporalUi"]}
    )


async def _fetch_statuses(settings: Settings, workflow_ids: Sequence[str]) -> dict[str, str]:
    """By workflow id, in words; empty when Temporal does not answer."""
    from temporalio.client import Client
    from temporalio.service import RPCError, RPCStatusCode

    async def describe(client: Client, workflow_id: str) -> tuple[str, str]:
        try:
            status = (await client.get_workflow_handle(workflow_id).describe(rpc_timeout=_PATIENCE)).status
        except RPCError as error:
            return workflow_id, "no run" if error.status is RPCStatusCode.NOT_FOUND else "unknown"
        return workflow_id, "unknown" if status is None else status.name.lower().replace("_", " ")

    try:
        client = await asyncio.wait_for(connect_temporal(settings), _PATIENCE.total_seconds())
    except (RuntimeError, OSError, TimeoutError):
        return {}
    return dict(await asyncio.gather(*(describe(client, each) for each in workflow_ids)))


def _describe(found: _Found) -> list[str]:
    chat, now = found.chat, datetime.now(UTC)
    marks = [name for name, on in (("untouchable", chat.untouchable), ("opted out", chat.opted_out)) if on]
    rows = [
        ("Business", f"{found.business.name} ({found.business.id})"),
        ("Chat", f"{chat.jid} {chat.name or ''} ({chat.id})"),
        ("Held by", chat.held_by(now).value),
        ("Bot", "on" if chat.bot_enabled else "off"),
        ("Marks", ", ".join(marks)),
        ("Taken over until", f"{chat.takeover_until:%Y-%m-%d %H:%M} UTC" if chat.takeover_until else ""),
        ("Handed off", f"{chat.handed_off_at:%Y-%m-%d %H:%M} UTC" if chat.handed_off_at else ""),
        ("Conversation", chat.conversation_id or ""),
        ("Messages", str(chat.message_count)),
        (
            "Last message",
            f"{chat.last_message.direction}, {chat.last_message.at:%Y-%m-%d %H:%M} UTC" if chat.last_message else "",
        ),
    ]
    return [f"{name + ':':<18}{value}" for name, value in rows if value]


def _list_workflows(found: _Found, settings: Settings, statuses: dict[str, str]) -> list[str]:
    title = "Workflows:" if statuses else f"Workflows (Temporal at {settings.temporal_target} does not answer):"
    ui, namespace = settings.temporal_ui, settings.temporal_namespace
    return [
        title,
        *(f"  {statuses.get(each, '?'):<12} {workflow_page(ui, namespace, each)}" for each in found.workflow_ids),
    ]
