"""One number, two hosts, one PostgreSQL: never two senders, nothing orphaned, everything found."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from boton.domain.gateway import ReceiptKind, Sent, Unsettled
from boton.errors import ConnectionAway, SessionReplaced
from boton.whatsapp.device_store import DeviceStore
from tests.contracts.gateways import NeonizePostgresNetwork, NeonizeWorld
from tests.contracts.test_gateway import attempt_for, events_until, inbound, receipts
from tests.waiting import SECONDS
from tests.whatsapp import events
from tests.whatsapp.test_neonize_gateway import is_spent_after


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NeonizePostgresNetwork]:
    network = NeonizePostgresNetwork(tmp_path_factory.mktemp("hosts"))
    yield network
    network.stop()


@pytest.fixture
async def world(network: NeonizePostgresNetwork) -> AsyncIterator[NeonizeWorld]:
    world = network.new_world()
    yield world
    await world.close()


async def test_frozen_host_that_wakes_sends_nothing_any_more(world: NeonizeWorld) -> None:
    frozen, next_one = world.new_gateway("one"), world.new_gateway("two")
    await frozen.open(1)
    claimed = attempt_for(world.new_customer(), epoch=1)
    await next_one.open(2)  # it does not wait for ever for one that gives no sign

    with pytest.raises(SessionReplaced):
        await frozen.send_text(claimed)
    with pytest.raises(SessionReplaced):
        await frozen.read_events(0, 0)
    with pytest.raises(SessionReplaced):
        await frozen.open(1)
    assert world.received(claimed.jid) == []


async def test_host_that_may_live_is_waited_for_before_its_number_is_connected(world: NeonizeWorld) -> None:
    first, second = world.new_gateway("one"), world.new_gateway("two", predecessors=60.0)
    await first.open(1)
    opening = asyncio.create_task(second.open(2))
    with pytest.raises(SessionReplaced):
        await first.read_events(0, 30)
    assert not opening.done()
    assert len(world.network.sessions) == 1, "the first one's"

    await first.close()
    await asyncio.wait_for(opening, SECONDS)
    assert len(world.network.sessions) == 1


async def test_process_leaves_sooner_where_each_connect_costs_the_database_a_connection(world: NeonizeWorld) -> None:
    gateway = world.new_gateway("one")
    await gateway.open(1)
    await is_spent_after(world, gateway, connects=5)


async def test_attempts_of_a_host_that_may_live_are_settled_when_it_has_left(world: NeonizeWorld) -> None:
    first, second = world.new_gateway("one"), world.new_gateway("two")
    await first.open(1)
    claimed = attempt_for(world.new_customer(), epoch=1)
    sent_one = attempt_for(world.new_customer(), epoch=1)
    sent = await first.send_text(sent_one)
    await second.open(2)

    assert await second.find_outcome(sent_one) == sent
    assert await second.find_outcome(claimed) is Unsettled.UNKNOWN
    await first.close()
    assert await second.find_outcome(claimed) is Unsettled.NOT_SENT


async def test_host_made_from_a_copy_of_anothers_folder_is_another_host(world: NeonizeWorld) -> None:
    """Both live: what the one has under way is not sent by the other, which sends its own none the less."""
    first = world.new_gateway("one")
    await first.open(1)
    claimed = attempt_for(world.new_customer(), epoch=1)
    shutil.copytree(world.new_store("one").folder.parent, world.new_store("copy").folder.parent)
    copy = world.new_gateway("copy")
    await copy.open(2)

    assert await copy.find_outcome(claimed) is Unsettled.UNKNOWN
    own = attempt_for(world.new_customer(), epoch=2)
    await copy.send_text(own)
    assert world.received(own.jid) == [own.text]
    with pytest.raises(SessionReplaced):
        await first.send_text(claimed)
    await first.close()
    assert await copy.find_outcome(claimed) is Unsettled.NOT_SENT


async def test_next_host_finds_the_device_the_journal_and_the_proofs(world: NeonizeWorld) -> None:
    first = world.new_gateway("one")
    await first.open(1)
    customer = world.new_customer()
    world.customer_writes(customer, "uno")
    heard = await events_until(first, lambda seen: bool(inbound(seen)))
    sent_one = attempt_for(customer)
    sent = await first.send_text(sent_one)
    await first.close()
    world.customer_writes(customer, "dos")

    second = world.new_gateway("two")
    await second.open(2)

    assert isinstance(await second.find_outcome(sent_one), Sent)
    rest = await events_until(second, lambda seen: len(inbound(seen)) == 1, after=heard[-1].cursor)
    assert receipts(rest, ReceiptKind.DELIVERED) == [sent.whatsapp_id]
    assert [each.text for each in inbound(rest)] == ["dos"]


async def test_two_numbers_in_one_database_know_nothing_of_each_other(
    world: NeonizeWorld, network: NeonizePostgresNetwork
) -> None:
    other = network.new_world()
    mine, theirs = world.new_gateway(), other.new_gateway()
    await mine.open(1)
    await theirs.open(1)
    other.customer_writes(other.new_customer(), "para otro")
    await events_until(theirs, lambda seen: bool(inbound(seen)))

    assert await mine.read_events(0, 0) == []
    await other.close()


async def test_hidden_number_of_a_customer_is_not_learnt_from_another_number(
    world: NeonizeWorld, network: NeonizePostgresNetwork
) -> None:
    """The library keeps one map of LIDs and numbers for all; who sees only the LID must not see the number by it."""
    other = network.new_world()
    theirs, mine = other.new_gateway(), world.new_gateway()
    await theirs.open(1)
    await mine.open(1)
    customer = other.new_customer()
    await theirs.send_text(attempt_for(customer))
    lid = other.network.phones[customer.partition("@")[0]].chat
    world.network.tell(events.message(events.info("3EB0HIDDEN", events.source(lid)), "¿quién soy?"))

    (said,) = inbound(await events_until(mine, lambda seen: bool(inbound(seen))))
    assert (said.jid, said.also_known_as) == (lid, ())
    await other.close()


async def test_store_that_is_away_is_a_connection_away(world: NeonizeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = world.new_gateway()
    await gateway.open(1)
    attempt = attempt_for(world.new_customer())
    url = world.store._url.set(database="nowhere")
    monkeypatch.setattr(gateway._session._store, "_url", url)
    gateway._session._store.close()

    with pytest.raises(ConnectionAway) as away:
        await gateway.send_text(attempt)
    assert "device store" in away.value.detail
    assert world.received(attempt.jid) == []


def test_shared_store_is_known_by_its_address(tmp_path: Path) -> None:
    assert DeviceStore(tmp_path, "postgresql://h/b").is_shared
    assert not DeviceStore(tmp_path, f"sqlite:///{tmp_path}/b.db").is_shared
