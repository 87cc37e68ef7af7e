"""What is too late is told by the sweeper, while no link process runs for the number."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from boton.domain.connections import ConnectionStatus
from boton.domain.events import EventType
from boton.domain.messages import MessageStatus
from boton.domain.sends import AcceptedSend, Send, SendKind, SendStatus
from boton.ports import Idle
from boton.store.engine import Database
from boton.store.tables import ConnectionRow, ConversationRow, SendRow
from tests.store.builders import NOW, at
from tests.store.stage import NUMBER, OTHER, Stage, minutes, numbers, sent, set_stage

HOUR = 3600.0
GRACE = timedelta(seconds=30)


async def _sweep(stage: Stage, now: datetime) -> list[str]:
    """As the sweeper does it: the sends that it starts."""
    overdue = await stage.work.list_overdue(now, GRACE, 100)
    left = await stage.work.expire_late(overdue, now)
    await stage.work.postpone(left, now, now + timedelta(minutes=2))
    return [one.id for one in left if one.kind == "send"]


async def _connected(stage: Stage, moment: datetime) -> None:
    await stage.connections.record_status(stage.connection.id, stage.epoch, ConnectionStatus.CONNECTED, None, moment)


async def _heard_until(stage: Stage, moment: datetime) -> None:
    """The link was well until then."""
    await stage.database.write(lambda session: session.execute(update(ConnectionRow).values(connected_at=moment)))


async def _fetch(stage: Stage, accepted: AcceptedSend) -> Send:
    return await stage.sends.fetch_send(stage.business.id, accepted.send.id)


async def _next_step(stage: Stage, accepted: AcceptedSend) -> datetime | None:
    (row,) = [row for row in await stage.all(SendRow) if row.id == accepted.send.id]
    return row.next_step_at


async def test_send_of_a_number_without_a_link_expires_at_its_time(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER, expires_at=minutes(60))
    assert await _sweep(stage, minutes(59)) == [accepted.send.id]
    assert await _sweep(stage, minutes(62)) == []
    send = await _fetch(stage, accepted)
    assert (send.status, send.finished_at, send.next_step_at) == (SendStatus.FINISHED, minutes(62), None)
    assert send.counts == {MessageStatus.EXPIRED: 2}
    assert await stage.statuses_told() == ["expired", "expired"]
    assert len(await stage.told(EventType.SEND_FINISHED)) == 1
    assert await _sweep(stage, minutes(90)) == []
    assert await stage.advance(accepted.send.id) == Idle(why="done")


async def test_time_to_live_counts_only_while_the_number_is_away(database: Database) -> None:
    stage = await set_stage(database)
    await _connected(stage, NOW)
    accepted = await stage.accept(ttl_seconds=int(HOUR))
    await _heard_until(stage, at(5 * HOUR))
    assert await _sweep(stage, at(6 * HOUR - 1)) == [accepted.send.id]
    assert await _sweep(stage, at(6 * HOUR + 180)) == []
    row = await stage.message(accepted.recipients[0].message_id)
    assert (row.status, row.error_code) == ("expired", "expired")
    assert "sendTtlHours" in (row.error_detail or "")


async def test_large_send_expires_in_pieces(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(*numbers(450), expires_at=minutes(1))
    assert await _sweep(stage, minutes(2)) == []
    assert (await _fetch(stage, accepted)).counts == {MessageStatus.EXPIRED: 450}


async def test_what_is_in_flight_ends_by_itself_and_the_send_is_started_for_it(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER, expires_at=minutes(2))
    attempt = await stage.claim(accepted.send.id)
    assert await _sweep(stage, minutes(5)) == [accepted.send.id]
    send = await _fetch(stage, accepted)
    assert (send.status, send.counts) == (SendStatus.RUNNING, {MessageStatus.SENDING: 1, MessageStatus.EXPIRED: 1})
    assert await stage.advance(accepted.send.id, record=sent(attempt), now=minutes(6)) == Idle(why="done")


async def test_dialogue_that_was_never_opened_expires(database: Database) -> None:
    stage = await set_stage(database)
    await stage.accept(kind=SendKind.INSTRUCTION, expires_at=minutes(2))
    assert await _sweep(stage, minutes(5)) == []
    (conversation,) = await stage.all(ConversationRow)
    assert conversation.status == "expired"
    assert len(await stage.told(EventType.CONVERSATION_ENDED)) == 1


async def test_paused_and_cancelled_sends_are_left_alone(database: Database) -> None:
    stage = await set_stage(database)
    paused = await stage.accept(expires_at=minutes(2))
    await stage.sends.pause_send(stage.business.id, paused.send.id)
    cancelled = await stage.accept(OTHER, expires_at=minutes(2))
    await stage.claim(cancelled.send.id)
    await stage.sends.cancel_send(stage.business.id, cancelled.send.id, NOW)
    found = [one for one in await stage.work.list_overdue(minutes(9), GRACE, 9) if one.kind == "send"]
    assert await stage.work.expire_late(found, minutes(9)) == found
    assert [await stage.status(one) for one in (paused, cancelled)] == [MessageStatus.QUEUED, MessageStatus.SENDING]


async def test_paused_meanwhile_it_does_not_expire(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(expires_at=minutes(2))
    found = await stage.work.list_overdue(minutes(9), GRACE, 9)
    await stage.sends.pause_send(stage.business.id, accepted.send.id)
    await stage.work.expire_late(found, minutes(9))
    assert await stage.status(accepted) is MessageStatus.QUEUED


async def test_send_whose_time_has_not_come_is_not_too_late(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(send_at=at(9 * HOUR), ttl_seconds=60)
    assert await _sweep(stage, at(2 * HOUR)) == [accepted.send.id]
    assert await stage.status(accepted) is MessageStatus.QUEUED


async def test_send_that_waits_for_the_pacing_is_not_too_late(database: Database) -> None:
    stage = await set_stage(database)
    await stage.outbox.close_slow_lane(stage.connection.id, stage.epoch, "463", None, NOW)
    accepted = await stage.accept(ttl_seconds=int(HOUR))
    await _heard_until(stage, at(9 * HOUR))
    assert isinstance(await stage.advance(accepted.send.id), Idle)
    assert await _sweep(stage, at(9 * HOUR)) == [accepted.send.id]
    assert await stage.status(accepted) is MessageStatus.QUEUED


@pytest.mark.parametrize(
    ("changes", "looked_at"),
    [
        ({}, at(24 * HOUR)),
        ({"expires_at": at(2 * HOUR)}, at(2 * HOUR)),
        ({"ttl_seconds": int(3 * HOUR)}, at(3 * HOUR)),
        ({"ttl_seconds": int(3 * HOUR), "expires_at": at(2 * HOUR)}, at(2 * HOUR)),
        ({"ttl_seconds": int(99 * HOUR)}, at(24 * HOUR)),
    ],
)
async def test_send_that_waits_is_looked_at_when_it_may_be_too_late(
    database: Database, changes: dict[str, object], looked_at: datetime
) -> None:
    stage = await set_stage(database)
    await _connected(stage, NOW)
    await stage.outbox.close_slow_lane(stage.connection.id, stage.epoch, "463", None, NOW)
    accepted = await stage.accept(**changes)
    assert isinstance(await stage.advance(accepted.send.id), Idle)
    assert await _next_step(stage, accepted) == looked_at


async def test_send_that_was_away_for_a_while_is_looked_at_the_sooner(database: Database) -> None:
    stage = await set_stage(database)
    await _connected(stage, NOW)
    await _connected(stage, at(2 * HOUR))
    await stage.outbox.close_slow_lane(stage.connection.id, stage.epoch, "463", None, at(2 * HOUR))
    accepted = await stage.accept(ttl_seconds=int(3 * HOUR))
    assert isinstance(await stage.advance(accepted.send.id, now=at(2 * HOUR)), Idle)
    assert await _next_step(stage, accepted) == at(3 * HOUR)


async def test_scheduled_send_that_was_started_rests_until_its_time_and_one_that_was_not_does_not(
    database: Database,
) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(send_at=at(9 * HOUR))
    for moment, started, expected in ((at(60), False, at(180)), (at(300), True, at(9 * HOUR))):
        found = await stage.work.list_overdue(moment, GRACE, 9)
        await stage.work.postpone(found, moment, moment + timedelta(minutes=2), started=started)
        assert await _next_step(stage, accepted) == expected
