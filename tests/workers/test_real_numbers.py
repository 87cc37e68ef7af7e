"""Link processes of real numbers: the real library, with WhatsApp out of reach."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest_asyncio

from activities.holding import HoldEnded
from boton.domain.connections import ConnectionStatus, Gateway
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_library import migrate
from tests.store.builders import NOW
from tests.waiting import eventually, until
from tests.whatsapp.devices import link_device
from tests.workers.conftest import PATIENCE, World
from workers.links import Links
from workers.running import ENDED


@pytest_asyncio.fixture
async def real(world: World) -> World:
    """A second business, whose number is on WhatsApp."""
    business = await SqlBusinessStore(world.database).create_business("Otro", bot_new_chats=True, now=NOW)
    connections = SqlConnectionStore(world.database)
    connection = await connections.create_connection(business.id, Gateway.WHATSAPP, "5491138620812", NOW)
    world.business, world.connection = business, connection
    return world


async def test_number_without_a_linked_phone_ends_and_says_what_to_do(real: World) -> None:
    link = await real.start_link()

    await until(lambda: link.exit_code is not None)

    assert link.exit_code == ENDED
    connection = await real.fetch()
    assert connection.status is ConnectionStatus.LOGGED_OUT
    assert connection.reason is not None
    assert "link the phone again" in connection.reason
    assert link.ended == HoldEnded(status="logged_out", reason=connection.reason)


async def test_host_does_not_start_a_number_again_that_ended(real: World) -> None:
    links = Links(lambda _: None, PATIENCE)
    await links.adopt_or_start(real.connection.id)
    ended = await eventually(lambda: links.check(real.connection.id), lambda one: one is not None)
    assert ended is not None
    assert ended.status == "logged_out"
    assert (await real.fetch()).epoch == 1
    await links.close()


async def test_linked_number_waits_for_whatsapp_and_stops_in_order(
    real: World, tmp_path: Path, sqlite_url: str
) -> None:
    store = DeviceStore(tmp_path, sqlite_url)
    await asyncio.to_thread(migrate, store, real.connection.id)
    link_device(store, real.connection.id, "5491138620812")
    store.close()
    link = await real.start_link()

    away = await eventually(real.fetch, lambda one: one.status is ConnectionStatus.DISCONNECTED)
    assert away.reason is not None
    assert "out of reach" in away.reason
    environment = await asyncio.to_thread(Path(f"/proc/{link.pid}/environ").read_bytes)
    assert b"NEONIZE_BOT_TAG=off" in environment.split(b"\0")

    await link.stop()
    assert link.exit_code == 0
