"""`boton connections`: a host of WhatsApp connections. It starts a link process for each number it holds.

The host itself touches neither the store nor WhatsApp: it watches over processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Iterator

from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from activities.connecting import PairingActivities
from activities.holding import HoldingActivities
from boton import names
from boton.errors import Conflict
from boton.machines import identify
from boton.metrics_text import merge_expositions
from boton.settings import Settings
from boton.telemetry import Metrics, configure_logging, sdk_runtime, serve_metrics
from workers.links import Links, write_links
from workers.pairings import Pairings
from workers.running import BUILD_ID, HEARTBEATS, connect_patiently, serve, stop_on_signals

_PHONES_AT_ONCE = 8
"""So many phones are linked or unlinked at a time, beside the numbers that are held."""


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises Conflict when a second host is not possible here."""
    configure_logging("connections")
    with _only_host(settings):
        asyncio.run(_run(settings))


@contextlib.contextmanager
def _only_host(settings: Settings) -> Iterator[None]:
    """With SQLite there is one host: journals and device stores are files of this machine."""
    if not _is_alone(settings):
        yield
        return
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(settings.data_dir / "connections.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Conflict(
            "Another connection host runs on this store. With SQLite there is one; set BOTON_DATABASE_URL to "
            "PostgreSQL for several."
        ) from None
    try:
        yield
    finally:
        os.close(lock)


def _name_host(settings: Settings) -> str:
    """Stays the same when the process is started again; with SQLite always, since there is no other host."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return "the only one" if _is_alone(settings) else identify(settings.data_dir)


def _is_alone(settings: Settings) -> bool:
    return settings.store_url.startswith("sqlite")


async def _run(settings: Settings) -> None:
    stop = stop_on_signals()
    metrics = Metrics()
    runtime, sdk_port = sdk_runtime()
    path = settings.data_dir / "run" / "links.json"
    links = Links(lambda running: write_links(path, running))
    server = serve_metrics(
        metrics, settings.metrics_port, sdk_port, more=[lambda: merge_expositions(links.expositions())]
    )
    try:
        client = await connect_patiently(settings.temporal(), runtime, stop)
        if client is not None:
            capacity = settings.connections_capacity
            holding, pairing = HoldingActivities(links, _name_host(settings), capacity), PairingActivities(Pairings())
            await serve(
                lambda: Worker(
                    client,
                    task_queue=names.CONNECTIONS_QUEUE,
                    build_id=BUILD_ID,
                    activities=[holding.hold_connection, pairing.pair_connection, pairing.unlink_connection],
                    max_concurrent_activities=capacity + _PHONES_AT_ONCE,
                    activity_task_poller_behavior=PollerBehaviorSimpleMaximum(maximum=1),
                    default_heartbeat_throttle_interval=HEARTBEATS,
                    max_heartbeat_throttle_interval=HEARTBEATS,
                ),
                stop,
            )
    finally:
        await links.close()
        if server is not None:
            server.close()
