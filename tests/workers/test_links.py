"""One owner for a number: link processes that die, freeze, lose their number or their host."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from unittest.mock import AsyncMock

import httpx
import pytest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.holding import HoldEnded, OwnershipLost
from boton import names
from boton.domain.connections import ConnectionStatus, Gateway
from boton.domain.gateway import Attempt
from boton.domain.messages import Lane, MessageStatus
from boton.domain.sends import AcceptedSend
from boton.ports import Page
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.linking import SqlLinkingStore
from boton.store.outbox import SqlOutboxStore
from boton.store.sends import SqlSendStore
from boton.store.work import SqlWorkStore
from boton.temporal import fetch_namespace_id, sandbox_runner
from boton.whatsapp.simulator import SimulatorGateway
from tests.readable import read_history
from tests.store.builders import NOW, a_send
from tests.waiting import eventually, until
from tests.workers.conftest import HTTP_SECONDS, PATIENCE, World
from workers import links as links_module
from workers.links import LinkProcess, Links
from workers.running import LOST_OWNERSHIP
from workers.sweeper import Sweeper
from workflows.send import SendWorkflow
from workflows.starter import TemporalStarter

ENOUGH = 60.0
PHONES = ("5491170000011", "5491170000012")


async def ended(link: LinkProcess) -> int | None:
    await until(lambda: link.exit_code is not None, ENOUGH)
    return link.exit_code


# ---------------------------------------------------------------- the host's side


async def test_killed_link_is_started_again_with_a_higher_epoch(world: World) -> None:
    links = Links(lambda _: None, PATIENCE)
    async with world.held(links):
        first = await world.connected()
        pid = links.running()[world.connection.id].pid
        os.kill(pid, signal.SIGKILL)
        second = await world.connected(above=first.epoch)
        assert second.epoch == first.epoch + 1
        assert links.running()[world.connection.id].pid != pid
    assert links.running() == {}


async def test_host_starts_few_links_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, none of them would answer in time, and all would be killed as frozen."""
    monkeypatch.setattr(links_module, "_AT_ONCE", 2)
    numbers = [world.connection.id, *[await another_number(world, phone) for phone in ("1", "2", "3")]]
    links = Links(lambda _: None, PATIENCE)
    for number in numbers:
        await links.adopt_or_start(number)
    assert list(links.running()) == numbers[:2]
    while not await are_connected(world, numbers):
        for number in reversed(numbers):
            await links.check(number)
        assert sum(link.is_starting for link in links.running().values()) <= 2
        await asyncio.sleep(0.05)
    assert set(links.running()) == set(numbers)
    await links.close()


async def another_number(world: World, digit: str) -> str:
    business = await SqlBusinessStore(world.database).create_business("Otro", bot_new_chats=False, now=NOW)
    connections = SqlConnectionStore(world.database)
    return (await connections.create_connection(business.id, Gateway.SIMULATOR, f"549116100000{digit}", NOW)).id


async def are_connected(world: World, numbers: Sequence[str]) -> bool:
    connections = await SqlConnectionStore(world.database).list_active_connections()
    return {one.id for one in connections if one.status is ConnectionStatus.CONNECTED} >= set(numbers)


async def test_links_go_on_where_they_cannot_be_written_down(world: World) -> None:
    """A disk that is full just as a link tells its port."""

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    links = Links(full, PATIENCE)
    async with world.held(links) as holding:
        first = await world.connected()
        os.kill(links.running()[world.connection.id].pid, signal.SIGKILL)
        await world.connected(above=first.epoch)
        assert not holding.done()


class NurseryOfOne:
    """Its link says this, hangs, and is killed."""

    is_alive = True

    def __init__(self, says: bytes) -> None:
        self._says = says

    async def fork(self, _connection_id: str) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
        ours, links = socket.socketpair()
        with links:
            links.sendall(self._says)
        return 0, *await asyncio.open_unix_connection(sock=ours)

    async def wait(self, _pid: int) -> int:
        return -signal.SIGKILL

    async def close(self) -> None:
        return


async def test_number_that_was_lost_is_not_connected_again_where_its_link_had_to_be_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A send hung: banned, or replaced, it must not be back as if nothing had been."""
    told = b'{"ended": {"status": "replaced", "reason": "Stop the other one."}}\n'
    monkeypatch.setattr(links_module.Nursery, "start", AsyncMock(return_value=NurseryOfOne(told)))
    links = Links(lambda _: None, PATIENCE)
    await links.adopt_or_start("con_1")
    await until(lambda: links.running() == {}, ENOUGH)
    assert await links.check("con_1") == HoldEnded(status="replaced", reason="Stop the other one.")
    await links.close()


async def test_frozen_link_is_killed_and_replaced(world: World) -> None:
    links = Links(lambda _: None, PATIENCE)
    async with world.held(links):
        first = await world.connected()
        frozen = links.running()[world.connection.id]
        os.kill(frozen.pid, signal.SIGSTOP)
        for _ in range(PATIENCE):
            await links.check(world.connection.id)
        await world.connected(above=first.epoch)
        assert frozen.exit_code == -signal.SIGKILL


async def test_host_that_was_stopped_itself_does_not_kill_its_links(world: World) -> None:
    links = Links(lambda _: None, patience=2)
    await links.adopt_or_start(world.connection.id)
    await world.connected()
    link = links.running()[world.connection.id]
    await links.check(world.connection.id)  # its answer lies there while the event loop stands still
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - began < 3:
        pass
    for _ in range(3):
        assert await links.check(world.connection.id) is None
        await until(lambda: not link.is_frozen(0))
    assert links.running() == {world.connection.id: link}
    await links.close()


async def test_attempts_that_overlap_share_one_link(world: World) -> None:
    links = Links(lambda _: None, PATIENCE)
    await asyncio.gather(*(links.adopt_or_start(world.connection.id) for _ in range(3)))
    async with world.held(links):
        connection = await world.connected()
        assert connection.epoch == 1


async def test_link_left_by_an_old_attempt_stays_with_the_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "_LEFT_SECONDS", 0.5)
    links = Links(lambda _: None, PATIENCE)
    async with world.held(links):
        await world.connected()
        pid = links.running()[world.connection.id].pid
        links.leave(world.connection.id)  # the old attempt hears last that it is over
        await links.check(world.connection.id)
        began = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() - began > 1)
        assert links.running()[world.connection.id].pid == pid


async def test_link_that_nobody_adopts_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "_LEFT_SECONDS", 0.1)
    links = Links(lambda _: None, PATIENCE)
    await links.adopt_or_start(world.connection.id)
    link = links.running()[world.connection.id]
    links.leave(world.connection.id)
    assert await ended(link) == 0
    await links.close()


async def test_number_that_another_link_took_is_not_taken_back(world: World) -> None:
    links = Links(lambda _: None, PATIENCE)
    async with world.held(links) as holding:
        first = await world.connected()
        await world.start_link()
        with pytest.raises(OwnershipLost):
            await asyncio.wait_for(holding, ENOUGH)
        assert links.running() == {}
        assert (await world.connected()).epoch == first.epoch + 1


def test_link_that_keeps_dying_is_started_ever_more_seldom() -> None:
    """Killed for a minute whenever it starts, it never waits for longer than 15 s; and lasting trouble costs little."""
    pauses = list(pauses_of([0.0] * 20))
    assert pauses == sorted(pauses)
    within_a_minute = [pause for at, pause in enumerate(pauses) if sum(pauses[:at]) + at * A_START < 60]
    assert max(within_a_minute) < 15
    assert pauses[-1] == 30


def test_link_that_ran_well_is_started_again_at_once() -> None:
    """However often it was killed before: that is no crash loop."""
    assert list(pauses_of([0.0] * 20 + [10.0]))[-1] == 0.25
    assert set(pauses_of([10.0] * 20)) == {0.25}


A_START = 2.0


def pauses_of(lives: Sequence[float]) -> Iterator[float]:
    """Between links that answered for so many seconds each."""
    pause = 0.25
    for lived in lives:
        yield (pause := links_module.next_pause(pause, lived))


async def test_slow_start_is_no_life(world: World) -> None:
    link = await world.start_link()
    await world.connected()
    assert link.lived == 0.0, "nobody has asked it yet"
    link.ping()
    await until(lambda: link.lived > 0)


# ---------------------------------------------------------------- the link's side


async def test_link_ends_when_its_host_closes_the_pipe(world: World) -> None:
    link = await world.start_link()
    await world.connected()
    await link.stop()
    assert link.exit_code == 0


async def test_link_ends_soon_while_temporal_does_not_answer(world: World) -> None:
    """Eighty chats wait to be woken, eight at a time for five seconds; the sweeper will see to them."""
    link = await world.start_link()
    await world.connected()
    world.temporal.signal(signal.SIGSTOP)
    try:
        phones = [f"54911800000{number:02}" for number in range(80)]
        for phone in phones:
            world.customer_writes(phone, "hola")
        await eventually(lambda: stored(world), lambda found: found == len(phones))
        await asyncio.wait_for(link.stop(), 30)
        assert link.exit_code == 0, "it ended by itself, not by the host's kill"
    finally:
        world.temporal.signal(signal.SIGCONT)


async def stored(world: World) -> int:
    return (await SqlBusinessStore(world.database).fetch_tally(world.business.id)).chats


async def test_link_with_a_lower_epoch_ends(world: World) -> None:
    first = await world.start_link()
    epoch = (await world.connected()).epoch
    second = await world.start_link()
    assert await ended(first) == LOST_OWNERSHIP
    assert (await world.connected(above=epoch)).epoch == epoch + 1
    assert second.exit_code is None


async def test_link_whose_business_left_records_what_is_on_the_wire_also_where_a_claim_notices_first(
    world: World,
) -> None:
    """Nobody else would: the number is nobody's then."""
    sends, starter = SqlSendStore(world.database), TemporalStarter(world.client)
    first, second = [await sends.accept_send(a_send(world.business, [phone])) for phone in PHONES]
    worker = Worker(
        world.client, task_queue=names.WORK_QUEUE, workflows=[SendWorkflow], workflow_runner=sandbox_runner()
    )
    async with worker:
        link = await world.start_link()
        await world.connected()
        with faults(world, latencyMs=9000):
            await starter.start_send(first.send.id, world.business.id, world.connection.id, lanes=(Lane.SLOW,))
            await eventually(lambda: statuses(world, first), lambda told: told == {MessageStatus.SENDING})
            await SqlLinkingStore(world.database).log_out(world.business.id, datetime.now(UTC))
            await starter.start_send(second.send.id, world.business.id, world.connection.id, lanes=(Lane.SLOW,))
            assert await ended(link) == LOST_OWNERSHIP
    assert await statuses(world, first) <= {MessageStatus.SENT, MessageStatus.DELIVERED}


@contextlib.contextmanager
def faults(world: World, **these: int) -> Iterator[None]:
    httpx.put(f"{world.simulator.url}/faults", json=these, trust_env=False, timeout=HTTP_SECONDS).raise_for_status()
    try:
        yield
    finally:
        url = f"{world.simulator.url}/faults"
        httpx.delete(url, trust_env=False, timeout=HTTP_SECONDS).raise_for_status()


async def test_unknown_connection_ends_with_its_reason(world: World) -> None:
    link = await world.start_link("con_unknown")
    await ended(link)
    await link.stop()
    assert link.ended is not None
    assert link.ended.status == "stopped"


async def test_attempts_of_a_killed_link_are_settled_before_the_queues_open(world: World) -> None:
    """One reached the wire, one did not, and the send goes on at once: both phones have one copy."""
    phones = ["5491170000001", "5491170000002", "5491170000003"]
    send = await SqlSendStore(world.database).accept_send(a_send(world.business, phones))
    sent, unsent = await left_by_a_killed_link(world, send)
    starter = TemporalStarter(world.client)
    await starter.start_send(send.send.id, world.business.id, world.connection.id, lanes=(Lane.SLOW,))
    worker = Worker(
        world.client, task_queue=names.WORK_QUEUE, workflows=[SendWorkflow], workflow_runner=sandbox_runner()
    )
    async with worker:
        await world.start_link()
        handle = world.client.get_workflow_handle(names.send_workflow(send.send.id))
        await asyncio.wait_for(handle.result(), ENOUGH)
    assert {one: world.delivered(one) for one in phones} == {one: [f"hola {one}"] for one in phones}
    assert {sent.epoch, unsent.epoch} == {1}
    told = read_history(await handle.fetch_history())
    assert send.send.id in told
    assert not [word for word in ("hola", *phones) if word in told]
    assert await statuses(world, send) <= {MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ}


async def left_by_a_killed_link(world: World, send: AcceptedSend) -> tuple[Attempt, Attempt]:
    """Two claims of an epoch that nobody recorded; the first attempt was heard by WhatsApp."""
    epoch = await SqlConnectionStore(world.database).raise_epoch(world.connection.id, datetime.now(UTC))
    outbox = SqlOutboxStore(world.database)
    attempts = []
    for recipient in send.recipients[:2]:
        attempt = await outbox.claim_message(recipient.message_id, world.connection.id, epoch, datetime.now(UTC))
        assert attempt is not None
        attempts.append(attempt)
    gateway = SimulatorGateway(world.simulator.url, world.connection.phone)
    await gateway.open(epoch)
    await gateway.send_text(attempts[0])
    await gateway.close()
    return attempts[0], attempts[1]


async def statuses(world: World, send: AcceptedSend) -> set[MessageStatus]:
    recipients, _ = await SqlSendStore(world.database).list_recipients(
        world.business.id, send.send.id, Page(page=0, page_size=50)
    )
    return {recipient.status for recipient in recipients}


async def test_what_comes_in_while_temporal_is_away_is_stored_and_swept_later(world: World) -> None:
    link = await world.start_link()
    await world.connected()
    world.temporal.kill()
    try:
        world.customer_writes("5491170000009", "hola")
        work = SqlWorkStore(world.database)

        async def overdue() -> list[str]:
            now = datetime.now(UTC) + timedelta(seconds=31)
            return [one.id for one in await work.list_overdue(now, timedelta(seconds=30), 10) if one.kind == "chat"]

        (chat_id,) = await eventually(overdue, bool)
    finally:
        world.temporal.start()
    client = await world.temporal.connect()

    async def is_woken() -> bool:
        """Temporal may be slow just after its start: the sweeper tries again then."""
        with contextlib.suppress(RPCError):
            await sweep_later(work, client)
            await client.get_workflow_handle(f"chat/{chat_id}").describe()
            return True
        return False

    await eventually(is_woken, bool)
    assert link.exit_code is None


async def sweep_later(work: SqlWorkStore, client: Client) -> None:
    sweeper = Sweeper(
        work,
        TemporalStarter(client),
        lambda: fetch_namespace_id(client),
        holder="test",
        clock=lambda: datetime.now(UTC) + timedelta(seconds=31),
    )
    await sweeper.sweep()


async def test_number_on_a_simulator_that_is_off_is_away_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOTON_SIMULATOR", "0")
    link = await world.start_link()
    await ended(link)
    await link.stop()
    assert link.ended is not None
    assert "BOTON_SIMULATOR" in link.ended.reason
    stopped = await world.fetch()
    assert (stopped.status, stopped.reason) == (ConnectionStatus.DISCONNECTED, link.ended.reason)
