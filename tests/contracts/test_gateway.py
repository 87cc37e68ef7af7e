"""What every WhatsApp gateway promises (boton/ports/gateway.py), whatever network is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from boton.domain.gateway import Attempt, GatewayEvent, Inbound, Receipt, ReceiptKind, Sent, Unsettled
from boton.domain.messages import MessageKind, MessageType
from boton.errors import (
    ConnectionAway,
    NumberRefused,
    OutcomeUnknown,
    RecipientRefused,
    SendError,
    SessionReplaced,
)
from boton.ports import WhatsAppGateway
from tests.contracts.gateways import FORGETS, NETWORKS, STOPS_WHAT_IS_ON_ITS_WAY, Network, World
from tests.waiting import SECONDS

_numbers = count(1)


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = NETWORKS[request.param](tmp_path_factory.mktemp("network"))
    yield network
    network.stop()


@pytest.fixture
async def world(network: Network) -> AsyncIterator[World]:
    world = network.new_world()
    yield world
    await world.close()


@pytest.fixture(autouse=True)
def _gives(request: pytest.FixtureRequest, network: Network) -> None:
    """Skips what an implementation says it cannot give."""
    for mark in request.node.iter_markers("gives"):
        if mark.args[0] in network.lacks:
            pytest.skip(f"a documented difference: not everything {mark.args[0]}")


@pytest.fixture
async def gateway(world: World) -> WhatsAppGateway:
    """The gateway of the number's owner, epoch 1."""
    gateway = world.new_gateway()
    await gateway.open(1)
    return gateway


def attempt_for(jid: str, text: str = "hola", epoch: int = 1) -> Attempt:
    number = next(_numbers)
    return Attempt(
        id=f"att_{number}",
        message_id=f"msg_{number}",
        chat_id="cht_1",
        kind=MessageKind.REPLY,
        epoch=epoch,
        jid=jid,
        text=text,
        claimed_at=datetime.now(UTC),
    )


async def events_until(
    gateway: WhatsAppGateway, enough: Callable[[list[GatewayEvent]], bool], after: int = 0
) -> list[GatewayEvent]:
    seen: list[GatewayEvent] = []
    async with asyncio.timeout(SECONDS):
        while not enough(seen):
            seen += await gateway.read_events(seen[-1].cursor if seen else after, 5)
    return seen


async def left(world: World) -> None:
    """Until the attempt that was just started is between gateway and phone."""
    async with asyncio.timeout(SECONDS):
        while world.under_way() == 0:
            await asyncio.sleep(0.01)


def receipts(events: list[GatewayEvent], kind: ReceiptKind) -> list[str]:
    bodies = [event.body for event in events]
    return [id for body in bodies if isinstance(body, Receipt) and body.kind is kind for id in body.whatsapp_ids]


def inbound(events: list[GatewayEvent]) -> list[Inbound]:
    return [event.body for event in events if isinstance(event.body, Inbound)]


# ------------------------------------------------------------ connected


async def test_connected_gateway_proves_it_and_one_that_is_cut_off_does_not(
    world: World, gateway: WhatsAppGateway
) -> None:
    await gateway.prove_connected()
    world.set_faults(offline=True)
    with pytest.raises(ConnectionAway):
        await gateway.prove_connected()


async def test_gateway_that_was_replaced_proves_nothing(world: World, gateway: WhatsAppGateway) -> None:
    await world.new_gateway().open(2)
    with pytest.raises(SessionReplaced):
        await gateway.prove_connected()


# ------------------------------------------------------------ sending


async def test_what_is_sent_reaches_the_phone_once(world: World, gateway: WhatsAppGateway) -> None:
    jid = world.new_customer()
    before = datetime.now(UTC)

    sent = await gateway.send_text(attempt_for(jid, 'mañana a las 15 hs 👋\n"sí"'))

    assert world.received(jid) == ['mañana a las 15 hs 👋\n"sí"']
    assert sent.whatsapp_id
    assert timedelta(seconds=-2) < sent.at - before < timedelta(seconds=60)


async def test_gateway_never_deduplicates(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer())

    await gateway.send_text(attempt)
    await gateway.send_text(attempt)

    assert world.received(attempt.jid) == ["hola", "hola"]


async def test_unregistered_recipient_is_refused(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer(registered=False))

    with pytest.raises(RecipientRefused) as refusal:
        await gateway.send_text(attempt)

    assert refusal.value.code == "not_on_whatsapp"
    assert world.received(attempt.jid) == []


async def test_address_the_network_cannot_know_is_refused(gateway: WhatsAppGateway) -> None:
    for jid in ("12@s.whatsapp.net", "5491112345678-123@g.us"):
        with pytest.raises(RecipientRefused):
            await gateway.send_text(attempt_for(jid))


@pytest.mark.parametrize("code", [463, 429, 402])
async def test_refused_number_says_the_reason(world: World, gateway: WhatsAppGateway, code: int) -> None:
    attempt = attempt_for(world.new_customer())
    world.set_faults(rejectRate=1.0, rejectCode=code)

    with pytest.raises(NumberRefused) as refusal:
        await gateway.send_text(attempt)

    assert refusal.value.reason == code
    assert world.received(attempt.jid) == []


async def test_errors_tell_no_text_and_no_number(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer(registered=False), "un secreto")
    for faults in ({}, {"rejectRate": 1}, {"offline": True}, {"disconnectRate": 1}):
        world.set_faults(**faults)
        with pytest.raises(SendError) as refusal:
            await gateway.send_text(attempt)
        assert "secreto" not in repr(refusal.value)
        assert attempt.jid[:13] not in repr(refusal.value)


# ------------------------------------------------------------ what became of an attempt


async def test_lost_ack_is_found_to_be_sent(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer())
    world.set_faults(loseAckRate=1.0)

    with pytest.raises(OutcomeUnknown):
        await gateway.send_text(attempt)

    outcome = await gateway.find_outcome(attempt)
    assert isinstance(outcome, Sent)
    events = await events_until(gateway, lambda seen: bool(receipts(seen, ReceiptKind.DELIVERED)))
    assert receipts(events, ReceiptKind.DELIVERED) == [outcome.whatsapp_id]
    assert world.received(attempt.jid) == ["hola"]


async def test_confirmed_attempt_is_found_under_the_same_id(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer())

    sent = await gateway.send_text(attempt)

    assert await gateway.find_outcome(attempt) == sent


async def test_not_sent_is_final(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer())

    assert await gateway.find_outcome(attempt) is Unsettled.NOT_SENT
    with pytest.raises(SendError) as refusal:
        await gateway.send_text(attempt)

    assert refusal.value.definitely_not_sent
    assert await gateway.find_outcome(attempt) is Unsettled.NOT_SENT
    assert world.received(attempt.jid) == []


@pytest.mark.gives(STOPS_WHAT_IS_ON_ITS_WAY)
async def test_attempt_on_its_way_is_stopped_by_not_sent(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer())
    world.set_faults(latencyMs=5000)
    on_its_way = asyncio.create_task(gateway.send_text(attempt))
    await left(world)

    assert await gateway.find_outcome(attempt) is Unsettled.NOT_SENT

    with pytest.raises(SendError) as refusal:
        await on_its_way
    assert refusal.value.definitely_not_sent
    assert world.received(attempt.jid) == []


@pytest.mark.gives(FORGETS)
async def test_forgetful_network_says_that_it_cannot_tell(world: World, gateway: WhatsAppGateway) -> None:
    lost, unsent = attempt_for(world.new_customer()), attempt_for(world.new_customer())
    world.set_faults(loseAckRate=1.0, forgetful=True)
    with pytest.raises(OutcomeUnknown):
        await gateway.send_text(lost)

    assert await gateway.find_outcome(lost) is Unsettled.UNKNOWN
    assert await gateway.find_outcome(unsent) is Unsettled.UNKNOWN

    world.set_faults()
    assert isinstance(await gateway.find_outcome(lost), Sent)
    await gateway.send_text(unsent)  # what could not be told was not barred
    assert world.received(unsent.jid) == ["hola"]


# ------------------------------------------------------------ who is on WhatsApp


async def test_gateway_knows_who_is_on_whatsapp(world: World, gateway: WhatsAppGateway) -> None:
    here, gone = world.new_customer(online=False), world.new_customer(registered=False)

    assert here in await gateway.find_on_whatsapp(here)
    assert not await gateway.find_on_whatsapp(gone)

    world.change_customer(gone, registered=True)
    assert await gateway.find_on_whatsapp(gone)
    assert world.received(here) == world.received(gone) == []


async def test_who_is_known_by_lid_only_is_taken_to_be_on_whatsapp(gateway: WhatsAppGateway) -> None:
    assert list(await gateway.find_on_whatsapp("1029384756@lid")) == ["1029384756@lid"]


# ------------------------------------------------------------ epochs


async def test_lower_epoch_cannot_open(world: World, gateway: WhatsAppGateway) -> None:
    await gateway.open(5)

    with pytest.raises(SessionReplaced):
        await world.new_gateway().open(4)


async def test_opening_again_is_allowed(world: World, gateway: WhatsAppGateway) -> None:
    await gateway.open(1)
    await gateway.send_text(attempt_for(world.new_customer()))


async def test_replaced_session_can_do_nothing(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer(), epoch=1)
    await world.new_gateway().open(2)

    for request in (
        gateway.send_text(attempt),
        gateway.read_events(0, 5),
        gateway.find_outcome(attempt),
        gateway.find_on_whatsapp(attempt.jid),
    ):
        with pytest.raises(SessionReplaced):
            await request
    assert world.received(attempt.jid) == []


async def test_attempt_of_a_lower_epoch_is_not_sent_by_the_new_owner(world: World, gateway: WhatsAppGateway) -> None:
    await gateway.open(2)
    attempt = attempt_for(world.new_customer(), epoch=1)

    with pytest.raises(SessionReplaced):
        await gateway.send_text(attempt)
    assert world.received(attempt.jid) == []


@pytest.mark.gives(STOPS_WHAT_IS_ON_ITS_WAY)
async def test_attempt_on_its_way_dies_with_its_session(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer(), epoch=1)
    world.set_faults(latencyMs=5000)
    on_its_way = asyncio.create_task(gateway.send_text(attempt))
    await left(world)
    successor = world.new_gateway()

    await successor.open(2)

    with pytest.raises(SessionReplaced):
        await on_its_way
    assert world.received(attempt.jid) == []
    assert await successor.find_outcome(attempt) is Unsettled.NOT_SENT


async def test_waiting_reader_learns_that_it_was_replaced(world: World, gateway: WhatsAppGateway) -> None:
    waiting = asyncio.create_task(gateway.read_events(0, 60))
    await gateway.find_outcome(attempt_for(world.new_customer()))  # the wait has begun by the time this is answered

    await world.new_gateway().open(2)

    async with asyncio.timeout(SECONDS):
        with pytest.raises(SessionReplaced):
            await waiting


async def test_successor_learns_what_became_of_the_predecessors_attempts(
    world: World, gateway: WhatsAppGateway
) -> None:
    sent_one, unsent_one = attempt_for(world.new_customer()), attempt_for(world.new_customer())
    sent = await gateway.send_text(sent_one)
    await gateway.close()
    successor = world.new_gateway()
    await successor.open(2)

    assert await successor.find_outcome(sent_one) == sent
    assert await successor.find_outcome(unsent_one) is Unsettled.NOT_SENT


@pytest.mark.gives(STOPS_WHAT_IS_ON_ITS_WAY)
async def test_attempt_of_a_living_predecessor_is_not_sent_either(world: World, gateway: WhatsAppGateway) -> None:
    sent_one, unsent_one = attempt_for(world.new_customer()), attempt_for(world.new_customer())
    sent = await gateway.send_text(sent_one)
    successor = world.new_gateway()
    await successor.open(2)

    assert await successor.find_outcome(sent_one) == sent
    assert await successor.find_outcome(unsent_one) is Unsettled.NOT_SENT


async def test_without_an_open_session_nothing_is_sent(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer())
    await gateway.close()
    await gateway.close()
    stranger = world.new_gateway()

    for closed in (gateway, stranger):
        with pytest.raises(SendError) as refusal:
            await closed.send_text(attempt)
        assert refusal.value.definitely_not_sent
    assert world.received(attempt.jid) == []


async def test_late_close_does_not_end_the_successor(world: World, gateway: WhatsAppGateway) -> None:
    successor = world.new_gateway()
    await successor.open(2)

    await gateway.close()

    jid = world.new_customer()
    await successor.send_text(attempt_for(jid, epoch=2))
    assert world.received(jid) == ["hola"]


# ------------------------------------------------------------ events


async def test_customer_is_heard(world: World, gateway: WhatsAppGateway) -> None:
    jid = world.new_customer(name="Juan")
    id = world.customer_writes(jid, "hola, ¿hay turno?")

    (heard,) = inbound(await events_until(gateway, lambda seen: bool(inbound(seen))))

    assert (heard.whatsapp_id, heard.jid, heard.text) == (id, jid, "hola, ¿hay turno?")
    assert heard.push_name == "Juan"
    assert heard.type is MessageType.TEXT
    assert not heard.from_me
    assert abs(heard.at - datetime.now(UTC)) < timedelta(seconds=60)


async def test_waiting_reader_is_woken(world: World, gateway: WhatsAppGateway) -> None:
    jid = world.new_customer()
    waiting = asyncio.create_task(gateway.read_events(0, 60))
    await gateway.find_outcome(attempt_for(jid))

    await asyncio.to_thread(world.customer_writes, jid, "¿hola?")

    async with asyncio.timeout(SECONDS):
        assert [each.text for each in inbound(list(await waiting))] == ["¿hola?"]


async def test_nothing_to_tell_ends_the_wait(gateway: WhatsAppGateway) -> None:
    assert list(await gateway.read_events(0, 0)) == []
    assert list(await gateway.read_events(0, 0.05)) == []


async def test_events_are_given_again_until_the_cursor_moves(world: World, gateway: WhatsAppGateway) -> None:
    jid = world.new_customer()
    for text in ("uno", "dos", "tres"):
        world.customer_writes(jid, text)

    first = await events_until(gateway, lambda seen: len(inbound(seen)) == 3)
    again = list(await gateway.read_events(0, 0))
    rest = list(await gateway.read_events(first[0].cursor, 0))

    assert [each.text for each in inbound(first)] == ["uno", "dos", "tres"]
    assert again == first
    assert rest == first[1:]
    assert [each.cursor for each in first] == sorted({each.cursor for each in first})


async def test_successor_reads_on_where_the_predecessor_stopped(world: World, gateway: WhatsAppGateway) -> None:
    jid = world.new_customer()
    world.customer_writes(jid, "uno")
    first = await events_until(gateway, lambda seen: bool(inbound(seen)))
    await gateway.close()
    world.customer_writes(jid, "dos")
    successor = world.new_gateway()
    await successor.open(2)

    rest = await events_until(successor, lambda seen: bool(inbound(seen)), after=first[-1].cursor)

    assert [each.text for each in inbound(rest)] == ["dos"]


async def test_what_the_owner_types_is_told_before_its_receipts(world: World, gateway: WhatsAppGateway) -> None:
    jid = world.new_customer()
    id = world.owner_types(jid, "ya te atiendo")

    events = await events_until(gateway, lambda seen: bool(receipts(seen, ReceiptKind.DELIVERED)))

    assert isinstance(events[0].body, Inbound)
    assert events[0].body.from_me
    assert (events[0].body.whatsapp_id, events[0].body.jid, events[0].body.text) == (id, jid, "ya te atiendo")
    assert world.received(jid) == ["ya te atiendo"]


async def test_receipts_follow_the_phone(world: World, gateway: WhatsAppGateway) -> None:
    jid = world.new_customer(online=False, readAfterMs=0)
    sent = await gateway.send_text(attempt_for(jid))
    assert list(await gateway.read_events(0, 0)) == []
    assert world.received(jid) == []

    world.change_customer(jid, online=True)
    events = await events_until(gateway, lambda seen: bool(receipts(seen, ReceiptKind.READ)))

    bodies = [event.body for event in events]
    assert [body.kind for body in bodies if isinstance(body, Receipt)] == [ReceiptKind.DELIVERED, ReceiptKind.READ]
    assert all(isinstance(body, Receipt) and body.whatsapp_ids == (sent.whatsapp_id,) for body in bodies)
    assert all(isinstance(body, Receipt) and body.jid == jid for body in bodies)
    assert world.received(jid) == ["hola"]


async def test_typing_never_raises(world: World, gateway: WhatsAppGateway) -> None:
    await gateway.show_typing(world.new_customer(), 1.5)
    await gateway.show_typing("nobody", -1)
    world.set_faults(offline=True)
    await gateway.show_typing(world.new_customer(), 1.5)


# ------------------------------------------------------------ the network away


async def test_offline_network_is_connection_away(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer())
    waiting = asyncio.create_task(gateway.read_events(0, 60))
    await gateway.find_outcome(attempt_for(attempt.jid))
    world.set_faults(offline=True)

    for request in (
        waiting,
        gateway.send_text(attempt),
        gateway.find_outcome(attempt),
        gateway.find_on_whatsapp(attempt.jid),
        gateway.read_events(0, 0),
        gateway.open(1),
    ):
        with pytest.raises(ConnectionAway):
            await request

    world.customer_writes(attempt.jid, "¿están?")
    world.set_faults()
    await gateway.open(1)
    assert [each.text for each in inbound(list(await gateway.read_events(0, 30)))] == ["¿están?"]
    assert world.received(attempt.jid) == []


@pytest.mark.gives(STOPS_WHAT_IS_ON_ITS_WAY)
async def test_network_that_goes_away_under_way_delivers_nothing(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer())
    world.set_faults(latencyMs=5000)
    on_its_way = asyncio.create_task(gateway.send_text(attempt))
    await left(world)

    world.set_faults(offline=True)

    with pytest.raises(ConnectionAway):
        await on_its_way
    assert world.received(attempt.jid) == []


async def test_connection_lost_before_the_request_does_nothing(world: World, gateway: WhatsAppGateway) -> None:
    attempt = attempt_for(world.new_customer())
    world.set_faults(disconnectRate=1.0)

    for request in (
        gateway.send_text(attempt),
        gateway.find_outcome(attempt),
        gateway.find_on_whatsapp(attempt.jid),
        gateway.read_events(0, 0),
    ):
        with pytest.raises(ConnectionAway):
            await request

    world.set_faults()
    assert world.received(attempt.jid) == []
    await gateway.send_text(attempt)  # nothing was barred either
    assert world.received(attempt.jid) == ["hola"]
