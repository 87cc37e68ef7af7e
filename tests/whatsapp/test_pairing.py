"""Linking a phone: codes, the phone's answer, the first connection."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from boton.whatsapp.journal import Journal
from boton.whatsapp.neonize_library import parse_event
from boton.whatsapp.neonize_pairing import pair
from boton.whatsapp.pairing import Paired, PairingFailed, PairingStep
from tests.contracts.gateways import NeonizeNetwork
from tests.waiting import SECONDS, until
from tests.whatsapp import events
from tests.whatsapp.devices import add_device
from tests.whatsapp.ffi import Refusal
from tests.whatsapp.network import FakeNetwork

JID = "5491138620899:4@s.whatsapp.net"


class Desk:
    """A business that links its phone."""

    def __init__(self, played: NeonizeNetwork) -> None:
        world = played.new_world()
        self.store = world.store
        self.network = FakeNetwork("5491138620899", self.store.engine("con_new"))
        played.go.wires[self.store.library_name("con_new")] = self.network
        self.steps: list[PairingStep] = []
        self.taken: PairingStep | None = None

    def pair(self, phone: str | None = None, deadline: float = SECONDS) -> asyncio.Task[Paired]:
        return asyncio.create_task(pair(self.store, "con_new", phone=phone, tell=self._tell, deadline=deadline))

    async def shown(self, number: int) -> PairingStep:
        await until(lambda: len(self.steps) >= number)
        return self.steps[number - 1]

    def scan(self) -> None:
        """As the library does: the device is in its database before it says so, and it connects anew."""
        add_device(self.store, "con_new", JID)
        (session,) = self.network.sessions
        session.push(events.paired(JID))
        session.push(events.connected())

    async def _tell(self, step: PairingStep) -> None:
        if step.scanned:
            self.taken = step
        else:
            self.steps.append(step)


@pytest.fixture
def desk(played: NeonizeNetwork) -> Desk:
    return Desk(played)


async def test_scanned_qr_code_links_the_phone(desk: Desk) -> None:
    pairing = desk.pair()
    step = await desk.shown(1)
    assert step.qr is not None
    assert step.qr.startswith("https://wa.me/")
    assert step.code is None
    desk.scan()

    assert await pairing == Paired(jid=JID, phone="5491138620899")
    assert desk.taken, "told before the rest, which takes its time"
    device = desk.store.find_device("con_new")
    assert device is not None
    assert device.jid == JID
    assert desk.network.sessions == [], "the library was stopped: the link process goes on"


async def test_device_is_found_again_as_soon_as_the_phone_has_it(desk: Desk) -> None:
    """Whoever is killed from then on leaves no dead entry on the phone."""
    pairing = desk.pair(deadline=8)
    await desk.shown(1)
    add_device(desk.store, "con_new", JID)
    (session,) = desk.network.sessions
    session.push(events.paired(JID))
    await until(lambda: desk.store.find_device("con_new") is not None)
    assert not pairing.done()
    assert await pairing == Paired(jid=JID, phone="5491138620899"), "the link connects it"


async def test_what_comes_in_meanwhile_is_read_by_the_link(desk: Desk) -> None:
    pairing = desk.pair()
    await desk.shown(1)
    (session,) = desk.network.sessions
    about = events.info("3EB0", events.source("777@lid", alt="5491112345678@s.whatsapp.net"))
    session.push(events.message(about, "hola"))
    desk.scan()
    await pairing
    raws = Journal(desk.store.engine("con_new"), "con_new").read(0, 10)
    assert [parse_event(raw.code, raw.payload).Message.conversation for raw in raws] == ["hola"]


async def test_history_that_the_phone_hands_over_is_waited_for_and_read_by_the_link(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boton.whatsapp.neonize_pairing._HISTORY_SECONDS", 60.0)
    monkeypatch.setattr("boton.whatsapp.pairing._BETWEEN_PARTS", 5.0)
    pairing = desk.pair()
    await desk.shown(1)
    (session,) = desk.network.sessions
    desk.scan()
    await until(lambda: desk.store.find_device("con_new") is not None)
    assert desk.network.sessions == [session], "it goes on listening"
    for text in ("dos", "uno"):
        session.push(history(text))

    async with asyncio.timeout(SECONDS):
        await pairing

    raws = Journal(desk.store.engine("con_new"), "con_new").read(0, 10)
    told = [parse_event(raw.code, raw.payload).Data.conversations[0].messages[0] for raw in raws]
    assert [one.message.message.conversation for one in told] == ["dos", "uno"]


def history(text: str) -> Any:
    part = events.pb.HistorySync()
    key = {"remoteJID": "777@lid", "fromMe": False, "ID": text}
    old = {"message": {"key": key, "message": {"conversation": text}, "messageTimestamp": 1_700_000_000}}
    part.Data.syncType = 3
    part.Data.conversations.add(ID="777@lid", messages=[old])
    return part


async def test_each_code_tells_how_long_it_lives(desk: Desk) -> None:
    begun = datetime.now(UTC)
    pairing = desk.pair(deadline=170)
    first = await desk.shown(1)
    (session,) = desk.network.sessions
    asked = datetime.now(UTC)
    session.call(lambda: session.show_qr("https://wa.me/settings/linked_devices#2"))
    second = await desk.shown(2)
    assert begun <= first.expires_at - timedelta(seconds=60) <= asked
    assert asked <= second.expires_at - timedelta(seconds=20) <= datetime.now(UTC)
    assert second.qr != first.qr
    desk.scan()
    await pairing


async def test_number_gets_a_pairing_code_once(desk: Desk) -> None:
    pairing = desk.pair("5491138620899", deadline=170)
    step = await desk.shown(1)
    assert (step.qr, step.code) == (None, "QG4X-CMR2")
    (session,) = desk.network.sessions
    session.call(lambda: session.show_qr("https://wa.me/settings/linked_devices#2"))
    session.drain()
    desk.scan()
    await pairing
    assert len(desk.steps) == 1


async def test_nobody_who_links_in_time_fails(desk: Desk) -> None:
    """WhatsApp's own end of the codes is no event: the library only prints it."""
    with pytest.raises(PairingFailed, match="in time"):
        await desk.pair(deadline=0.3)
    assert desk.store.find_device("con_new") is None


async def test_device_that_the_library_did_not_write_down_fails(desk: Desk) -> None:
    pairing = desk.pair()
    await desk.shown(1)
    (session,) = desk.network.sessions
    session.push(events.paired(JID))
    session.push(events.connected())
    with pytest.raises(PairingFailed, match="not in the library's database"):
        await pairing


@pytest.mark.parametrize("deadline", [20.0, 600.0])
async def test_taken_link_is_told_for_as_long_as_its_connection_may_be_awaited(desk: Desk, deadline: float) -> None:
    """Longer, where it was taken at the last moment. What has run out looks as if no process attended to it."""
    begun = datetime.now(UTC)
    pairing = desk.pair(deadline=deadline)
    await desk.shown(1)
    desk.scan()
    await pairing
    assert desk.taken is not None
    assert desk.taken.expires_at - begun >= timedelta(seconds=max(deadline, 60.0))


async def test_phone_that_is_not_accepted_fails(desk: Desk) -> None:
    pairing = desk.pair()
    await desk.shown(1)
    (session,) = desk.network.sessions
    refused = events.paired(JID)
    refused.Status = events.pb.PairStatus.ERROR
    session.push(refused)
    with pytest.raises(PairingFailed, match="did not accept"):
        await pairing


async def test_number_that_gets_no_code_fails(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_session: object, _phone: str) -> str:
        raise Refusal("server returned error 400")

    monkeypatch.setattr(desk.network, "ask_code", refuse)
    with pytest.raises(PairingFailed, match="no pairing code"):
        await desk.pair("12")
