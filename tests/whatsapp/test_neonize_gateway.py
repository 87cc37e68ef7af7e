"""What the library and the network do wrong, and what the gateway makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from google.protobuf.message import DecodeError
from sqlalchemy import text

from boton.domain.connections import ConnectionStatus
from boton.domain.gateway import Receipt, ReceiptKind, Sent, Typing, Unread, Unsettled
from boton.errors import (
    ConnectionAway,
    NumberLost,
    NumberRefused,
    OutcomeUnknown,
    ProcessSpent,
    RecipientRefused,
    RefusedForNow,
    SessionReplaced,
)
from boton.whatsapp.line import Line
from boton.whatsapp.neonize_client import NeonizeClient
from boton.whatsapp.neonize_gateway import NeonizeGateway
from boton.whatsapp.neonize_library import MessageProto
from tests.contracts.gateways import NeonizeNetwork, NeonizeWorld
from tests.contracts.test_gateway import attempt_for, events_until, inbound, left, receipts
from tests.waiting import SECONDS, until
from tests.whatsapp import events
from tests.whatsapp.ffi import Refusal, Session

FOR_NOW = 600_000
"""Milliseconds: whoever is on their way stays there until the test goes on."""


@pytest.fixture
async def gateway(world: NeonizeWorld) -> NeonizeGateway:
    gateway = world.new_gateway()
    await gateway.open(1)
    return gateway


def session_of(world: NeonizeWorld) -> Session:
    session = world.network.session
    assert session is not None
    return session


async def is_spent_after(world: NeonizeWorld, gateway: NeonizeGateway, *, connects: int) -> None:
    """An open gateway connects no more than so often, the first time included."""
    for _ in range(connects - 1):
        session_of(world).end_pump("gone")
        await away(gateway)
        await gateway.open(1)
    session_of(world).end_pump("gone")
    await away(gateway)

    with pytest.raises(ProcessSpent):
        await gateway.open(1)


async def away(gateway: NeonizeGateway) -> str:
    """Why the connection is away, as soon as it is."""
    cursor = 0
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                heard = await gateway.read_events(cursor, 0.05)
                cursor = heard[-1].cursor if heard else cursor
            except ConnectionAway as error:
                return error.detail
            await asyncio.sleep(0.01)


# ------------------------------------------------------------ what the library does wrong


async def test_dead_event_pump_is_noticed_and_replaced(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    customer = world.new_customer()
    session = session_of(world)
    session.end_pump("proto: required field neonize.Receipt.Type not set")

    assert "library failed" in await away(gateway)
    assert session.connected, "the socket stays up, and nobody hears of it"
    await gateway.open(1)

    assert session_of(world) is not session
    world.customer_writes(customer, "¿siguen ahí?")
    heard = await events_until(gateway, lambda seen: bool(inbound(seen)))
    assert [each.text for each in inbound(heard)] == ["¿siguen ahí?"]


async def test_pump_that_dies_wakes_a_waiting_reader(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    reading = asyncio.create_task(gateway.read_events(0, 60))
    await asyncio.sleep(0)
    session_of(world).end_pump("proto: required field neonize.ConnectFailure.Reason not set")

    async with asyncio.timeout(SECONDS):
        with pytest.raises(ConnectionAway):
            await reading


async def test_send_that_hangs_is_given_up_and_the_connection_made_anew(world: NeonizeWorld) -> None:
    gateway = world.new_gateway(send=5, proof=0.1)
    await gateway.open(1)
    attempt = attempt_for(world.new_customer())
    world.network.faults = {"hang": True}

    with pytest.raises(OutcomeUnknown):
        await gateway.send_text(attempt)
    world.network.faults = {}
    with pytest.raises(ConnectionAway):
        await gateway.send_text(attempt_for(attempt.jid))

    await gateway.open(1)
    assert await gateway.find_outcome(attempt) is Unsettled.UNKNOWN
    other = attempt_for(world.new_customer())
    await gateway.send_text(other)
    assert world.received(other.jid) == ["hola"]
    assert world.received(attempt.jid) == []


async def test_many_hung_sends_do_not_keep_the_library_from_being_stopped(world: NeonizeWorld) -> None:
    gateway = world.new_gateway(send=5, proof=0.1)
    await gateway.open(1)
    attempts = [attempt_for(world.new_customer()) for _ in range(40)]
    world.network.faults = {"hang": True}
    sends = [asyncio.create_task(gateway.send_text(attempt)) for attempt in attempts]
    await until(lambda: world.network.under_way == 16)
    world.network.faults = {}

    async with asyncio.timeout(SECONDS):
        ends = await asyncio.gather(*sends, return_exceptions=True)
        await gateway.open(1)
        await gateway.send_text(attempt_for(world.new_customer()))

    assert any(isinstance(end, OutcomeUnknown) for end in ends)
    assert any(isinstance(end, ConnectionAway) for end in ends), "those who waited never reached the library"


async def test_library_that_does_not_stop_asks_for_a_fresh_process(
    played: NeonizeNetwork, world: NeonizeWorld, gateway: NeonizeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second client of it beside one that still runs would be an orphan that drives the same device."""
    go, released = played.go, threading.Event()
    stop = go.Stop

    def hang(*arguments: object) -> object:
        released.wait(SECONDS)
        return stop(*arguments)

    monkeypatch.setattr(go, "Stop", hang)
    monkeypatch.setattr("boton.whatsapp.neonize_library._STOP_SECONDS", 0.1)
    session_of(world).end_pump("gone")
    await away(gateway)

    with pytest.raises(ProcessSpent):
        await gateway.open(1)
    released.set()


async def test_send_that_still_hangs_in_the_library_is_not_said_to_be_not_sent(world: NeonizeWorld) -> None:
    gateway = world.new_gateway()
    await gateway.open(1)
    attempt = attempt_for(world.new_customer())
    world.set_faults(latencyMs=FOR_NOW)
    on_its_way = asyncio.create_task(gateway.send_text(attempt))
    await left(world)

    assert await gateway.find_outcome(attempt) is Unsettled.UNKNOWN

    world.set_faults()
    sent = await on_its_way
    assert await gateway.find_outcome(attempt) == sent


async def test_timeout_that_no_receipt_settles_stays_unknown_until_one_comes(world: NeonizeWorld) -> None:
    gateway = world.new_gateway(proof=0.1)
    await gateway.open(1)
    customer = world.new_customer(online=False)
    attempt = attempt_for(customer)
    world.set_faults(loseAckRate=1.0)
    with pytest.raises(OutcomeUnknown):
        await gateway.send_text(attempt)
    assert await gateway.find_outcome(attempt) is Unsettled.UNKNOWN

    world.change_customer(customer, online=True)

    async with asyncio.timeout(SECONDS):
        while not isinstance(await gateway.find_outcome(attempt), Sent):
            await asyncio.sleep(0.05)
    assert world.received(customer) == ["hola"]


@pytest.mark.parametrize("kind", ["SENDER", "RETRY", "INACTIVE", "READ"])
async def test_any_receipt_proves_a_message_to_be_sent(world: NeonizeWorld, kind: str) -> None:
    gateway = world.new_gateway(proof=SECONDS)
    await gateway.open(1)
    customer = world.new_customer(online=False)
    attempt = attempt_for(customer)
    world.set_faults(loseAckRate=1.0)
    with pytest.raises(OutcomeUnknown):
        await gateway.send_text(attempt)
    (phone,) = world.network.phones.values()
    ((message_id, _),) = phone.waiting

    asking = asyncio.create_task(gateway.find_outcome(attempt))
    world.network.tell(events.receipt(events.source(phone.chat), [message_id], kind))

    outcome = await asking
    assert isinstance(outcome, Sent)
    assert outcome.whatsapp_id == message_id


async def test_attempt_whose_traces_went_with_the_device_is_unknown(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    """At a logout the library deletes the device, and its secrets, before it tells us."""
    attempt = attempt_for(world.new_customer())
    with world.store.engine(world.connection_id).begin() as sql:
        sql.execute(text("DELETE FROM whatsmeow_device"))

    assert await gateway.find_outcome(attempt) is Unsettled.UNKNOWN


async def test_connection_lost_after_the_wire_is_an_unknown_outcome(
    world: NeonizeWorld, gateway: NeonizeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library writes a message again after a reconnect, and finds no connection."""
    attempt = attempt_for(world.new_customer())

    def cut_off(_: Session) -> None:
        raise Refusal("websocket not connected")

    monkeypatch.setattr(world.network, "_travel", cut_off)

    with pytest.raises(OutcomeUnknown):
        await gateway.send_text(attempt)


async def test_attempt_cut_off_on_its_way_is_unknown(world: NeonizeWorld) -> None:
    """A documented difference: the socket has it, and nobody can take it back."""
    gateway = world.new_gateway(proof=0.1)
    await gateway.open(1)
    attempt = attempt_for(world.new_customer())
    world.set_faults(latencyMs=FOR_NOW)
    on_its_way = asyncio.create_task(gateway.send_text(attempt))
    await left(world)
    world.set_faults(offline=True)

    with pytest.raises(OutcomeUnknown):
        await on_its_way
    world.set_faults()
    await gateway.open(1)
    assert await gateway.find_outcome(attempt) is Unsettled.UNKNOWN


async def test_nothing_is_asked_of_the_library_before_it_is_up_or_after_it_stopped(
    played: NeonizeNetwork, world: NeonizeWorld
) -> None:
    """Such a call ends the process, or answers "client is nil"."""
    world.set_faults(offline=True)
    gateway = world.new_gateway()
    with pytest.raises(ConnectionAway):
        await gateway.open(1)
    jid = world.new_customer()
    for request in (gateway.send_text(attempt_for(jid)), gateway.find_on_whatsapp(jid), gateway.show_typing(jid, 1)):
        with contextlib.suppress(ConnectionAway):
            await request
    world.set_faults()
    await gateway.open(1)
    await gateway.close()
    played.go.calls.clear()
    for request in (gateway.send_text(attempt_for(jid)), gateway.find_on_whatsapp(jid), gateway.show_typing(jid, 1)):
        with contextlib.suppress(ConnectionAway):
            await request
    await asyncio.sleep(0.05)
    assert played.go.calls == []


async def test_nothing_is_asked_of_the_library_while_it_stops(
    played: NeonizeNetwork, world: NeonizeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its map of clients has no lock: such a call may end the process, whatever was checked before."""
    stopping, released = threading.Event(), threading.Event()
    stop = played.go.Stop

    def hang(*arguments: object) -> object:
        stopping.set()
        released.wait(SECONDS)
        return stop(*arguments)

    monkeypatch.setattr(played.go, "Stop", hang)
    device = world.store.find_device(world.connection_id)
    assert device is not None
    connected = asyncio.Event()
    loop = asyncio.get_running_loop()
    client = NeonizeClient(
        world.store.library_name(world.connection_id),
        device.jid,
        lambda *_: loop.call_soon_threadsafe(connected.set),
        on_answer=lambda: None,
        on_end=lambda _: None,
    )
    with pytest.raises(ConnectionAway):
        await client.look_up("5491155550000")
    await client.connect()
    await asyncio.wait_for(connected.wait(), SECONDS)
    end = asyncio.create_task(client.stop())
    await until(stopping.is_set)
    with pytest.raises(ConnectionAway):
        await client.look_up("5491155550000")
    released.set()
    await end
    assert "IsOnWhatsApp" not in played.go.calls


async def test_library_that_is_not_connected_and_does_not_say_so_is_found_out(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    reading = asyncio.create_task(gateway.read_events(0, 60))
    await gateway.prove_connected()
    session_of(world).connected = False

    with pytest.raises(ConnectionAway, match="did not say so"):
        await gateway.prove_connected()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(ConnectionAway):
            await reading


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_wedged_connection_is_away_within_a_minute_and_made_anew(
    played: NeonizeNetwork, world: NeonizeWorld
) -> None:
    """The library says that it is connected, and WhatsApp says nothing: only an answer is a proof."""
    clock = Clock()
    gateway = world.new_gateway(clock=clock, answer=0.2)
    await gateway.open(1)
    wedged = session_of(world)
    world.network.faults = {"silent": True}
    clock.now += 45
    await gateway.prove_connected()
    assert "GetBlocklist" not in played.go.calls

    clock.now += 15
    with pytest.raises(ConnectionAway, match="WhatsApp gives no answer"):
        await gateway.prove_connected()
    assert wedged.connected
    with pytest.raises(ConnectionAway):
        await gateway.read_events(0, 5)

    world.network.faults = {}
    await gateway.open(1)
    assert session_of(world) is not wedged
    await gateway.prove_connected()


async def test_quiet_number_stays_connected_and_asks_about_once_a_minute(
    played: NeonizeNetwork, world: NeonizeWorld
) -> None:
    clock = Clock()
    gateway = world.new_gateway(clock=clock)
    await gateway.open(1)
    for _ in range(60 * 60 // 20):
        clock.now += 20
        await gateway.prove_connected()
    assert 50 <= played.go.calls.count("GetBlocklist") <= 60


async def test_refused_question_is_an_answer(played: NeonizeNetwork, world: NeonizeWorld) -> None:
    """A number that asks too much is connected; a reconnect would make it ask for more."""
    clock = Clock()
    gateway = world.new_gateway(clock=clock)
    await gateway.open(1)
    world.network.faults = {"refuse": 429}
    clock.now += 60
    await gateway.prove_connected()
    await gateway.prove_connected()
    assert played.go.calls.count("GetBlocklist") == 1


@pytest.mark.parametrize("sign", ["a message", "an acknowledged send", "a pong after missed ones"])
async def test_sign_of_life_spares_the_question(played: NeonizeNetwork, world: NeonizeWorld, sign: str) -> None:
    clock, customer = Clock(), world.new_customer()
    gateway = world.new_gateway(clock=clock)
    await gateway.open(1)
    clock.now += 60
    match sign:
        case "a message":
            world.customer_writes(customer, "hola")
            await events_until(gateway, lambda seen: bool(inbound(seen)))
        case "an acknowledged send":
            world.change_customer(customer, online=False)
            await gateway.send_text(attempt_for(customer))
        case _:
            session_of(world).push(events.keep_alive_timeout())
            session_of(world).push(events.pb.KeepAliveRestored())
            session_of(world).drain()
    await gateway.prove_connected()
    assert "GetBlocklist" not in played.go.calls


@pytest.mark.parametrize("event", [events.keep_alive_timeout(), events.disconnected()])
async def test_what_the_library_says_of_itself_is_no_sign_of_life(world: NeonizeWorld, event: object) -> None:
    clock = Clock()
    line = Line(clock)
    line.hear(events.connected())
    clock.now += 60
    line.hear(event)
    assert line.silence == 60


async def test_silence_that_a_message_breaks_is_no_wedge(played: NeonizeNetwork, world: NeonizeWorld) -> None:
    """Though the question itself is answered too late."""
    clock = Clock()
    gateway = world.new_gateway(clock=clock, answer=SECONDS)
    await gateway.open(1)
    world.network.faults = {"silent": True}
    clock.now += 60
    proving = asyncio.create_task(gateway.prove_connected())
    await until(lambda: "GetBlocklist" in played.go.calls)
    world.customer_writes(world.new_customer(), "hola")
    await proving


async def test_missed_pings_are_a_connection_away_until_one_is_answered(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    session_of(world).push(events.keep_alive_timeout())
    await away(gateway)

    session_of(world).push(events.pb.KeepAliveRestored())
    await gateway.open(1)
    assert await gateway.read_events(0, 0) == []


async def test_process_that_connected_often_enough_asks_for_a_fresh_one(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    await is_spent_after(world, gateway, connects=50)


# ------------------------------------------------------------ the number is lost


@pytest.mark.parametrize(
    ("event", "status", "advice"),
    [
        (events.logged_out(), ConnectionStatus.LOGGED_OUT, "link the phone again"),
        (events.logged_out("MAIN_DEVICE_GONE"), ConnectionStatus.BANNED, "open WhatsApp on the phone"),
        (events.logged_out("UNKNOWN_LOGOUT"), ConnectionStatus.BANNED, "ask for a review"),
        (events.banned(3600), ConnectionStatus.BANNED, "until"),
        (events.outdated(), ConnectionStatus.OUTDATED, "newer version"),
        (events.connect_failure("CLIENT_OUTDATED"), ConnectionStatus.OUTDATED, "newer version"),
    ],
)
async def test_lost_number_says_what_to_do(
    world: NeonizeWorld, gateway: NeonizeGateway, event: object, status: ConnectionStatus, advice: str
) -> None:
    reading = asyncio.create_task(gateway.read_events(0, 60))
    session_of(world).push(event)

    async with asyncio.timeout(SECONDS):
        with pytest.raises(NumberLost) as lost:
            await reading
    assert lost.value.status is status
    assert advice in lost.value.detail
    with pytest.raises(NumberLost):
        await gateway.open(1)
    with pytest.raises(ConnectionAway):
        await gateway.send_text(attempt_for(world.new_customer()))


async def test_failure_that_passes_is_only_a_connection_away(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    session_of(world).push(events.connect_failure("SERVICE_UNAVAILABLE"))
    await away(gateway)
    session_of(world).push(events.connected())
    await gateway.open(1)


async def test_what_was_heard_before_the_end_is_still_given(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    world.customer_writes(world.new_customer(), "último")
    session_of(world).push(events.logged_out())
    session_of(world).drain()

    heard = await gateway.read_events(0, 0)
    assert [each.text for each in inbound(list(heard))] == ["último"]
    with pytest.raises(NumberLost):
        await gateway.read_events(heard[-1].cursor, 0)


async def test_device_that_is_gone_is_never_handed_to_the_library(world: NeonizeWorld) -> None:
    """An unknown JID ends the process."""
    with world.store.engine(world.connection_id).begin() as sql:
        sql.execute(text("DELETE FROM whatsmeow_device"))

    with pytest.raises(NumberLost) as lost:
        await world.new_gateway().open(1)

    assert lost.value.status is ConnectionStatus.LOGGED_OUT


async def test_device_that_went_meanwhile_is_not_connected_again(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    session_of(world).end_pump("gone")
    await away(gateway)
    with world.store.engine(world.connection_id).begin() as sql:
        sql.execute(text("DELETE FROM whatsmeow_device"))

    with pytest.raises(NumberLost) as lost:
        await gateway.open(1)

    assert lost.value.status is ConnectionStatus.LOGGED_OUT
    assert world.network.sessions == []


async def test_device_of_another_phone_is_never_driven(played: NeonizeNetwork, world: NeonizeWorld) -> None:
    with pytest.raises(NumberLost) as lost:
        await world.new_gateway(phone="5491100009999").open(1)
    assert lost.value.status is ConnectionStatus.LOGGED_OUT
    assert "belongs to another phone" in lost.value.detail
    assert world.network.sessions == []

    await world.new_gateway(phone=f"54{world.network.business.removeprefix('549')}").open(2)  # another spelling of it
    assert len(world.network.sessions) == 1


async def test_replaced_once_it_takes_the_number_back_replaced_twice_it_gives_up(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    session_of(world).push(events.replaced())
    assert "took the connection over" in await away(gateway)
    await gateway.open(1)
    await gateway.send_text(attempt_for(world.new_customer()))

    session_of(world).push(events.replaced())
    await away(gateway)
    with pytest.raises(NumberLost) as lost:
        await gateway.open(1)
    assert lost.value.status is ConnectionStatus.REPLACED
    assert "stop the other one" in lost.value.detail


async def test_replaced_by_a_higher_epoch_it_does_not_fight(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    await world.new_gateway().open(2)

    with pytest.raises(SessionReplaced):
        await gateway.read_events(0, 5)
    with pytest.raises(SessionReplaced):
        await gateway.open(1)


async def test_logged_out_device_is_gone_and_without_a_connection_it_only_closes(world: NeonizeWorld) -> None:
    gateway = world.new_gateway()
    assert not await gateway.log_out(), "the phone was not told"
    assert world.store.find_device(world.connection_id) is not None

    gateway = world.new_gateway()
    await gateway.open(1)
    assert await gateway.log_out()
    assert world.store.find_device(world.connection_id) is None
    assert list(world.store.folder.glob(f"{world.connection_id}*.db*")) == [], "its keys and its journal are gone"
    with pytest.raises(ConnectionAway):
        await gateway.read_events(0, 0)


async def test_text_that_cannot_be_sent_is_refused_and_holds_up_nothing(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    attempt = attempt_for(world.new_customer(), "\ud83d")
    with pytest.raises(RecipientRefused):
        await gateway.send_text(attempt)
    assert await gateway.find_outcome(attempt) is Unsettled.NOT_SENT


async def test_echo_of_a_message_on_its_way_is_known_to_be_ours(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    """Before the library has told its id: it must not look like somebody who typed on the phone."""
    attempt = attempt_for(world.new_customer())
    world.set_faults(latencyMs=FOR_NOW)
    on_its_way = asyncio.create_task(gateway.send_text(attempt))
    await left(world)
    phone = world.network.phones[attempt.jid.partition("@")[0]]
    with world.store.engine(world.connection_id).connect() as sql:
        ((id, secret),) = sql.execute(text("SELECT message_id, key FROM whatsmeow_message_secrets")).all()
    echo = MessageProto(conversation=attempt.text)
    echo.messageContextInfo.messageSecret = bytes(secret)
    world.network.tell(events.message(events.info(id, events.source(phone.chat, alt=phone.jid, from_me=True)), echo))

    heard = await events_until(gateway, lambda seen: bool(inbound(seen)))

    assert [(each.from_me, each.attempt_id) for each in inbound(heard)] == [(True, attempt.id)]
    assert not on_its_way.done()
    world.set_faults()
    await on_its_way


# ------------------------------------------------------------ who owned it before


async def test_attempt_of_a_predecessor_that_may_live_is_unknown(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    """A documented difference: NOT_SENT is final, so it waits until nobody is left who could send it."""
    attempt = attempt_for(world.new_customer())
    successor = world.new_gateway()
    await successor.open(2)
    assert await successor.find_outcome(attempt) is Unsettled.UNKNOWN

    await gateway.close()

    assert await successor.find_outcome(attempt) is Unsettled.NOT_SENT


async def test_attempt_on_its_way_in_a_replaced_process_is_unknown(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    attempt = attempt_for(world.new_customer())
    world.set_faults(latencyMs=FOR_NOW)
    on_its_way = asyncio.create_task(gateway.send_text(attempt))
    await left(world)
    successor = world.new_gateway(proof=0.1)

    await successor.open(2)

    with pytest.raises(OutcomeUnknown):
        await on_its_way
    assert await successor.find_outcome(attempt) is Unsettled.UNKNOWN
    assert world.received(attempt.jid) == []


async def test_attempt_from_before_the_phone_was_linked_again_is_unknown(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    """Its trace went with the old device."""
    attempt = attempt_for(world.new_customer())
    await gateway.close()
    device = world.store.find_device(world.connection_id)
    assert device is not None
    world.store.assign(world.connection_id, device.jid)

    successor = world.new_gateway()
    await successor.open(2)

    assert await successor.find_outcome(attempt) is Unsettled.UNKNOWN


# ------------------------------------------------------------ coming in


async def test_duplicate_events_say_the_same_twice(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    """The store keeps one, by chat and id."""
    phone = world.network.phones[world.new_customer().partition("@")[0]]
    about = events.info("3EBX", events.source(phone.chat, alt=phone.jid))
    for _ in range(2):
        world.network.tell(events.message(about, "hola"))

    heard = inbound(await events_until(gateway, lambda seen: len(inbound(seen)) == 2))

    assert {(each.jid, each.whatsapp_id, each.text) for each in heard} == {(phone.jid, "3EBX", "hola")}


async def test_receipt_with_many_ids_is_one_receipt(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    phone = world.network.phones[world.new_customer().partition("@")[0]]
    await gateway.find_on_whatsapp(phone.jid)
    ids = [f"3EB0{number}" for number in range(50)]
    world.network.tell(events.receipt(events.source(phone.chat), ids, "READ"))

    heard = await events_until(gateway, lambda seen: bool(receipts(seen, ReceiptKind.READ)))

    assert receipts(heard, ReceiptKind.READ) == ids
    (body,) = [event.body for event in heard if isinstance(event.body, Receipt)]
    assert body.jid == phone.jid, "the receipt came from a LID"


async def test_receipt_before_the_answer_to_the_send_is_given(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    sent = await gateway.send_text(attempt_for(world.new_customer()))
    heard = await events_until(gateway, lambda seen: bool(receipts(seen, ReceiptKind.DELIVERED)))
    assert receipts(heard, ReceiptKind.DELIVERED) == [sent.whatsapp_id]


async def test_event_nobody_can_read_does_not_keep_back_the_next(
    world: NeonizeWorld, gateway: NeonizeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    session_of(world).push_raw(17, b"\xff\xff\xffsecreto")
    session_of(world).push_raw(99, b"")
    world.customer_writes(world.new_customer(), "hola")

    heard = await events_until(gateway, lambda seen: bool(inbound(seen)))

    assert [event.body for event in heard[:2]] == [Unread(code=17), Unread(code=99)]
    assert inbound(heard)[0].text == "hola"
    assert "secreto" not in caplog.text


async def test_event_nobody_can_read_is_told_by_a_later_version_that_can(
    world: NeonizeWorld, gateway: NeonizeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_code: int, _payload: bytes) -> object:
        raise DecodeError("missing a field of tomorrow")

    with monkeypatch.context() as today:
        today.setattr("boton.whatsapp.number.parse_event", fail)
        written = world.customer_writes(world.new_customer(), "hola")
        heard = await events_until(gateway, lambda seen: bool(seen))
        assert [event.body for event in heard] == [Unread(code=17)]
        await gateway.close()

    successor = world.new_gateway()
    await successor.open(2)
    heard = await events_until(successor, lambda seen: bool(inbound(seen)), heard[-1].cursor)
    assert [(each.whatsapp_id, each.text) for each in inbound(heard)] == [(written, "hola")]


async def test_event_that_cannot_be_written_down_is_a_connection_away(
    world: NeonizeWorld, gateway: NeonizeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing more is taken from WhatsApp that would be lost, too."""
    monkeypatch.setattr("boton.whatsapp.journal._TRIES", 2)
    customer = world.new_customer()
    with world.store.engine(world.connection_id).begin() as sql:
        sql.execute(
            text("CREATE TRIGGER full BEFORE INSERT ON boton_events BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        )
    world.customer_writes(customer, "hola")

    assert "journal cannot be written" in await away(gateway)

    with world.store.engine(world.connection_id).begin() as sql:
        sql.execute(text("DROP TRIGGER full"))
    await gateway.open(1)
    world.customer_writes(customer, "¿hola?")
    heard = await events_until(gateway, lambda heard: inbound(heard))
    assert [each.text for each in inbound(heard)] == ["¿hola?"]


async def test_history_nobody_can_read_is_not_kept_with_the_groups_that_it_may_hold(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    session_of(world).push_raw(13, b"\xff\xff\xffsecreto")
    world.customer_writes(world.new_customer(), "hola")
    await events_until(gateway, lambda seen: bool(inbound(seen)))
    assert [file.name for file in world.store.folder.iterdir() if b"secreto" in file.read_bytes()] == []


async def test_message_that_cannot_be_converted_is_told_as_unreadable(
    world: NeonizeWorld, gateway: NeonizeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise KeyError("a field of tomorrow")

    monkeypatch.setattr("boton.whatsapp.inbound.read_content", fail)
    customer = world.new_customer()
    written = world.customer_writes(customer, "hola")

    (said,) = inbound(await events_until(gateway, lambda seen: bool(inbound(seen))))

    assert (said.jid, said.whatsapp_id, said.text) == (customer, written, "Message that could not be read")


async def test_groups_are_stored_nowhere(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    for chat in ("120363@g.us", "status@broadcast", "120363@newsletter"):
        of = events.source(chat, sender="549115@s.whatsapp.net")
        world.network.tell(events.message(events.info("3EBG", of), "secreto de un grupo"))
    world.customer_writes(world.new_customer(), "hola")
    await events_until(gateway, lambda seen: bool(inbound(seen)))

    files = sorted(world.store.folder.iterdir())
    assert len(files) > 3
    assert [file.name for file in files if b"secreto" in file.read_bytes()] == []


async def test_customer_who_types_is_told(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    phone = world.network.phones[world.new_customer().partition("@")[0]]
    of = events.source(phone.chat, alt=phone.jid)
    world.network.tell(events.typing(of, paused=True))
    world.network.tell(events.typing(of))

    heard = await events_until(gateway, lambda seen: bool(seen))

    assert [event.body for event in heard] == [Typing(jid=phone.jid)]


async def test_number_is_online_only_while_typing_is_waited_for(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    """Or the phone would ring for nobody."""
    await gateway.prove_connected()
    await gateway.prove_connected()
    assert world.network.presences == ["unavailable"]

    for seconds in (0.3, 0.1):
        await gateway.watch_typing(seconds)
    await until(lambda: len(world.network.presences) == 3)
    assert world.network.presences == ["unavailable", "available", "unavailable"]


async def test_number_introduces_itself_after_each_connect(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    await gateway.prove_connected()
    world.network.drop(session_of(world))
    world.set_faults()
    await gateway.open(1)
    await gateway.prove_connected()
    assert world.network.presences == ["unavailable"] * 2


async def test_number_without_a_name_yet_is_connected_and_introduces_itself_later(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    world.network.faults = {"nameless": True}
    await gateway.prove_connected()
    world.network.faults = {}
    await gateway.prove_connected()
    assert world.network.presences == ["unavailable"]


async def test_flood_is_journalled_once_and_in_order(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    customer = world.new_customer()
    for number in range(1000):
        world.customer_writes(customer, str(number))

    heard = await events_until(gateway, lambda seen: len(seen) >= 1000)

    assert [each.text for each in inbound(heard)] == [str(number) for number in range(1000)]
    assert len({event.cursor for event in heard}) == 1000


# ------------------------------------------------------------ going out


async def test_text_goes_out_exactly_as_written(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    """Of an ordinary string the library would make mentions and ask for groups."""
    words = "@5491112345678 mirá https://x.test 120363@g.us"
    customer = world.new_customer()
    await gateway.send_text(attempt_for(customer, words))
    assert world.received(customer) == [words]


@pytest.mark.parametrize(
    ("ours", "theirs"), [("541199990000", "5491199990000"), ("525599990000", "5215599990000")], ids=["ar", "mx"]
)
async def test_canonical_jid_is_asked_for_once_and_used(
    world: NeonizeWorld, gateway: NeonizeGateway, ours: str, theirs: str
) -> None:
    """Argentina: we say 54 11, WhatsApp says 54 9 11 (Mexico: 52 and 52 1); the LID stands for both."""
    phone = world.network.phones[ours] = world.network.add_phone(theirs)
    jid = f"{ours}@s.whatsapp.net"

    for _ in range(2):
        assert list(await gateway.find_on_whatsapp(jid)) == [jid, phone.chat]
    await gateway.send_text(attempt_for(jid))

    assert world.network.asked == [ours]
    heard = await events_until(gateway, lambda seen: bool(receipts(seen, ReceiptKind.DELIVERED)))
    assert {event.body.jid for event in heard if isinstance(event.body, Receipt)} == {jid}


async def test_canonical_jid_outlives_a_connection_away(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    phone = world.network.phones["541199990000"] = world.network.add_phone("5491199990000")
    jid = "541199990000@s.whatsapp.net"
    assert await gateway.find_on_whatsapp(jid)
    world.set_faults(disconnectRate=1.0)
    with pytest.raises(ConnectionAway):
        await gateway.send_text(attempt_for(jid))
    world.set_faults()
    await gateway.open(1)

    await gateway.send_text(attempt_for(jid))

    assert phone.received == ["hola"]
    assert len(world.network.asked) == 1


async def test_spelling_never_looked_up_is_looked_up_when_it_is_refused(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    """A number that is answered, not written to first, comes without a look-up."""
    phone = world.network.phones["541199990000"] = world.network.add_phone("5491199990000")

    for _ in range(2):
        await gateway.send_text(attempt_for("541199990000@s.whatsapp.net"))

    assert phone.received == ["hola", "hola"]
    assert world.network.asked == ["541199990000"]


async def test_second_try_of_an_attempt_proves_it_to_be_sent(
    world: NeonizeWorld, gateway: NeonizeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused try leaves a trace too, under the same secret."""
    customer = world.new_customer(online=False)
    assert await gateway.find_on_whatsapp(customer)
    faults = iter(["rejectRate", "loseAckRate"])
    expected = [next(faults)]

    def happens(rate: str) -> bool:
        if rate not in expected:
            return False
        expected[:] = [next(faults, "")]
        return True

    world.network.faults = {"rejectCode": 479}
    monkeypatch.setattr(world.network, "_happens", happens)
    attempt = attempt_for(customer)
    with pytest.raises(OutcomeUnknown):
        await gateway.send_text(attempt)

    world.change_customer(customer, online=True)
    await events_until(gateway, lambda seen: bool(receipts(seen, ReceiptKind.DELIVERED)))

    assert isinstance(await gateway.find_outcome(attempt), Sent)
    assert world.received(customer) == ["hola"]


async def test_stale_address_is_looked_up_anew_once(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    customer = world.new_customer()
    assert await gateway.find_on_whatsapp(customer)
    world.set_faults(rejectRate=1.0, rejectCode=479)

    with pytest.raises(RecipientRefused) as refusal:
        await gateway.send_text(attempt_for(customer))

    assert refusal.value.code == "refused_479"
    assert len(world.network.asked) == 2


async def test_refused_message_whose_address_cannot_be_looked_up_counts_as_refused(
    world: NeonizeWorld, gateway: NeonizeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is away would have it sent again at once, as long as look-ups fail."""

    def fail(*_: object) -> str:
        raise Refusal("info query returned status 503")

    customer = world.new_customer()
    monkeypatch.setattr(world.network, "look_up", fail)
    world.set_faults(rejectRate=1.0, rejectCode=479)
    with pytest.raises(RefusedForNow):
        await gateway.send_text(attempt_for(customer))


async def test_refused_message_whose_old_address_cannot_be_forgotten_counts_as_refused(
    world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    """A full disk can be read, and written no more."""
    customer = world.new_customer()
    assert await gateway.find_on_whatsapp(customer)
    with world.store.engine(world.connection_id).begin() as sql:
        sql.execute(text("CREATE TRIGGER full BEFORE DELETE ON boton_addresses BEGIN SELECT RAISE(ABORT, 'full'); END"))
    world.set_faults(rejectRate=1.0, rejectCode=479)
    with pytest.raises(RefusedForNow):
        await gateway.send_text(attempt_for(customer))


async def test_refused_message_to_somebody_who_left_whatsapp_is_not_sent_to_the_old_address(
    world: NeonizeWorld, gateway: NeonizeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = world.new_customer()
    assert await gateway.find_on_whatsapp(customer)
    monkeypatch.setattr(world.network, "look_up", lambda *_: None)
    tried: list[str] = []
    monkeypatch.setattr(world.network, "_happens", lambda rate: rate == "rejectRate" and not tried.append(rate))
    world.network.faults = {"rejectCode": 479}
    with pytest.raises(RecipientRefused):
        await gateway.send_text(attempt_for(customer))
    assert tried == ["rejectRate"]
    assert not await gateway.find_on_whatsapp(customer)  # what was known of them is forgotten


async def test_number_that_many_look_up_at_once_is_found_by_all(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    customer = world.new_customer()
    world.set_faults(latencyMs=50)
    found = await asyncio.gather(*(gateway.find_on_whatsapp(customer) for _ in range(10)))
    assert len(set(found)) == 1


async def test_note_that_is_no_jid_hangs_no_send(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    customer = world.new_customer()
    with world.store.engine(world.connection_id).begin() as sql:
        broken = {"of": world.connection_id, "jid": customer}
        sql.execute(text("INSERT INTO boton_addresses VALUES (:of, :jid, '1:x@lid')"), broken)

    await gateway.send_text(attempt_for(customer))

    assert world.received(customer) == ["hola"]


async def test_refusal_of_the_number_is_not_tried_again(
    played: NeonizeNetwork, world: NeonizeWorld, gateway: NeonizeGateway
) -> None:
    world.set_faults(rejectRate=1.0, rejectCode=463)
    with pytest.raises(NumberRefused) as refusal:
        await gateway.send_text(attempt_for(world.new_customer()))
    assert refusal.value.reason == 463
    assert played.go.calls.count("SendMessage") == 1


async def test_typing_is_shown_and_taken_back(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    customer = world.new_customer()
    await gateway.show_typing(customer, 0.05)
    await until(lambda: len(world.network.typing) == 2)
    assert [state for _, state in world.network.typing] == [0, 1]


async def test_library_is_subscribed_with_our_secret_and_device(world: NeonizeWorld, gateway: NeonizeGateway) -> None:
    """The trace by which the next process finds the attempt stands in the library's own table."""
    attempt = attempt_for(world.new_customer())
    sent = await gateway.send_text(attempt)
    with world.store.engine(world.connection_id).connect() as sql:
        ((ours, message_id, key),) = sql.execute(
            text("SELECT our_jid, message_id, key FROM whatsmeow_message_secrets")
        ).all()
    assert ours == f"{world.network.business}:7@s.whatsapp.net"
    assert message_id == sent.whatsapp_id
    assert len(key) == 32


async def test_library_is_told_to_log_nothing_but_errors(played: NeonizeNetwork, gateway: NeonizeGateway) -> None:
    """It would hand over every message, as WhatsApp's XML."""
    assert played.go.log_levels == [b"ERROR"]
