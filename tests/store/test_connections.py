"""Who owns a phone number, and how it is."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col

from boton.domain.connections import ConnectionStatus, Gateway
from boton.domain.events import EventType
from boton.domain.pacing import Closure
from boton.errors import Conflict, NotFound, StaleEpoch
from boton.store.engine import Database
from boton.store.pairing import SqlPairingStore
from boton.store.tables import ConnectionRow
from tests.store.builders import NOW, at
from tests.store.stage import Stage, set_stage

CONNECTED = ConnectionStatus.CONNECTED


async def _end(stage: Stage) -> None:
    """What ending a connection comes to."""
    await stage.database.write(
        lambda session: session.execute(
            update(ConnectionRow).where(col(ConnectionRow.id) == stage.connection.id).values(active=False)
        )
    )


async def test_new_connection_is_active_and_connecting(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    connection = await stage.connections.fetch_connection(stage.connection.id)
    assert (connection.active, connection.status, connection.epoch) == (True, ConnectionStatus.CONNECTING, 1)
    assert await stage.connections.fetch_active_connection(stage.business.id) == connection
    assert {one.id for one in await stage.connections.list_active_connections()} == {
        stage.connection.id,
        other.connection.id,
    }


async def test_phone_belongs_to_one_active_connection_of_a_gateway(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    phone = stage.connection.phone
    with pytest.raises(Conflict):
        await other.connections.create_connection(other.business.id, Gateway.SIMULATOR, phone, NOW)
    await other.connections.create_connection(other.business.id, Gateway.WHATSAPP, phone, NOW)
    await _end(stage)
    moved = await other.connections.create_connection(other.business.id, Gateway.SIMULATOR, phone, NOW)
    assert moved.phone == phone


async def test_every_start_of_a_link_raises_the_epoch(database: Database) -> None:
    stage = await set_stage(database)
    raised = [await stage.connections.raise_epoch(stage.connection.id, NOW) for _ in range(2)]
    assert raised == [2, 3]
    assert (await stage.connections.fetch_connection(stage.connection.id)).epoch == 3


async def test_new_link_is_connecting_until_it_says_otherwise(database: Database) -> None:
    stage = await set_stage(database)
    await stage.connections.record_status(stage.connection.id, stage.epoch, CONNECTED, None, at(1))
    await stage.connections.raise_epoch(stage.connection.id, at(2))
    connection = await stage.connections.fetch_connection(stage.connection.id)
    assert (connection.status, connection.status_at) == (ConnectionStatus.CONNECTING, at(2))


async def test_status_is_told_when_it_changes(database: Database) -> None:
    stage = await set_stage(database)
    away = ConnectionStatus.DISCONNECTED
    for seconds, (status, reason) in enumerate([(CONNECTED, None), (CONNECTED, None), (away, "x"), (away, "y")]):
        await stage.connections.record_status(stage.connection.id, stage.epoch, status, reason, at(seconds))
    told = await stage.told(EventType.CONNECTION_CHANGED)
    assert [(event.data["status"], event.data["reason"]) for event in told] == [
        ("connected", None),
        ("disconnected", "x"),
        ("disconnected", "y"),
    ]
    assert told[0].data == {
        "connectionId": stage.connection.id,
        "status": "connected",
        "reason": None,
        "gateway": "simulator",
    }
    connection = await stage.connections.fetch_connection(stage.connection.id)
    assert (connection.reason, connection.status_at) == ("y", at(3))


async def test_number_that_stays_up_is_not_looked_at(database: Database) -> None:
    """Each look is kept in its workflow's history, which would be full after half a year."""
    stage = await set_stage(database)
    asked_for = await stage.work.list_overdue(NOW + timedelta(seconds=1), timedelta(0), 10)
    await SqlPairingStore(database).advance_connection(stage.connection.id, NOW)
    for minutes in range(0, 600, 10):
        now = NOW + timedelta(minutes=minutes)
        await stage.connections.record_status(stage.connection.id, stage.epoch, CONNECTED, None, now)
        assert await stage.work.list_overdue(now, timedelta(0), 10) == []
    assert await stage.work.list_overdue(now + timedelta(hours=2), timedelta(0), 10) == asked_for


async def test_look_that_is_due_is_not_put_off(database: Database) -> None:
    stage = await set_stage(database)
    asked_for = await stage.work.list_overdue(at(1), timedelta(0), 10)
    for moment in (at(1), NOW - timedelta(minutes=1)):  # a link whose clock is behind
        await stage.connections.record_status(stage.connection.id, stage.epoch, CONNECTED, None, moment)
        assert await stage.work.list_overdue(at(2), timedelta(0), 10) == asked_for != []


async def test_link_that_lost_the_number_tells_nothing_of_it(database: Database) -> None:
    stage = await set_stage(database)
    await stage.connections.raise_epoch(stage.connection.id, NOW)
    with pytest.raises(StaleEpoch):
        await stage.connections.record_status(stage.connection.id, stage.epoch, CONNECTED, None, NOW)
    assert await stage.told() == []


async def test_ended_connection_is_nobodys(database: Database) -> None:
    stage = await set_stage(database)
    await _end(stage)
    assert await stage.connections.fetch_active_connection(stage.business.id) is None
    assert await stage.connections.list_active_connections() == []
    with pytest.raises(NotFound):
        await stage.connections.raise_epoch(stage.connection.id, NOW)
    with pytest.raises(StaleEpoch):
        await stage.claim_message("msg_0")


async def _close_lane(stage: Stage, code: str, now: datetime) -> Closure:
    return await stage.outbox.close_slow_lane(stage.connection.id, stage.epoch, code, None, now)


async def test_slow_lane_is_opened_by_hand_and_stays_longer_closed_the_next_time(database: Database) -> None:
    stage = await set_stage(database)
    closure = await _close_lane(stage, "463", NOW)
    before = await stage.connections.fetch_connection(stage.connection.id)
    assert before.slow_lane_closed(at(2)) == closure
    opened = await stage.connections.open_slow_lane(stage.business.id, at(2))
    assert opened == await stage.connections.fetch_connection(stage.connection.id)
    assert opened.slow_lane_closed(at(2)) is None
    assert opened.closure is not None
    assert (opened.closure.until, opened.closure.count) == (at(2), 1)
    again = await _close_lane(stage, "463", at(3))
    assert (again.count, again.until - again.at) == (2, 2 * (closure.until - closure.at))


async def test_opening_an_open_slow_lane_changes_nothing(database: Database) -> None:
    stage = await set_stage(database)
    untouched = await stage.connections.fetch_connection(stage.connection.id)
    assert await stage.connections.open_slow_lane(stage.business.id, at(1)) == untouched
    closure = await _close_lane(stage, "429", NOW)
    later = closure.until + timedelta(seconds=1)
    reopened = await stage.connections.open_slow_lane(stage.business.id, later)
    assert reopened.closure == closure


async def test_slow_lane_of_a_business_without_a_number_cannot_be_opened(database: Database) -> None:
    stage = await set_stage(database)
    await _end(stage)
    with pytest.raises(Conflict):
        await stage.connections.open_slow_lane(stage.business.id, NOW)


async def test_unknown_connection_is_not_found(database: Database) -> None:
    stage = await set_stage(database)
    with pytest.raises(NotFound):
        await stage.connections.fetch_connection("con_0")
    with pytest.raises(NotFound):
        await stage.connections.raise_epoch("con_0", NOW)
    with pytest.raises(NotFound):
        await stage.connections.record_status("con_0", 1, CONNECTED, None, NOW)
