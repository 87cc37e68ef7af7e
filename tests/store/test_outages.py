"""When a connection was away, as its link's `connected` tells."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from boton.domain.connections import ConnectionStatus
from boton.store.engine import Database
from boton.store.outages import away_seconds
from boton.store.tables import ConnectionRow, LaneDayRow, OutageRow
from tests.store.builders import NOW, at
from tests.store.stage import Stage, set_stage

HOUR = 3600.0


async def _say(stage: Stage, *moments: float, status: ConnectionStatus = ConnectionStatus.CONNECTED) -> None:
    for seconds in moments:
        await stage.connections.record_status(stage.connection.id, stage.epoch, status, None, at(seconds))


async def _be_well_until(stage: Stage, seconds: float) -> None:
    """As if it had said `connected` all the while."""
    await stage.database.write(
        lambda session: setattr(session.get_one(ConnectionRow, stage.connection.id), "connected_at", at(seconds))
    )


async def _outages(stage: Stage) -> list[tuple[datetime, datetime]]:
    return sorted((row.began_at, row.ended_at) for row in await stage.all(OutageRow))


async def _away(stage: Stage, since: float, now: float) -> float:
    return await stage.database.read(
        lambda session: away_seconds(session, session.get_one(ConnectionRow, stage.connection.id), at(since), at(now))
    )


async def test_link_that_is_well_leaves_no_outage(database: Database) -> None:
    stage = await set_stage(database)
    await _say(stage, 0, 20, 80)
    assert await _outages(stage) == []
    assert await _away(stage, 0, 100) == 0


async def test_silence_of_a_link_is_an_outage_whatever_made_it_silent(database: Database) -> None:
    stage = await set_stage(database)
    await _say(stage, 0)
    await _say(stage, 15, status=ConnectionStatus.DISCONNECTED)
    stage.epoch = await stage.connections.raise_epoch(stage.connection.id, at(HOUR - 1))
    await _say(stage, HOUR, HOUR + 20, 3 * HOUR)
    assert await _outages(stage) == [(at(0), at(HOUR)), (at(HOUR + 20), at(3 * HOUR))]


async def test_number_that_was_never_connected_is_away_since_it_was_made(database: Database) -> None:
    """What was accepted while nobody had scanned the code yet is stale three days later, too."""
    stage = await set_stage(database)
    assert await _away(stage, HOUR, 9 * HOUR) == 8 * HOUR
    await _say(stage, 9 * HOUR)
    assert await _outages(stage) == [(at(0), at(9 * HOUR))]
    assert await _away(stage, HOUR, 9 * HOUR) == 8 * HOUR


async def test_number_that_connects_at_once_leaves_no_outage(database: Database) -> None:
    stage = await set_stage(database)
    await _say(stage, 30)
    assert await _outages(stage) == []


async def test_clock_that_goes_back_makes_no_outage(database: Database) -> None:
    stage = await set_stage(database)
    await _say(stage, 50, 10, 60)
    assert await _outages(stage) == []


@pytest.mark.parametrize(
    ("since", "now", "seconds"),
    [
        (0, 10 * HOUR, 3 * HOUR),  # all of both
        (0.5 * HOUR, 10 * HOUR, 3 * HOUR),
        (1.5 * HOUR, 10 * HOUR, 2.5 * HOUR),  # from the middle of the first
        (2 * HOUR, 10 * HOUR, 2 * HOUR),
        (2.5 * HOUR, 3 * HOUR, 0),  # between them
        (4.5 * HOUR, 5 * HOUR, 0.5 * HOUR),  # inside the second
        (6 * HOUR, 10 * HOUR, 0),
    ],
)
async def test_only_what_lies_between_counts(database: Database, since: float, now: float, seconds: float) -> None:
    stage = await set_stage(database)
    spans = [(1 * HOUR, 2 * HOUR), (4 * HOUR, 6 * HOUR)]
    await database.write(
        lambda session: session.add_all(
            OutageRow(connection_id=stage.connection.id, began_at=at(begin), ended_at=at(end)) for begin, end in spans
        )
    )
    await _be_well_until(stage, now)
    assert await _away(stage, since, now) == seconds


async def test_outage_that_goes_on_counts_up_to_now(database: Database) -> None:
    stage = await set_stage(database)
    await _say(stage, 0)
    assert await _away(stage, -HOUR, 60) == 0
    assert await _away(stage, -HOUR, 61) == 61
    assert await _away(stage, 100, HOUR) == HOUR - 100
    await _say(stage, HOUR)
    assert await _away(stage, 100, 2 * HOUR) == HOUR - 100 + HOUR


async def test_outages_of_another_number_do_not_count(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    await _say(other, 0, HOUR)
    await _be_well_until(stage, HOUR)
    assert await _away(stage, 0, HOUR) == 0
    assert await _away(other, 0, HOUR) == HOUR


async def test_old_outages_and_days_are_forgotten(database: Database) -> None:
    stage = await set_stage(database)
    await _say(stage, 0, HOUR, 2 * HOUR)
    days = [("2026-03-01", at(0)), ("2026-03-02", at(2 * HOUR))]
    await database.write(
        lambda session: session.add_all(
            LaneDayRow(connection_id=stage.connection.id, day=day, claimed=7, last_at=last) for day, last in days
        )
    )
    await stage.work.purge(NOW + timedelta(days=60, seconds=1.5 * HOUR))
    assert await _outages(stage) == [(at(HOUR), at(2 * HOUR))]
    assert [row.day for row in await stage.all(LaneDayRow)] == ["2026-03-02"]
