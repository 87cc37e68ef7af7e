"""Real link processes of WhatsApp numbers on a played network: several on one host, some of them killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.worker import Worker

from boton import names
from boton.clock import utc_now
from boton.domain.businesses import Business
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.linking import LinkRequest
from boton.domain.messages import Lane, MessageStatus
from boton.domain.sends import NewRecipient
from boton.ports import Page
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.connections import SqlConnectionStore
from boton.store.linking import SqlLinkingStore
from boton.store.sends import SqlSendStore
from boton.temporal import sandbox_runner
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_library import migrate
from tests.store.builders import NOW, a_send
from tests.waiting import eventually, until
from tests.whatsapp import events
from tests.whatsapp.devices import link_device
from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.remote import played_links
from tests.workers.conftest import PATIENCE, World
from workers.links import Links
from workers.running import LOST_OWNERSHIP
from workflows.send import SendWorkflow
from workflows.starter import TemporalStarter

LINKS = 3
KILLS = 3
BACK_WITHIN = 30.0


@dataclass
class Played:
    """A business with its number on the played network."""

    business: Business
    connection: Connection
    network: FakeNetwork
    phone: str


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, FakeNetwork]]:
    networks: dict[str, FakeNetwork] = {}
    with played_links(networks) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield networks


@pytest_asyncio.fixture
async def numbers(
    world: World, networks: dict[str, FakeNetwork], tmp_path: Path, sqlite_url: str
) -> AsyncIterator[list[Played]]:
    store = DeviceStore(tmp_path, sqlite_url)
    numbers = []
    for place in range(LINKS):
        number, phone = f"54911386200{place:02}", f"54911700000{place:02}"
        business = await SqlBusinessStore(world.database).create_business(number, bot_new_chats=False, now=NOW)
        await SqlBusinessStore(world.database).update_config(business.id, {"pacing": {"profile": "off"}})
        connection = await SqlConnectionStore(world.database).create_connection(
            business.id, Gateway.WHATSAPP, number, NOW
        )
        await asyncio.to_thread(migrate, store, connection.id)
        network = FakeNetwork(number, store.engine(connection.id))
        network.add_phone(phone)
        networks[link_device(store, connection.id, number)] = network
        numbers.append(Played(business, connection, network, phone))
    yield numbers
    store.close()


@contextlib.asynccontextmanager
async def held(numbers: list[Played]) -> AsyncIterator[Links]:
    links = Links(lambda _: None, PATIENCE)

    async def hold(connection_id: str) -> None:
        await links.adopt_or_start(connection_id)
        while await links.check(connection_id) is None:
            await asyncio.sleep(0.1)

    holding = [asyncio.create_task(hold(one.connection.id)) for one in numbers]
    try:
        yield links
    finally:
        for task in holding:
            task.cancel()
        await asyncio.wait(holding)
        await links.close()


async def is_up(world: World, one: Played, above: int = 0) -> Connection:
    async def fetch() -> Connection:
        return await SqlConnectionStore(world.database).fetch_connection(one.connection.id)

    return await eventually(fetch, lambda it: it.status is ConnectionStatus.CONNECTED and it.epoch > above)


async def test_what_the_library_prints_reaches_nobody_as_the_links_own_words_nor_with_a_number(
    world: World, numbers: list[Played], capfd: pytest.CaptureFixture[str]
) -> None:
    async with held([numbers[0]]) as links:
        up = await is_up(world, numbers[0])
        assert links.running()[up.id].ended is None
    printed = capfd.readouterr().err
    assert printed.count("SendMessage: Error sending to …@s.whatsapp.net") == 2
    assert "5491138620812" not in printed


async def test_event_that_cannot_be_read_is_counted_and_holds_up_nothing(world: World, numbers: list[Played]) -> None:
    number = numbers[0]
    async with held([number]) as links:
        await is_up(world, number)
        assert number.network.session is not None
        number.network.session.push_raw(17, b"\xff\xff\xff")
        number.network.customer_writes(number.phone, "hola")
        await eventually(partial(texts_of, world, number), lambda stored: stored == ["hola"])

        async def expositions() -> str:
            return "".join((await asyncio.to_thread(links.expositions)).values())

        await eventually(expositions, lambda told: "boton_events_unread_total 1.0" in told)


async def test_banned_number_stops_and_its_slow_lane_stays_closed_when_it_is_linked_again(
    world: World, numbers: list[Played]
) -> None:
    number = numbers[0]
    async with held([number]):
        up = await is_up(world, number)
        told_at = utc_now()
        number.network.tell(events.banned(3600))

        async def fetch() -> Connection:
            return await SqlConnectionStore(world.database).fetch_connection(number.connection.id)

        banned = await eventually(fetch, lambda it: it.status is ConnectionStatus.BANNED)
    closure = banned.slow_lane_closed(utc_now())
    assert closure is not None
    assert closure.code == "101"
    assert told_at <= closure.until - timedelta(hours=1) <= closure.at
    assert f"until {closure.until:%Y-%m-%d %H:%M} UTC" in (banned.reason or "")
    assert up.closure is None

    again = LinkRequest(gateway=Gateway.WHATSAPP, phone=number.connection.phone)
    await SqlLinkingStore(world.database).link(number.business.id, again, utc_now(), lambda *_: {})
    connecting = await fetch()
    assert (connecting.status, connecting.closure) == (ConnectionStatus.CONNECTING, closure)


async def texts_of(world: World, one: Played) -> list[str]:
    """What is stored of the customer's messages."""
    jid = f"{one.phone}@s.whatsapp.net"
    try:
        _, messages, _ = await SqlChatStore(world.database).list_messages(one.business.id, jid, limit=500)
    except Exception:  # noqa: BLE001 - no chat yet
        return []
    return [message.text for message in messages if message.direction == "incoming"]


@dataclass
class Going:
    """A send of one message."""

    number: Played
    send_id: str
    text: str


async def send(world: World, number: Played, words: str) -> Going:
    recipient = NewRecipient(to=number.phone, jid=f"{number.phone}@s.whatsapp.net", text=words)
    new = a_send(number.business, [], recipients=(recipient,))
    accepted = await SqlSendStore(world.database).accept_send(new)
    lanes = (Lane.FAST, Lane.SLOW)
    starter = TemporalStarter(world.client)
    await starter.start_send(accepted.send.id, number.business.id, number.connection.id, lanes=lanes)
    return Going(number, accepted.send.id, words)


async def kill(world: World, links: Links, number: Played, how: signal.Signals) -> float:
    """How long the number was away. A panic of the library is a SIGABRT."""
    before = await SqlConnectionStore(world.database).fetch_connection(number.connection.id)
    os.kill(links.running()[number.connection.id].pid, how)
    began = time.monotonic()
    await is_up(world, number, above=before.epoch)
    return time.monotonic() - began


async def final_status(world: World, going: Going) -> MessageStatus:
    handle = world.client.get_workflow_handle(names.send_workflow(going.send_id))
    await asyncio.wait_for(handle.result(), 120)
    sends = SqlSendStore(world.database)
    (recipient,), _ = await sends.list_recipients(going.number.business.id, going.send_id, Page(page=0, page_size=5))
    return recipient.status


async def test_killed_links_lose_and_repeat_nothing(world: World, numbers: list[Played]) -> None:
    """What was in the library's hands at the kill may have left or not: it is unconfirmed, and never sent twice."""
    worker = Worker(
        world.client, task_queue=names.WORK_QUEUE, workflows=[SendWorkflow], workflow_runner=sandbox_runner()
    )
    sends: list[Going] = []
    written: list[str] = []
    away: list[float] = []
    cut_off: list[Going] = []
    async with worker, held(numbers) as links:
        for number in numbers:
            await is_up(world, number)
        for round in range(KILLS):
            written.append(f"mensaje {round}")
            for number in numbers:
                number.network.customer_writes(number.phone, written[-1])
                sends.append(await send(world, number, f"respuesta {round}"))
            how = signal.SIGABRT if round % 2 else signal.SIGKILL
            victim = numbers[round % len(numbers)]
            cut_off += [going for going in sends if going.number is victim]
            away.append(await kill(world, links, victim, how))
        statuses = [await final_status(world, going) for going in sends]
        for number in numbers:
            await eventually(partial(texts_of, world, number), lambda stored: stored == written)
    for number in numbers:
        ours = {going.text: status for going, status in zip(sends, statuses, strict=True) if going.number is number}
        received = number.network.phones[number.phone].received
        assert len(received) == len(set(received)), "nothing is sent twice"
        missing = set(ours) - set(received)
        assert {ours[words] for words in missing} <= {MessageStatus.UNCONFIRMED}
    assert max(away) < BACK_WITHIN
    doubtful = [going for going, status in zip(sends, statuses, strict=True) if status is MessageStatus.UNCONFIRMED]
    assert all(going in cut_off for going in doubtful), "what was on the wire of a killed link, at most"
    print(
        f"{LINKS} links, {KILLS} kills: back within {max(away):.1f} s, of {len(sends)} messages "
        f"{len(doubtful)} unconfirmed"
    )


async def test_link_whose_number_is_anothers_ends_soon_also_where_a_send_hangs(
    world: World, numbers: list[Played]
) -> None:
    """A send that hangs does for a minute and a half, and so does the library's own stop then."""
    number = numbers[0]
    worker = Worker(
        world.client, task_queue=names.WORK_QUEUE, workflows=[SendWorkflow], workflow_runner=sandbox_runner()
    )
    async with worker, held([number]) as links:
        await is_up(world, number)
        number.network.set_faults(hang=True)
        await send(world, number, "hola")
        await until(lambda: number.network.attempts)
        link = links.running()[number.connection.id]
        await SqlConnectionStore(world.database).raise_epoch(number.connection.id, utc_now())
        await until(lambda: link.exit_code is not None)
    assert link.exit_code == LOST_OWNERSHIP
