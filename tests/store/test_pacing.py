"""When nothing of a send may be claimed, what the send says about it, and when the sweeper is to look again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from boton.domain.connections import ConnectionStatus
from boton.domain.events import EventType
from boton.domain.gateway import Attempt
from boton.domain.messages import Lane, MessageError, MessageStatus
from boton.domain.sends import NewRecipient, SendCategory, SendKind, SendStatus
from boton.ports import Idle, Result
from boton.store.engine import Database
from boton.store.tables import LaneDayRow, SendRow
from tests.store.builders import NOW, at, jid_of
from tests.store.stage import (
    NUMBER,
    OTHER,
    Stage,
    failed,
    incoming,
    minutes,
    not_sent,
    numbers,
    sent,
    set_stage,
    unconfirmed,
)

HOUR = 3600.0
DAY = 24 * HOUR
MARKETING = SendCategory.MARKETING
SLOW_ONLY = {"profile": "off", "slowGapSeconds": [20, 60]}
"""The slow lane is paced and counted, without a limit."""


def _limited(limit: int, **others: object) -> dict[str, object]:
    return {**SLOW_ONLY, "dailyLimit": limit, **others}


async def _set(database: Database, *, quiet: tuple[str, str] | None = None, **pacing: object) -> Stage:
    """A business whose time zone is three hours behind UTC: NOW is at 12:00 there."""
    stage = await set_stage(database)
    changes: dict[str, Any] = {"timezone": "America/Argentina/Buenos_Aires", "pacing": pacing or None}
    if quiet is not None:
        changes["quiet_hours"] = {"start": quiet[0], "end": quiet[1]}
    await stage.businesses.update_config(stage.business.id, changes)
    return stage


async def _know(stage: Stage, *some: str) -> None:
    for number in some:
        await stage.change(number, known=True)


async def _row(stage: Stage, send_id: str) -> SendRow:
    (row,) = [one for one in await stage.all(SendRow) if one.id == send_id]
    return row


async def _waiting(stage: Stage, send_id: str) -> tuple[str | None, datetime | None]:
    row = await _row(stage, send_id)
    return row.waiting, row.next_step_at


async def _day(stage: Stage) -> dict[str, int]:
    return {row.day: row.claimed for row in await stage.all(LaneDayRow)}


async def _send_all(stage: Stage, send_id: str, *, lane: Lane | None = None, now: datetime = NOW) -> tuple[int, Idle]:
    """One by one, as a paced batch does; how many were sent, and why it ended."""
    count = 0
    while True:
        step = await stage.step(send_id, lane=lane, now=now)
        if isinstance(step, Idle):
            if step.why != "more":
                return count, step
            continue
        count += 1
        step = await stage.step(send_id, sent(step[0], now=now), lane=lane, room=0, now=now)
        assert isinstance(step, Idle)
        if step.why != "more":
            return count, step


def _waits(until: datetime, reason: str) -> Idle:
    return Idle(why="wait", until=until, reason=reason)


# -------------------------------------------------------------------- how long it takes


async def test_end_is_that_of_what_goes_first_too(database: Database) -> None:
    stage = await _set(database, **{**SLOW_ONLY, "slowGapSeconds": [10, 10]})
    other = await set_stage(database)
    await other.accept(*numbers(7))
    bulk = await stage.accept(*numbers(4))
    offer = await stage.accept(OTHER, category=MARKETING)
    single = await stage.accept(NUMBER)
    assert [one.estimated_end for one in (bulk, offer, single)] == [at(40), at(50), at(20)]
    await stage.claim(bulk.send.id)
    await stage.sends.pause_send(stage.business.id, single.send.id)
    assert await stage.sends.estimate_end(stage.business.id, offer.send.id, NOW) == at(40)


# -------------------------------------------------------------------- quiet hours


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({}, False),
        ({"respect_quiet_hours": True}, True),
        ({"category": MARKETING}, True),
        ({"kind": SendKind.INSTRUCTION}, False),
        ({"kind": SendKind.INSTRUCTION, "respect_quiet_hours": True}, True),
        ({"kind": SendKind.INSTRUCTION, "category": MARKETING}, True),
    ],
)
async def test_quiet_hours_hold_what_has_to_respect_them(
    database: Database, changes: dict[str, object], waits: bool
) -> None:
    stage = await _set(database, quiet=("11:00", "14:30"))
    accepted = await stage.accept(**changes)
    step = await stage.step(accepted.send.id)
    until = at(2.5 * HOUR)
    assert (step == _waits(until, "quiet_hours")) is waits
    if waits:
        assert await _waiting(stage, accepted.send.id) == ("quiet_hours", until)
        later = await stage.step(accepted.send.id, now=until)
        assert not isinstance(later, Idle) or later.why == "compose"


async def test_quiet_hours_hold_both_lanes_until_their_end(database: Database) -> None:
    stage = await _set(database, quiet=("11:00", "14:30"))
    await _know(stage, NUMBER)
    accepted = await stage.accept(NUMBER, OTHER, respect_quiet_hours=True)
    until = at(2.5 * HOUR)
    for lane in Lane:
        assert await stage.step(accepted.send.id, lane=lane) == _waits(until, "quiet_hours")
        assert await _waiting(stage, accepted.send.id) == ("quiet_hours", until)
    assert not isinstance(await stage.step(accepted.send.id, lane=Lane.FAST, now=until), Idle)
    waiting, looked_at = await _waiting(stage, accepted.send.id)
    assert waiting is None
    assert looked_at is not None
    assert until < looked_at < until + timedelta(minutes=5)


async def test_send_whose_time_has_come_says_what_else_it_waits_for(
    database: Database,
) -> None:
    stage = await _set(database, quiet=("12:30", "14:30"))
    accepted = await stage.accept(category=MARKETING, send_at=minutes(45))
    assert await stage.step(accepted.send.id) == _waits(minutes(45), "scheduled")
    assert (await _row(stage, accepted.send.id)).status == "scheduled"
    assert await stage.step(accepted.send.id, now=minutes(45)) == _waits(at(2.5 * HOUR), "quiet_hours")
    assert (await _row(stage, accepted.send.id)).status == "queued"


async def test_send_that_expires_in_the_quiet_hours_is_looked_at_then(database: Database) -> None:
    stage = await _set(database, quiet=("11:00", "14:30"))
    accepted = await stage.accept(category=MARKETING, expires_at=at(HOUR))
    assert await stage.step(accepted.send.id) == _waits(at(HOUR), "quiet_hours")
    assert await _waiting(stage, accepted.send.id) == ("quiet_hours", at(HOUR))
    assert await stage.step(accepted.send.id, now=at(HOUR)) == Idle(why="done")
    assert await stage.status(accepted) is MessageStatus.EXPIRED


async def test_send_whose_last_message_ended_in_quiet_hours_is_finished(database: Database) -> None:
    stage = await _set(database, quiet=("12:30", "14:30"))
    accepted = await stage.accept(category=MARKETING)
    await stage.record(sent(await stage.claim(accepted.send.id)), now=minutes(29))
    assert await stage.step(accepted.send.id, now=minutes(31)) == Idle(why="done")
    assert (await _row(stage, accepted.send.id)).finished_at == minutes(31)


# -------------------------------------------------------------------- the slow lane closed


async def _close(stage: Stage, code: str = "463", now: datetime = NOW) -> datetime:
    closure = await stage.outbox.close_slow_lane(stage.connection.id, stage.epoch, code, None, now)
    return closure.until


async def test_closed_lane_takes_no_stranger_and_goes_on_with_known_contacts(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept(*numbers(3))
    until = await _close(stage)
    assert await stage.step(accepted.send.id, room=5) == _waits(until, "slow_lane_closed")
    assert await _waiting(stage, accepted.send.id) == ("slow_lane_closed", until)
    await stage.receive(incoming(number=numbers(3)[1], when=at(9)), now=at(9))
    assert (await _waiting(stage, accepted.send.id))[1] == at(9)
    (attempt,) = await stage.claim_some(accepted.send.id, 5, now=at(10))
    assert attempt.message_id == accepted.recipients[1].message_id
    step = await stage.step(accepted.send.id, sent(attempt), room=5, now=at(11))
    assert step == _waits(until, "slow_lane_closed")
    assert await _waiting(stage, accepted.send.id) == ("slow_lane_closed", until)
    assert len(await stage.claim_some(accepted.send.id, 5, now=until)) == 2


@pytest.mark.parametrize("changes", [{"category": MARKETING}, {"kind": SendKind.INSTRUCTION}])
async def test_closed_lane_holds_marketing_and_openings_to_known_contacts_too(
    database: Database, changes: dict[str, object]
) -> None:
    stage = await _set(database)
    await _know(stage, NUMBER)
    accepted = await stage.accept(**changes)
    until = await _close(stage, "429")
    assert until == minutes(15)
    assert await stage.step(accepted.send.id) == _waits(until, "slow_lane_closed")


async def test_closed_lane_leaves_the_fast_one_open_and_the_send_is_looked_at_for_it(database: Database) -> None:
    stage = await _set(database)
    await _know(stage, NUMBER)
    accepted = await stage.accept(NUMBER, OTHER)
    until = await _close(stage)
    assert await stage.step(accepted.send.id, lane=Lane.SLOW) == _waits(until, "slow_lane_closed")
    waiting, looked_at = await _waiting(stage, accepted.send.id)
    assert waiting == "slow_lane_closed"
    assert looked_at is not None
    assert looked_at < at(HOUR)
    count, step = await _send_all(stage, accepted.send.id, lane=Lane.FAST)
    assert (count, step) == (1, Idle(why="lane_done"))
    assert (await _waiting(stage, accepted.send.id))[0] == "slow_lane_closed"
    assert await stage.step(accepted.send.id, lane=Lane.SLOW) == _waits(until, "slow_lane_closed")
    assert await _waiting(stage, accepted.send.id) == ("slow_lane_closed", until)


async def test_send_of_which_nothing_is_queued_does_not_wait_for_the_lane(database: Database) -> None:
    """The refusal of one message of several in flight closes the lane; the send is over when all have ended."""
    stage = await _set(database)
    accepted = await stage.accept(*numbers(2))
    first, second = await stage.claim_some(accepted.send.id, 2)
    await _close(stage)
    step = await stage.step(accepted.send.id, failed(first, "number_refused"), room=9)
    assert isinstance(step, Idle)
    assert (step.why, step.reason) == ("wait", "in_flight")
    assert await stage.step(accepted.send.id, sent(second), room=9) == Idle(why="done")
    assert (await _row(stage, accepted.send.id)).next_step_at is None


async def test_opened_lane_goes_on_at_once(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept()
    await _close(stage)
    await stage.step(accepted.send.id)
    connection = await stage.connections.open_slow_lane(stage.business.id, at(60))
    assert connection.slow_lane_closed(at(60)) is None
    assert isinstance(await stage.advance(accepted.send.id, now=at(60)), Attempt)
    assert (await _row(stage, accepted.send.id)).waiting is None


async def test_closure_survives_a_new_link_and_an_old_one_closes_nothing(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept()
    until = await _close(stage)
    stage.epoch = await stage.connections.raise_epoch(stage.connection.id, at(5))
    assert await stage.step(accepted.send.id, now=at(6)) == _waits(until, "slow_lane_closed")
    connection = await stage.connections.fetch_connection(stage.connection.id)
    assert connection.closure is not None
    assert (connection.closure.code, connection.closure.until) == ("463", until)


# -------------------------------------------------------------------- the slow lane's day


async def test_daily_limit_holds_until_the_business_has_its_midnight(database: Database) -> None:
    stage = await _set(database, **_limited(2))
    accepted = await stage.accept(*numbers(3))
    midnight = datetime(2026, 3, 3, 3, 0, tzinfo=UTC)
    assert await _send_all(stage, accepted.send.id) == (2, _waits(midnight, "daily_limit"))
    assert await _waiting(stage, accepted.send.id) == ("daily_limit", midnight)
    assert await _day(stage) == {"2026-03-02": 2}
    other = await stage.accept(OTHER)
    assert await stage.step(other.send.id) == _waits(midnight, "daily_limit")
    assert (await _send_all(stage, accepted.send.id, now=midnight))[1] == Idle(why="done")
    assert await _day(stage) == {"2026-03-02": 2, "2026-03-03": 1}


async def test_new_numbers_limit_rises_over_days_and_restarts(database: Database) -> None:
    stage = await _set(database, **_limited(8, warmUpFrom=2, warmUpDays=3))
    accepted = await stage.accept(*numbers(30))
    for day in range(5):
        now = at(day * DAY)
        stage.epoch = await stage.connections.raise_epoch(stage.connection.id, now)
        count, step = await _send_all(stage, accepted.send.id, now=now)
        assert (count, step.reason) == ([2, 4, 6, 8, 8][day], "daily_limit")
    pace = await stage.outbox.fetch_pace(stage.connection.id)
    assert pace.slow_at == at(4 * DAY)


async def test_known_contacts_go_on_when_the_day_is_full_and_do_not_fill_it(database: Database) -> None:
    stage = await _set(database, **_limited(1))
    accepted = await stage.accept(*numbers(3))
    assert (await _send_all(stage, accepted.send.id))[0] == 1
    await _know(stage, numbers(3)[2])
    assert (await _send_all(stage, accepted.send.id))[0] == 1
    assert await stage.status(accepted, 2) is MessageStatus.SENT
    assert await _day(stage) == {"2026-03-02": 1}


async def test_limit_is_not_passed_however_much_room_there_is(database: Database) -> None:
    """The link may not know yet that the number is paced from now on."""
    stage = await _set(database, **_limited(3))
    accepted = await stage.accept(*numbers(9))
    attempts: list[Attempt] = []
    while not isinstance(step := await stage.step(accepted.send.id, room=5), Idle):
        attempts += step
    assert len(attempts) == 3


@pytest.mark.parametrize("category", list(SendCategory))
async def test_message_that_never_left_does_not_use_up_the_day(database: Database, category: SendCategory) -> None:
    stage = await _set(database, **_limited(2))
    accepted = await stage.accept(*numbers(3), category=category)
    for _ in range(5):
        await stage.record(not_sent(await stage.claim(accepted.send.id)), now=at(DAY))
    assert await _day(stage) == {"2026-03-02": 0}
    assert (await _send_all(stage, accepted.send.id))[0] == 2


async def test_known_contacts_message_that_never_left_gives_nothing_back(database: Database) -> None:
    stage = await _set(database, **_limited(1))
    accepted = await stage.accept(*numbers(2))
    await stage.record(sent(await stage.claim(accepted.send.id)))
    await _know(stage, numbers(2)[1])
    await stage.record(not_sent(await stage.claim(accepted.send.id)))
    assert await _day(stage) == {"2026-03-02": 1}


async def test_send_whose_last_message_fills_the_day_is_finished(database: Database) -> None:
    stage = await _set(database, **_limited(1))
    accepted = await stage.accept()
    await stage.record(sent(await stage.claim(accepted.send.id)))
    assert await stage.step(accepted.send.id) == Idle(why="done")


async def test_unpaced_lane_counts_nothing(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept(*numbers(3))
    assert len(await stage.claim_some(accepted.send.id, 10)) == 3
    assert await _day(stage) == {}
    assert (await stage.outbox.fetch_pace(stage.connection.id)).slow_at is None


# -------------------------------------------------------------------- first contacts


async def test_stranger_is_looked_up_before_they_are_written_to(database: Database) -> None:
    stage = await _set(database, profile="off", checkRecipients=True)
    await _know(stage, NUMBER)
    accepted = await stage.accept(NUMBER, *numbers(2))
    first, second, third = (one.message_id for one in accepted.recipients)
    assert (await stage.claim_some(accepted.send.id, 1))[0].message_id == first
    asked = Idle(why="check", message_ids=(second,), jid=jid_of(numbers(2)[0]))
    assert await stage.step(accepted.send.id) == asked
    await stage.outbox.note_recipient(second, (), at(1))
    row = await stage.message(second)
    assert (row.status, row.error_code) == ("failed", "not_on_whatsapp")
    await stage.outbox.note_recipient(third, [jid_of(numbers(2)[1])], at(2))
    assert (await stage.claim_some(accepted.send.id, 1, now=at(3)))[0].message_id == third
    again = await stage.accept(numbers(2)[1], category=MARKETING)
    assert isinstance(await stage.advance(again.send.id), Attempt)


async def test_stranger_who_is_not_there_ends_the_opening_and_its_conversation_unwritten(database: Database) -> None:
    stage = await _set(database, profile="off", checkRecipients=True)
    accepted = await stage.accept(kind=SendKind.INSTRUCTION)
    step = await stage.step(accepted.send.id)
    assert isinstance(step, Idle)
    assert (step.why, step.jid) == ("check", jid_of(NUMBER))
    await stage.outbox.note_recipient(step.message_ids[0], (), at(1))
    assert await stage.step(accepted.send.id) == Idle(why="done")
    (ended,) = await stage.told(EventType.CONVERSATION_ENDED)
    assert ended.data["conversationId"] == accepted.recipients[0].conversation_id


async def test_what_is_learnt_of_a_recipient_too_late_changes_no_message(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id)
    await stage.outbox.note_recipient(attempt.message_id, (), at(1))
    await stage.outbox.note_recipient("msg_0", (), at(1))
    assert await stage.status(accepted) is MessageStatus.SENDING


# -------------------------------------------------------------------- openings


@pytest.mark.parametrize(("pacing", "count"), [({}, 10), (SLOW_ONLY, 1)])
async def test_model_writes_one_opening_a_slot_where_the_lane_is_paced(
    database: Database, pacing: dict[str, object], count: int
) -> None:
    stage = await _set(database, **pacing)
    accepted = await stage.accept(*numbers(12), kind=SendKind.INSTRUCTION)
    ids = tuple(one.message_id for one in accepted.recipients[:count])
    assert await stage.step(accepted.send.id, room=5) == Idle(why="compose", message_ids=ids)


@pytest.mark.parametrize("change", [{"untouchable": True}, {"opted_out": True}])
async def test_model_is_not_asked_for_an_opening_that_is_forbidden(database: Database, change: dict[str, bool]) -> None:
    stage = await _set(database, profile="off", checkRecipients=True)
    await stage.change(**change)
    accepted = await stage.accept(kind=SendKind.INSTRUCTION, category=MARKETING)
    assert await stage.step(accepted.send.id) == Idle(why="done")
    assert await stage.status(accepted) is MessageStatus.FAILED


# -------------------------------------------------------------------- refusals


def _refused(attempt: Attempt, status: MessageStatus = MessageStatus.QUEUED) -> Result:
    error = MessageError(code="number_refused", detail="WhatsApp refuses this number for now")
    return Result(attempt=attempt, status=status, error=error, refused=True)


async def test_message_refused_by_463_fails(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept()
    await stage.record(_refused(await stage.claim(accepted.send.id), MessageStatus.FAILED))
    row = await stage.message(accepted.recipients[0].message_id)
    assert (row.status, row.error_code) == ("failed", "number_refused")


async def test_refusal_in_the_fast_lane_gives_whatsapp_time_before_the_next_try(database: Database) -> None:
    """500 known contacts are not tried three times each within seconds while WhatsApp says that it is too much."""
    stage = await _set(database)
    await _know(stage, NUMBER)
    accepted = await stage.accept(NUMBER)
    attempt = await stage.claim(accepted.send.id)
    reopens = await _close(stage, "429")
    step = await stage.step(accepted.send.id, _refused(attempt), room=0)
    assert step == _waits(at(30), "slow_lane_closed")
    assert at(30) < reopens
    assert await _waiting(stage, accepted.send.id) == ("slow_lane_closed", at(30))
    for seconds in (30, 60):
        attempt = await stage.claim(accepted.send.id, now=at(seconds))
        step = await stage.step(accepted.send.id, _refused(attempt), room=0, now=at(seconds))
    assert step == Idle(why="done")
    assert await stage.status(accepted) is MessageStatus.FAILED


async def test_message_for_which_the_number_is_refused_three_times_fails(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept()
    for _ in range(2):
        await stage.record(_refused(await stage.claim(accepted.send.id)))
        assert await stage.status(accepted) is MessageStatus.QUEUED
        await stage.record(not_sent(await stage.claim(accepted.send.id)))
    last = await stage.claim(accepted.send.id)
    for _ in range(2):
        await stage.record(_refused(last))
    row = await stage.message(last.message_id)
    assert (row.status, row.error_code) == ("failed", "number_refused")
    assert await stage.statuses_told() == ["failed"]


# -------------------------------------------------------------------- unanswered marketing


async def test_third_unanswered_marketing_message_fails_until_the_customer_answers(database: Database) -> None:
    stage = await _set(database)
    for _ in range(2):
        await stage.deliver(category=MARKETING)
    third = await stage.accept(category=MARKETING)
    assert await stage.advance(third.send.id) == Idle(why="done")
    row = await stage.message(third.recipients[0].message_id)
    assert (row.status, row.error_code) == ("failed", "unanswered_cap")
    await stage.deliver()
    await stage.receive(incoming())
    await stage.deliver(category=MARKETING)
    assert (await stage.chat()).marketing_unanswered == 1


async def test_marketing_that_the_customer_did_not_get_is_not_unanswered(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept(NUMBER, OTHER, category=MARKETING)
    for _ in range(4):
        await stage.record(not_sent(await stage.claim(accepted.send.id)))
    assert (await stage.chat()).marketing_unanswered == 0
    first, second = await stage.claim_some(accepted.send.id, 2)
    await stage.record(failed(first))
    await stage.record(failed(first))
    await stage.record(unconfirmed(second))
    assert [(await stage.chat(number)).marketing_unanswered for number in (NUMBER, OTHER)] == [0, 1]
    await stage.record(not_sent(second))
    assert (await stage.chat(OTHER)).marketing_unanswered == 0


async def test_cap_of_unanswered_marketing_is_the_businesss(database: Database) -> None:
    stage = await _set(database, unansweredMarketing=1)
    await stage.deliver(category=MARKETING)
    assert await stage.advance((await stage.accept(category=MARKETING)).send.id) == Idle(why="done")
    await stage.businesses.update_config(stage.business.id, {"pacing": {"unansweredMarketing": None}})
    for _ in range(5):
        await stage.deliver(category=MARKETING)


# -------------------------------------------------------------------- too late


async def _connected(stage: Stage, *seconds: float) -> None:
    for moment in seconds:
        await stage.connections.record_status(
            stage.connection.id, stage.epoch, ConnectionStatus.CONNECTED, None, at(moment)
        )


async def test_send_expires_when_the_phone_was_away_for_longer_than_its_time_to_live(database: Database) -> None:
    stage = await _set(database)
    await _connected(stage, 0)
    accepted = await stage.accept(*numbers(2), ttl_seconds=int(DAY))
    await _connected(stage, DAY - 60, DAY - 30, DAY)
    assert isinstance(await stage.advance(accepted.send.id, now=at(DAY + 1)), Attempt)
    await _connected(stage, DAY + 2 * HOUR, DAY + 2 * HOUR + 20)
    step = await stage.step(accepted.send.id, now=at(DAY + 2 * HOUR + 30))
    assert isinstance(step, Idle)
    assert step.reason == "in_flight"
    assert [await stage.status(accepted, place) for place in (0, 1)] == [MessageStatus.SENDING, MessageStatus.EXPIRED]
    assert (await stage.message(accepted.recipients[1].message_id)).error_code == "expired"


async def test_time_to_live_does_not_pass_while_the_phone_is_there(database: Database) -> None:
    stage = await _set(database)
    await _connected(stage, 0)
    accepted = await stage.accept(ttl_seconds=60)
    paused = await stage.sends.pause_send(stage.business.id, accepted.send.id)
    assert paused.status is SendStatus.PAUSED
    await _connected(stage, *(40.0 * step for step in range(1, 10)))
    await stage.sends.resume_send(stage.business.id, accepted.send.id, at(360))
    assert isinstance(await stage.advance(accepted.send.id, now=at(361)), Attempt)


async def test_outage_in_which_a_send_was_paused_takes_nothing_of_its_time_to_live(database: Database) -> None:
    stage = await _set(database)
    await _connected(stage, 0)
    accepted = await stage.accept(ttl_seconds=60)
    await stage.sends.pause_send(stage.business.id, accepted.send.id)
    await _connected(stage, HOUR, HOUR + 20)
    await stage.sends.resume_send(stage.business.id, accepted.send.id, at(HOUR + 30))
    assert isinstance(await stage.advance(accepted.send.id, now=at(HOUR + 31)), Attempt)


async def test_time_to_live_counts_from_when_the_send_is_due(database: Database) -> None:
    stage = await _set(database)
    await _connected(stage, 0, 2 * HOUR, 2 * HOUR + 20)
    accepted = await stage.accept(ttl_seconds=60, send_at=at(2 * HOUR))
    assert isinstance(await stage.advance(accepted.send.id, now=at(2 * HOUR + 30)), Attempt)


async def test_all_that_is_left_expires_in_both_lanes_and_is_told(database: Database) -> None:
    stage = await _set(database)
    await _know(stage, *numbers(2))
    accepted = await stage.accept(*numbers(5), expires_at=at(60))
    await stage.record(sent(await stage.claim(accepted.send.id)))
    assert await stage.step(accepted.send.id, lane=Lane.FAST, now=at(60)) == Idle(why="done")
    send = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert send.counts == {MessageStatus.SENT: 1, MessageStatus.EXPIRED: 4}
    assert await stage.step(accepted.send.id, lane=Lane.SLOW, now=at(61)) == Idle(why="done")
    assert await stage.statuses_told() == ["expired"] * 4
    (finished,) = await stage.told(EventType.SEND_FINISHED)
    assert finished.data["counts"] == {"sent": 1, "expired": 4}


# -------------------------------------------------------------------- several at once, two lanes


async def test_several_are_claimed_at_once_and_recorded_with_the_next_claims(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept(*numbers(7))
    some = await stage.claim_some(accepted.send.id, 5)
    assert [one.message_id for one in some] == [one.message_id for one in accepted.recipients[:5]]
    assert len({one.id for one in some}) == 5
    results = [sent(some[0]), not_sent(some[1]), failed(some[2])]
    step = await stage.step(accepted.send.id, *results, room=3)
    assert not isinstance(step, Idle)
    assert [one.message_id for one in step] == [accepted.recipients[place].message_id for place in (1, 5, 6)]
    rest: Sequence[Attempt] = [*some[3:], *step]
    assert await stage.step(accepted.send.id, *map(sent, rest), room=9) == Idle(why="done")
    send = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert send.counts == {MessageStatus.SENT: 6, MessageStatus.FAILED: 1}


async def test_each_message_goes_in_its_lane_and_the_last_lane_ends_the_send(database: Database) -> None:
    stage = await _set(database)
    await _know(stage, *numbers(2))
    accepted = await stage.accept(*numbers(4))
    assert accepted.send.lanes == (Lane.FAST, Lane.SLOW)
    fast = await stage.step(accepted.send.id, lane=Lane.FAST, room=9)
    slow = await stage.step(accepted.send.id, lane=Lane.SLOW, room=9)
    assert not isinstance(fast, Idle)
    assert not isinstance(slow, Idle)
    assert [one.message_id for one in (*fast, *slow)] == [one.message_id for one in accepted.recipients]
    step = await stage.step(accepted.send.id, sent(fast[0]), lane=Lane.FAST, room=9)
    assert isinstance(step, Idle)
    assert step.reason == "in_flight"
    assert await stage.step(accepted.send.id, sent(fast[1]), lane=Lane.FAST) == Idle(why="lane_done")
    assert (await _row(stage, accepted.send.id)).finished_at is None
    assert await stage.step(accepted.send.id, *map(sent, slow), lane=Lane.SLOW) == Idle(why="done")
    assert await stage.step(accepted.send.id, lane=Lane.FAST) == Idle(why="done")
    assert len(await stage.told(EventType.SEND_FINISHED)) == 1


async def test_lane_stays_what_it_was_when_the_send_was_accepted(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept()
    await _know(stage, NUMBER)
    assert await stage.step(accepted.send.id, lane=Lane.FAST) == Idle(why="lane_done")
    assert isinstance(await stage.advance(accepted.send.id), Attempt)
    known = NewRecipient(to=OTHER, jid=jid_of(OTHER), text="hola", known=True)
    assert (await stage.accept(recipients=(known,))).send.lanes == (Lane.FAST,)


# -------------------------------------------------------------------- when the sweeper looks


async def test_sweeper_lets_a_send_be_that_goes_on_and_finds_one_that_stands_still(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept(*numbers(20))

    async def is_overdue(seconds: float) -> bool:
        found = await stage.work.list_overdue(at(seconds), timedelta(seconds=30), 10)
        return accepted.send.id in {one.id for one in found}

    for place in range(10):
        attempt = await stage.claim(accepted.send.id, now=at(40.0 * place))
        assert not await is_overdue(40.0 * place + 39)
        await stage.step(accepted.send.id, sent(attempt), room=0, now=at(40.0 * place + 39))
    assert not await is_overdue(9 * 40.0 + 39)
    assert await is_overdue(9 * 40.0 + 180)


async def test_send_that_waited_long_and_goes_on_early_is_looked_at_soon(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept(*numbers(2))
    await _close(stage)
    await stage.step(accepted.send.id)
    await stage.connections.open_slow_lane(stage.business.id, at(5))
    await stage.claim(accepted.send.id, now=at(5))
    waiting, looked_at = await _waiting(stage, accepted.send.id)
    assert waiting is None
    assert looked_at is not None
    assert looked_at <= at(180)


async def test_send_that_is_paused_after_its_last_message_is_finished_all_the_same(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id)
    await stage.sends.pause_send(stage.business.id, accepted.send.id)
    assert await stage.step(accepted.send.id, room=0) == Idle(why="paused")
    assert await stage.step(accepted.send.id, sent(attempt), room=0) == Idle(why="done")
    send = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert (send.status, send.next_step_at) == (SendStatus.FINISHED, None)


async def test_cancelled_send_is_looked_at_until_its_last_attempt_has_ended(database: Database) -> None:
    stage = await _set(database)
    accepted = await stage.accept(*numbers(3))
    attempt = await stage.claim(accepted.send.id)
    cancelled = await stage.sends.cancel_send(stage.business.id, accepted.send.id, at(5))
    assert (cancelled.status, cancelled.finished_at) == (SendStatus.CANCELLED, None)
    assert cancelled.next_step_at == at(5)
    step = await stage.step(accepted.send.id, now=at(6))
    assert isinstance(step, Idle)
    assert step.reason == "in_flight"
    result = replace(not_sent(attempt), error=None)
    assert await stage.step(accepted.send.id, result, room=0, now=at(7)) == Idle(why="done")
    send = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert (send.status, send.finished_at, send.next_step_at) == (SendStatus.CANCELLED, at(7), None)
    assert send.counts == {MessageStatus.CANCELLED: 3}


# -------------------------------------------------------------------- what a message that never left gives back


async def test_message_that_never_left_gives_back_its_place_though_its_recipient_is_known_meanwhile(
    database: Database,
) -> None:
    stage = await _set(database, **SLOW_ONLY)
    accepted = await stage.accept(*numbers(2))
    await stage.claim(accepted.send.id)
    attempt = await stage.claim(accepted.send.id)
    await _know(stage, numbers(2)[1])
    await stage.record(not_sent(attempt))
    assert await _day(stage) == {"2026-03-02": 1}


async def test_message_that_took_no_place_gives_none_back(database: Database) -> None:
    """It went to a known contact, or nothing was paced, when it was claimed."""
    stage = await _set(database, **SLOW_ONLY)
    accepted = await stage.accept(*numbers(3))
    await stage.claim(accepted.send.id)
    await _know(stage, numbers(3)[1])
    known = await stage.claim(accepted.send.id)
    await stage.change(numbers(3)[1], known=False)
    await stage.businesses.update_config(stage.business.id, {"pacing": None})
    unpaced = await stage.claim(accepted.send.id)
    for attempt in (known, unpaced):
        await stage.record(not_sent(attempt))
    assert await _day(stage) == {"2026-03-02": 1}


async def test_place_is_given_back_once_and_to_its_own_day(database: Database) -> None:
    """The calendar may have moved between the claim and its end: the business changed its time zone."""
    stage = await _set(database, **SLOW_ONLY)
    accepted = await stage.accept(*numbers(3))
    late = at(11.5 * HOUR)
    await stage.claim(accepted.send.id)
    attempt = await stage.claim(accepted.send.id, now=late)
    await stage.claim(accepted.send.id, now=at(13 * HOUR))
    await stage.businesses.update_config(stage.business.id, {"timezone": "Pacific/Auckland"})
    for _ in range(2):
        await stage.record(not_sent(attempt))
    assert await _day(stage) == {"2026-03-02": 1, "2026-03-03": 1}
