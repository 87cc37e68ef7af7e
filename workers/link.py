"""One phone number: its gateway, its two task queues, and what comes in. A process of its own.

It is forked by the nursery of a connection host and belongs to that host: it ends when the host's end of their line
closes, and answers `ping` lines.
It ends with LOST_OWNERSHIP when another link has a higher epoch, with ENDED when the number cannot be held.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from activities.courier import Courier
from activities.pacer import Pacer
from activities.sending import SendingActivities
from boton import names
from boton.clock import utc_now
from boton.domain.connections import SAID_AGAIN, Connection, ConnectionStatus, Gateway
from boton.domain.gateway import Attempt, GatewayEvent, Inbound, Receipt, Unread
from boton.domain.messages import Direction, MessageKind, MessageStatus
from boton.domain.pacing import Closure
from boton.errors import (
    ConnectionAway,
    GatewayAbsent,
    NotFound,
    NumberLost,
    ProcessSpent,
    SessionReplaced,
    StaleEpoch,
)
from boton.leaving import run_and_leave
from boton.ports import Recorded, Result, WhatsAppGateway
from boton.settings import Settings, read_settings
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.inbox import SqlInboxStore
from boton.store.linking import SqlLinkingStore
from boton.store.outbox import SqlOutboxStore
from boton.telemetry import Metrics, configure_logging, sdk_runtime, serve_metrics
from workers.host_line import HostLine
from workers.running import (
    BUILD_ID,
    ENDED,
    GRACE,
    HEARTBEATS,
    LOST_OWNERSHIP,
    connect_patiently,
    serve,
    sleep_until,
    stop_on_signals,
)
from workflows.starter import TemporalStarter

log = logging.getLogger(__name__)

_READ_WAIT = 20.0
_RECEIPTS_REST = 0.1
"""Seconds after a read that told of receipts alone. A bulk's come by hundreds a second: stored some at a time they cost
the link a third of its CPU (measured); and by then the ids they name are recorded.
"""

_REOPEN_FIRST = 0.5
_REOPEN_LONGEST = 10.0
_SETTLE_EVERY = 30.0
_CLAIM_ANSWERED = timedelta(seconds=60)
"""A claim's transaction has answered, or never will."""

_LOOK_SECONDS = 5.0
_LEAVE_SECONDS = 3.0
_CLOSE_SECONDS = 10.0
"""The library may take a minute to stop, where a send hangs; the end of the process ends it as well."""

_LOOKS_IN_FLIGHT = 8
_SLOTS = 100
"""Batches at a time in a lane; those of a paced number wait in it for their turn."""


def main(connection_id: str) -> NoReturn:
    """What the process does from its fork to its end."""
    host = HostLine.take_stdout()
    configure_logging("link")
    run_and_leave(_run(read_settings(), connection_id, host), connection_id)


async def _run(settings: Settings, connection_id: str, host: HostLine) -> int:
    stop = stop_on_signals()
    database = open_database(settings.store_url)
    try:
        connections = SqlConnectionStore(database)
        epoch = await connections.raise_epoch(connection_id, utc_now())
        connection = await connections.fetch_connection(connection_id)
        try:
            gateway = open_gateway(connection, settings)
        except GatewayAbsent as absent:
            away = ConnectionStatus.DISCONNECTED  # the workflow tries again now and then
            await connections.record_status(connection_id, epoch, away, absent.detail, utc_now())
            return _end(host, away, absent.detail)
        gc.freeze()  # what was imported stays for good
        gc.enable()  # the nursery has it off
        return await Link(settings, database, connection, gateway, epoch, stop, host).run()
    except NotFound:
        return _end(host, ConnectionStatus.STOPPED, "The connection was ended.")
    finally:
        await database.close()


def _end(host: HostLine, status: ConnectionStatus, reason: str) -> int:
    host.tell({"ended": {"status": status, "reason": reason}})
    return ENDED


def open_gateway(connection: Connection, settings: Settings) -> WhatsAppGateway:
    """The gateway that this connection is on. Raises GatewayAbsent."""
    if connection.gateway is Gateway.WHATSAPP:
        from boton.whatsapp.device_store import DeviceStore
        from boton.whatsapp.neonize_gateway import NeonizeGateway

        store = DeviceStore(settings.data_dir, settings.store_url)
        return NeonizeGateway(store, connection.id, phone=connection.phone)
    if not settings.simulator:
        raise GatewayAbsent("The simulator is off here: set BOTON_SIMULATOR=1 where `boton connections` runs.")
    from boton.whatsapp.simulator import SimulatorGateway

    return SimulatorGateway(settings.simulator_url, connection.phone or "")


class Link:
    """Owns a number under one epoch until it stops, loses it, or its host goes away."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        connection: Connection,
        gateway: WhatsAppGateway,
        epoch: int,
        stop: asyncio.Event,
        host: HostLine,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._epoch = epoch
        self._stop = stop
        self._host = host
        self._lost = self._failed = self._ended = False
        self._metrics = Metrics()
        self._connections = SqlConnectionStore(database)
        self._linking = SqlLinkingStore(database)
        self._inbox = SqlInboxStore(database)
        self._outbox = SqlOutboxStore(database, settings.closing_times())
        self._gateway = gateway
        self._courier = Courier(
            self._gateway,
            self._outbox,
            connection_id=connection.id,
            epoch=epoch,
            observer=self,
            clock=utc_now,
        )
        pacer = Pacer(lambda: self._outbox.fetch_pace(connection.id), utc_now)
        self._sending = SendingActivities(self._courier, pacer, utc_now)
        self._recovered = asyncio.Event()
        self._said_at = time.monotonic()
        self._starter: TemporalStarter | None = None
        self._unseen: set[str] = set()
        self._looks: set[asyncio.Task[None]] = set()
        self._look_slots = asyncio.Semaphore(_LOOKS_IN_FLIGHT)

    async def run(self) -> int:
        """Until the stop; answers the exit code."""
        runtime, sdk_port = sdk_runtime()
        server = serve_metrics(self._metrics, 0, sdk_port)
        self._host.tell({"metricsPort": server.port if server else None, "epoch": self._epoch})
        tasks = [
            asyncio.create_task(self._stand_or_fall(task))
            for task in (
                self._listen_to_host(),
                self._keep_session(),
                self._settle_now_and_then(),
                self._close_batches(),
            )
        ]
        client = await connect_patiently(self._settings.temporal(), runtime, self._stop)
        if client is not None:
            self._starter = TemporalStarter(client)
            await self._serve_queues(client)
        ending = [*tasks, *self._looks]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if not await self._is_anothers():
            await self._sending.drain()
        await self._leave()
        if self._lost:
            return LOST_OWNERSHIP
        return ENDED if self._ended else int(self._failed)

    async def _is_anothers(self) -> bool:
        """Whether another link owns the number, and so finds out what became of what is on the wire. Nobody does where
        the business has gone to another number, which a claim may notice before the host does.
        """
        if not self._lost:
            return False
        with contextlib.suppress(Exception):  # the store is away: the sweeper settles it, if nobody else does
            async with asyncio.timeout(_LEAVE_SECONDS):
                return (await self._connections.fetch_connection(self._connection.id)).active
        return True

    async def _leave(self) -> None:
        """A number that its business has logged out takes its device off the phone; the store is told that it has."""
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                connection = await self._connections.fetch_connection(self._connection.id)
                if not connection.active and connection.linked_at is None and await self._gateway.log_out():
                    await self._linking.finish_unlinking(self._connection.id, utc_now(), told=True)
        except Exception as error:  # noqa: BLE001 - the session is closed in any case
            log.warning("not logged out", extra={"connection": self._connection.id, "reason": type(error).__name__})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gateway.close(), _CLOSE_SECONDS)

    async def _stand_or_fall(self, part: Coroutine[Any, Any, None]) -> None:
        """A part that ends by an error ends the link, which its host starts again: half a link helps nobody."""
        try:
            await part
        except Exception:
            log.exception("link failed", extra={"connection": self._connection.id})
            self._failed = True
            self._stop.set()

    # -------------------------------------------------------- the host

    async def _listen_to_host(self) -> None:
        """The host's end of the pipe closing is the end of this link."""
        await self._host.answer_pings()
        self._stop.set()

    # -------------------------------------------------------- going out

    async def _serve_queues(self, client: Client) -> None:
        """Opens the queues only once every attempt that an earlier link left open is settled."""
        await _first({self._recovered, self._stop})
        queues = (names.fast_queue(self._connection.id), names.slow_queue(self._connection.id))
        await asyncio.gather(*(serve(partial(self._make_worker, client, queue), self._stop) for queue in queues))

    def _make_worker(self, client: Client, queue: str) -> Worker:
        return Worker(
            client,
            task_queue=queue,
            build_id=BUILD_ID,
            activities=[self._sending.send_batch, self._sending.send_messages],
            max_concurrent_activities=_SLOTS,
            activity_task_poller_behavior=PollerBehaviorSimpleMaximum(maximum=1),
            default_heartbeat_throttle_interval=HEARTBEATS,
            max_heartbeat_throttle_interval=HEARTBEATS,
            graceful_shutdown_timeout=GRACE,
        )

    def settled(self, result: Result, seconds: float) -> None:
        """Observer: an attempt ended."""
        self._metrics.observe_send(result.status, seconds)
        if not result.is_due_again:
            self._metrics.count_message(Direction.OUTGOING, result.attempt.kind, result.status)
        if result.attempt.kind is MessageKind.OPENING and result.sent is not None:
            self._wake([result.attempt.chat_id])  # its follow-ups and its end are timers from now on

    def refused(self, closure: Closure) -> None:
        """Observer: WhatsApp refused the number; the slow lane is closed."""
        extra = {"connection": self._connection.id, "code": closure.code, "until": closure.until.isoformat()}
        log.warning("slow lane closed", extra=extra)
        self._metrics.count_refusal(closure.code)
        self._metrics.set_slow_lane(False)

    def lost_ownership(self) -> None:
        """Observer: another link has a higher epoch. Nothing more may be sent from here."""
        if not self._lost:
            log.warning("another link owns the number", extra={"connection": self._connection.id, "epoch": self._epoch})
        self._lost = True
        self._stop.set()

    def merged(self, chat_ids: Sequence[str]) -> None:
        """Observer: a look-up proved two chats to be one customer's."""
        self._wake(chat_ids)

    async def _close_batches(self) -> None:
        """At the stop every batch ends at its next message, so that the queues close soon."""
        await self._stop.wait()
        self._sending.close()

    async def _settle_now_and_then(self) -> None:
        """Asks again what nobody could tell before."""
        while True:
            await asyncio.sleep(_SETTLE_EVERY)
            try:
                await self._settle_all()
            except ConnectionAway:
                continue
            except SessionReplaced:
                self.lost_ownership()
            except Exception:
                log.exception("attempts not settled", extra={"connection": self._connection.id})

    async def _settle_all(self) -> None:
        """Settles what was left in flight. Raises ConnectionAway when the gateway cannot be asked."""
        left = await self._outbox.list_left_in_flight(self._connection.id, self._epoch + 1)
        ended = [attempt for attempt in left if not self._may_still_end(attempt)]
        results = await self._courier.settle_all(ended)
        for result in results:
            if result is not None:
                await self._courier.record(result)
        if None in results:
            raise ConnectionAway("the gateway cannot be asked what became of earlier attempts")

    def _may_still_end(self, attempt: Attempt) -> bool:
        """An attempt of this link that is under way, or whose claim may be on its way back from the store. One that
        is older and unknown here was claimed by a transaction whose answer was lost.
        """
        young = utc_now() - attempt.claimed_at < _CLAIM_ANSWERED
        return attempt.epoch == self._epoch and (young or self._courier.is_under_way(attempt))

    # -------------------------------------------------------- coming in

    async def _keep_session(self) -> None:
        """Keeps a session open and stores what comes in, until the number is lost."""
        pause = _REOPEN_FIRST
        while not self._stop.is_set():
            try:
                await self._gateway.open(self._epoch)
                await self._settle_all()
                self._recovered.set()
                await self._tell_connected()
                pause = _REOPEN_FIRST
                await self._pump()
            except ConnectionAway as away:
                log.warning("connection away", extra={"connection": self._connection.id, "detail": away.detail})
                await self._note(ConnectionStatus.DISCONNECTED, away.detail)
            except (SessionReplaced, StaleEpoch):
                self.lost_ownership()
                return
            except NumberLost as lost:
                await self._end_with(lost)
                return
            except ProcessSpent:
                log.warning("link makes room for a fresh one", extra={"connection": self._connection.id})
                self._failed = True
                self._stop.set()
                return
            except Exception:
                log.exception("session failed", extra={"connection": self._connection.id})
            await sleep_until(self._stop, pause)
            pause = min(pause * 2, _REOPEN_LONGEST)
            if not self._stop.is_set():
                self._metrics.count_reconnect()

    async def _end_with(self, lost: NumberLost) -> None:
        """The number cannot be held until a person acts: the store and the host are told why, and what to do."""
        log.warning("number lost", extra={"connection": self._connection.id, "status": lost.status})
        if lost.ban is not None:
            await self._courier.close_slow_lane(lost.ban)
        await self._note(lost.status, lost.detail)
        _end(self._host, lost.status, lost.detail)
        self._ended = True
        self._stop.set()

    async def _note(self, status: ConnectionStatus, reason: str) -> None:
        try:
            await self._tell_status(status, reason)
        except StaleEpoch:
            self.lost_ownership()
        except Exception:
            log.exception("status not recorded", extra={"connection": self._connection.id})

    async def _tell_status(self, status: ConnectionStatus, reason: str | None) -> None:
        self._said_at = time.monotonic()
        self._metrics.set_connections({status.value: 1})
        await self._connections.record_status(self._connection.id, self._epoch, status, reason, utc_now())

    async def _tell_connected(self) -> None:
        """Never without a proof."""
        await self._gateway.prove_connected()
        await self._tell_status(ConnectionStatus.CONNECTED, None)

    async def _say_again(self) -> None:
        """`connected` is believed only while it is fresh."""
        if time.monotonic() - self._said_at >= SAID_AGAIN.total_seconds():
            await self._tell_connected()
            connection = await self._connections.fetch_connection(self._connection.id)
            self._metrics.set_slow_lane(connection.slow_lane_closed(utc_now()) is None)

    async def _pump(self) -> None:
        cursor = await self._inbox.fetch_cursor(self._connection.id)
        while not self._stop.is_set():
            events = await self._gateway.read_events(cursor, _READ_WAIT)
            if events:
                recorded = await self._inbox.record_events(self._connection.id, self._epoch, events, utc_now())
                cursor = events[-1].cursor
                self._wake(recorded.owed, recorded.quiet_seconds)
                if recorded.owed and recorded.quiet_seconds:
                    await self._gateway.watch_typing(recorded.quiet_seconds)
                self._count(events, recorded)
            await self._say_again()
            if events and all(isinstance(event.body, Receipt) for event in events):
                await sleep_until(self._stop, _RECEIPTS_REST)

    def _count(self, events: Sequence[GatewayEvent], recorded: Recorded) -> None:
        self._metrics.count_takeovers(recorded.takeovers)
        for event in events:
            if isinstance(event.body, Inbound):
                direction = Direction.OUTGOING if event.body.from_me else Direction.INCOMING
                kind = MessageKind.PHONE if event.body.from_me else MessageKind.INCOMING
                self._metrics.count_message(direction, kind, MessageStatus.RECEIVED)
            elif isinstance(event.body, Unread):
                self._metrics.count_unread()

    def _wake(self, chat_ids: Sequence[str], quiet_seconds: float = 0.0) -> None:
        """Off the pump: what cannot be signalled now is found by the sweeper."""
        for chat_id in chat_ids:
            if chat_id not in self._unseen:
                self._unseen.add(chat_id)
                task = asyncio.create_task(self._look(chat_id, quiet_seconds))
                self._looks.add(task)
                task.add_done_callback(self._looks.discard)

    async def _look(self, chat_id: str, quiet_seconds: float) -> None:
        async with self._look_slots:
            self._unseen.discard(chat_id)  # from here on another message needs another look
            if self._starter is None:
                return
            try:
                look = self._starter.look_at_chat(chat_id, self._connection.business_id, quiet_seconds=quiet_seconds)
                await asyncio.wait_for(look, _LOOK_SECONDS)
            except Exception as error:  # noqa: BLE001 - the sweeper wakes it later
                log.warning("chat not woken", extra={"chat": chat_id, "reason": type(error).__name__})


async def _first(events: set[asyncio.Event]) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
