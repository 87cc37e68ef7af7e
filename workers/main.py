"""`boton worker`: workflows, the language model, and the sweeper."""

from __future__ import annotations

import asyncio
import logging
import os
import socket

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.chatting import ChatActivities
from activities.connecting import ConnectionActivities
from activities.reminding import ReminderActivities
from activities.thinking import Thinking
from boton import names
from boton.clock import utc_now
from boton.domain.conversations import TurnBrief
from boton.llm.factory import open_model
from boton.llm.own_tools import OWN_TOOLS
from boton.llm.prompts import build_prompt
from boton.llm.tools import ToolRegistry
from boton.ports import LanguageModel, Prompt
from boton.settings import Settings
from boton.store.assistant import SqlAssistantStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.pairing import SqlPairingStore
from boton.store.reminders import SqlReminderStore
from boton.store.token_days import SqlTokenStore
from boton.store.work import SqlWorkStore
from boton.telemetry import Metrics, configure_logging, sdk_runtime, serve_metrics
from boton.temporal import fetch_namespace_id, prepare_namespace, sandbox_runner
from workers.measured import MeasuredModel, MeasuredTurns, WatchedModel, watch_numbers, watch_queue_age
from workers.running import GRACE, connect_patiently, serve, stop_on_signals
from workers.sweeper import Sweeper
from workflows.chat import ChatWorkflow
from workflows.connection import ConnectionWorkflow
from workflows.reminder import ReminderWorkflow
from workflows.send import SendWorkflow
from workflows.starter import TemporalStarter

log = logging.getLogger(__name__)

_CACHED_WORKFLOWS = 50
"""Idle workflows cost no memory (10,000 reminders: 1.04 times; with the default of 1,000 it was 1.80: measured)."""

_CONCURRENT_ACTIVITIES = 50
TOOLS = ToolRegistry(OWN_TOOLS)


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    configure_logging("worker")
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stop = stop_on_signals()
    metrics = Metrics()
    runtime, sdk_port = sdk_runtime()
    server = serve_metrics(metrics, settings.metrics_port, sdk_port)
    database = open_database(settings.store_url)
    model = WatchedModel(MeasuredModel(_open_model(settings), metrics), SqlAssistantStore(database))
    try:
        client = await connect_patiently(settings.temporal(), runtime, stop)
        if client is not None:
            await _prepare(client)
            await asyncio.gather(
                serve(lambda: _make_worker(client, database, model, metrics, settings.llm_context_tokens), stop),
                _make_sweeper(client, database).run(stop),
                watch_queue_age(SqlWorkStore(database), metrics, stop),
                watch_numbers(SqlConnectionStore(database), metrics, stop),
            )
    finally:
        await model.close()
        await database.close()
        if server is not None:
            server.close()


async def _prepare(client: Client) -> None:
    """A Temporal elsewhere may not know our search attributes, without which no workflow starts."""
    try:
        await prepare_namespace(client, embedded=False)
    except RPCError as error:
        extra = {"missing": ",".join(names.SEARCH_ATTRIBUTES), "reason": error.status.name}
        log.warning("search attributes cannot be registered; see docs/operating.md", extra=extra)


def _open_model(settings: Settings) -> LanguageModel:
    key = settings.llm_api_key
    return open_model(settings.llm_base_url, key.get_secret_value() if key else None, settings.llm_model)


def to_prompt(brief: TurnBrief, budget: int, with_tools: bool) -> Prompt:
    """What the model is told of a turn."""
    return build_prompt(brief, budget=budget, registry=TOOLS if with_tools else None)


def _make_worker(client: Client, database: Database, model: LanguageModel, metrics: Metrics, budget: int) -> Worker:
    turns = MeasuredTurns(database, metrics)
    thinking = Thinking(turns, SqlTokenStore(database), model, to_prompt, utc_now, budget=budget)
    chats = ChatActivities(turns, thinking, TOOLS, utc_now)
    reminders = ReminderActivities(SqlReminderStore(database), TemporalStarter(client), utc_now)
    connections = ConnectionActivities(SqlPairingStore(database), utc_now)
    return Worker(
        client,
        task_queue=names.WORK_QUEUE,
        workflows=[SendWorkflow, ChatWorkflow, ConnectionWorkflow, ReminderWorkflow],
        activities=[
            chats.advance_chat,
            chats.run_tool,
            chats.compose_turn,
            chats.compose_openings,
            chats.give_up_turn,
            chats.give_up_openings,
            reminders.advance_reminder,
            connections.advance_connection,
        ],
        workflow_runner=sandbox_runner(),
        max_cached_workflows=_CACHED_WORKFLOWS,
        max_concurrent_activities=_CONCURRENT_ACTIVITIES,
        graceful_shutdown_timeout=GRACE,
    )


def _make_sweeper(client: Client, database: Database) -> Sweeper:
    return Sweeper(
        SqlWorkStore(database),
        TemporalStarter(client),
        lambda: fetch_namespace_id(client),
        holder=f"{socket.gethostname()}:{os.getpid()}",
        clock=utc_now,
    )
