"""The API's composition root: opens the store and Temporal, builds the services, serves, closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from temporalio.client import Client

from api import health
from api.bell import EventBell
from api.dashboard.admin import AdminAccess
from api.main import create_app
from api.server import ApiServer, listen
from api.services import Check, Links, Services
from boton.domain.connections import Gateway
from boton.ports import BusinessStore, ConnectionStore
from boton.settings import Settings
from boton.store.assistant import SqlAssistantStore
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.connections import SqlConnectionStore
from boton.store.conversations import SqlConversationStore
from boton.store.engine import Database, open_database
from boton.store.events import SqlEventStore
from boton.store.holds import SqlHoldStore
from boton.store.linking import SqlLinkingStore
from boton.store.meta import SqlMetaStore
from boton.store.reminders import SqlReminderStore
from boton.store.sends import SqlSendStore
from boton.telemetry import Metrics, sdk_runtime, serve_metrics
from boton.temporal import TemporalAddress, connect
from workflows.starter import TemporalStarter

log = logging.getLogger(__name__)


async def serve(settings: Settings) -> None:
    """Answers requests until the process is asked to stop. Temporal may be away; the store must be migrated."""
    listener = listen(settings.api_host, settings.api_port)
    database = open_database(settings.store_url)
    runtime, sdk_port = sdk_runtime()
    client = await connect(_temporal_address(settings), lazy=True, runtime=runtime)
    metrics = Metrics()
    exporter = serve_metrics(metrics, settings.metrics_port, sdk_port)
    stopping = asyncio.Event()
    try:
        services = build_services(settings, database, client, metrics, stopping.is_set)
        log.info("listening", extra={"host": settings.api_host, "port": listener.getsockname()[1]})
        await ApiServer(create_app(services), listener, stopping.set).serve_until_stopped()
    finally:
        if exporter is not None:
            exporter.close()
        listener.close()
        await database.close()


def build_services(
    settings: Settings, database: Database, client: Client, metrics: Metrics, is_stopping: Callable[[], bool]
) -> Services:
    """The real services: the store, Temporal, and what the settings say."""
    businesses, connections = SqlBusinessStore(database), SqlConnectionStore(database)
    events = SqlEventStore(database)
    password = settings.admin_password
    return Services(
        businesses=businesses,
        chats=SqlChatStore(database),
        sends=SqlSendStore(database),
        reminders=SqlReminderStore(database),
        conversations=SqlConversationStore(database),
        assistant=SqlAssistantStore(database),
        events=events,
        bell=EventBell(events),
        connections=connections,
        linking=SqlLinkingStore(database),
        holds=SqlHoldStore(database),
        starter=TemporalStarter(client),
        admin=AdminAccess(SqlMetaStore(database), password.get_secret_value() if password else None),
        metrics=metrics,
        checks=_build_checks(client, businesses, connections),
        links=_build_links(settings),
        gateways=frozenset(Gateway if settings.simulator else {Gateway.WHATSAPP}),
        public=not _is_loopback(settings.api_host),
        is_stopping=is_stopping,
    )


def _build_checks(client: Client, businesses: BusinessStore, connections: ConnectionStore) -> Mapping[str, Check]:
    return {
        "store": health.check_store(businesses),
        "temporal": health.check_temporal(client),
        "workers": health.check_workers(client),
        "connections": health.check_connections(client),
        health.NUMBERS: health.check_numbers(connections),
    }


def _build_links(settings: Settings) -> Links:
    """The UI of a Temporal elsewhere is linked only where the settings say where it is."""
    knows_ui = settings.temporal_address is None or settings.temporal_ui_url is not None
    return Links(
        simulator=settings.simulator_url if settings.simulator else None,
        temporal_ui=settings.temporal_ui if knows_ui else None,
        temporal_namespace=settings.temporal_namespace,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _temporal_address(settings: Settings) -> TemporalAddress:
    key = settings.temporal_api_key
    return TemporalAddress(
        target=settings.temporal_target,
        namespace=settings.temporal_namespace,
        api_key=key.get_secret_value() if key else None,
        tls_ca=settings.temporal_tls_ca,
        tls_cert=settings.temporal_tls_cert,
        tls_key=settings.temporal_tls_key,
    )
