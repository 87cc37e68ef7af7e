"""Batches where nothing is paced: what interrupts them, what does not, and when they end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities import batch as batches
from activities import courier as couriers
from activities import sending
from activities.sending import BatchStep, SendBatch, SendingActivities, SendMessages
from boton.domain.messages import MessageStatus
from boton.domain.sends import SendKind
from boton.errors import (
    ConnectionAway,
    IllegalTransition,
    NumberRefused,
    OutcomeUnknown,
    RecipientRefused,
    SessionReplaced,
    StaleEpoch,
)
from boton.store.sends import SqlSendStore
from tests.activities.conftest import Bench
from tests.activities.fakes import FailingOutbox, InstantOutbox
from tests.store.builders import a_send
from tests.waiting import until

SECONDS = 20
IN_FLIGHT = 10
"""How many messages are in flight at once where nothing is paced."""


async def run_batch(activities: SendingActivities, send_id: str) -> BatchStep:
    return await asyncio.wait_for(ActivityEnvironment().run(activities.send_batch, SendBatch(send_id, "slow")), SECONDS)


async def test_batch_sends_everything_in_order_and_says_done(bench: Bench) -> None:
    send = await bench.accept(5)
    step = await run_batch(bench.sending(), send.send.id)
    assert step == BatchStep(state="done", settled=5)
    assert [attempt.message_id for attempt in bench.gateway.wire] == [one.message_id for one in send.recipients]
    assert set(await bench.statuses(send)) == {MessageStatus.SENT}


async def test_batch_tells_how_far_the_send_is(bench: Bench) -> None:
    send = await bench.accept(5)
    step = await run_batch(bench.sending(), send.send.id)
    assert step.progress is not None
    assert (step.progress.total, step.progress.done) == (5, 5)


async def test_batch_heartbeats_while_the_gateway_is_slow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_HEARTBEAT_SECONDS", 0.01)
    send = await bench.accept()
    bench.gateway.open_wire.clear()
    beats = 0

    def beat(*_details: object) -> None:
        nonlocal beats
        beats += 1
        if beats == 5:
            bench.gateway.open_wire.set()

    environment = ActivityEnvironment()
    environment.on_heartbeat = beat
    step = await asyncio.wait_for(environment.run(bench.sending().send_batch, SendBatch(send.send.id, "slow")), SECONDS)
    assert step.state == "done"
    assert beats >= 5


async def test_cancelled_attempt_does_not_interrupt_between_claim_and_record(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 3)
    activities = bench.sending()
    bench.gateway.open_wire.clear()
    environment = ActivityEnvironment()
    attempt = asyncio.create_task(environment.run(activities.send_batch, SendBatch(send.send.id, "slow")))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    statuses = await bench.statuses(send)
    assert statuses == [MessageStatus.SENDING] * IN_FLIGHT + [MessageStatus.QUEUED] * 3
    bench.gateway.open_wire.set()
    await asyncio.wait_for(activities.drain(), SECONDS)
    statuses = await bench.statuses(send)
    assert statuses == [MessageStatus.SENT] * IN_FLIGHT + [MessageStatus.QUEUED] * 3


async def test_later_attempt_waits_for_the_one_in_flight_and_never_overlaps_it(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 3)
    activities = bench.sending()
    bench.gateway.open_wire.clear()
    first = asyncio.create_task(run_batch(activities, send.send.id))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    waiting = asyncio.Event()
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_details: waiting.set()
    second = asyncio.create_task(environment.run(activities.send_batch, SendBatch(send.send.id, "slow")))
    await asyncio.wait_for(waiting.wait(), SECONDS)
    assert len(bench.gateway.tried) == IN_FLIGHT
    bench.gateway.open_wire.set()
    steps = [await first, await second]
    assert steps == [BatchStep(state="more", settled=IN_FLIGHT), BatchStep(state="done", settled=3)]
    assert len(bench.gateway.wire) == len({attempt.message_id for attempt in bench.gateway.wire}) == IN_FLIGHT + 3


@pytest.mark.parametrize("ticks", range(8))
async def test_attempt_that_comes_just_as_an_earlier_one_ends_does_not_freeze_the_loop(
    bench: Bench, ticks: int
) -> None:
    bench.outbox = InstantOutbox(bench.outbox)
    activities = bench.sending()
    first = asyncio.create_task(run_batch(activities, "snd_1"))
    for _ in range(ticks):
        await asyncio.sleep(0)
    second = asyncio.create_task(run_batch(activities, "snd_1"))
    assert {(await first).state, (await second).state} <= {"done", "more"}


async def test_away_is_due_again_and_does_not_spin(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(self: object, seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(sending.Stop, "sleep", sleep)
    send = await bench.accept()
    bench.gateway.answers.extend(ConnectionAway("away") for _ in range(7))
    step = await run_batch(bench.sending(), send.send.id)
    assert step == BatchStep(state="done", settled=8)
    assert slept == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert await bench.statuses(send) == [MessageStatus.SENT]
    assert len({attempt.id for attempt in bench.gateway.tried}) == 8


async def test_close_wakes_a_batch_that_waits_for_the_connection(bench: Bench) -> None:
    send = await bench.accept()
    bench.gateway.answers.extend(ConnectionAway("away") for _ in range(100))
    activities = bench.sending()
    batch = asyncio.create_task(run_batch(activities, send.send.id))
    await until(lambda: len(bench.watcher.results) >= 2)
    activities.close()
    assert (await batch).state == "more"
    assert await bench.statuses(send) == [MessageStatus.QUEUED]


async def test_close_ends_a_batch_at_its_next_message(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 4)
    activities = bench.sending()
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(activities, send.send.id))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    activities.close()
    bench.gateway.open_wire.set()
    assert await batch == BatchStep(state="more", settled=IN_FLIGHT)
    assert (await bench.statuses(send)).count(MessageStatus.QUEUED) == 4


async def test_closed_link_claims_nothing_new(bench: Bench) -> None:
    send = await bench.accept()
    activities = bench.sending()
    activities.close()
    assert (await run_batch(activities, send.send.id)).state == "more"
    messages = SendMessages((send.recipients[0].message_id,))
    assert (await ActivityEnvironment().run(activities.send_messages, messages)).state == "more"
    assert bench.gateway.tried == []
    assert await bench.statuses(send) == [MessageStatus.QUEUED]


async def test_batch_ends_after_its_number_of_messages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_MESSAGES", 3)
    monkeypatch.setattr(batches, "_WINDOW", 1)
    send = await bench.accept(5)
    activities = bench.sending()
    assert await run_batch(activities, send.send.id) == BatchStep(state="more", settled=3)
    assert await run_batch(activities, send.send.id) == BatchStep(state="done", settled=2)


async def test_batch_ends_after_its_time(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 2)
    activities = bench.sending()
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(activities, send.send.id))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    bench.clock.now += timedelta(minutes=5)
    bench.gateway.open_wire.set()
    assert await batch == BatchStep(state="more", settled=IN_FLIGHT)


async def test_replies_end_after_their_time_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(self: object, seconds: float) -> None:
        bench.clock.now += timedelta(minutes=2)

    monkeypatch.setattr(sending.Stop, "sleep", sleep)
    send = await bench.accept()
    bench.gateway.answers.extend(ConnectionAway("away") for _ in range(100))
    messages = SendMessages((send.recipients[0].message_id,))
    step = await asyncio.wait_for(ActivityEnvironment().run(bench.sending().send_messages, messages), SECONDS)
    assert step.state == "more"
    assert await bench.statuses(send) == [MessageStatus.QUEUED]


async def test_replies_go_out_one_by_one_and_a_refused_one_does_not_hold_the_others(bench: Bench) -> None:
    send = await bench.accept(3)
    bench.gateway.answers.append(RecipientRefused("not_on_whatsapp", "this number is not on WhatsApp"))
    ids = tuple(one.message_id for one in send.recipients)
    step = await ActivityEnvironment().run(bench.sending().send_messages, SendMessages(ids))
    assert step == BatchStep(state="done", settled=3)
    assert await bench.statuses(send) == [MessageStatus.FAILED, MessageStatus.SENT, MessageStatus.SENT]


async def test_replies_that_were_sent_are_left_out_of_a_second_attempt(bench: Bench) -> None:
    send = await bench.accept(2)
    messages = SendMessages(tuple(one.message_id for one in send.recipients))
    activities = bench.sending()
    await ActivityEnvironment().run(activities.send_messages, messages)
    assert await ActivityEnvironment().run(activities.send_messages, messages) == BatchStep(state="done", settled=0)
    assert len(bench.gateway.wire) == 2


async def test_replaced_session_ends_the_batch_and_nothing_is_claimed_afterwards(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 3)
    bench.gateway.answers.extend(SessionReplaced("a newer session exists") for _ in range(IN_FLIGHT))
    activities = bench.sending()
    step = await run_batch(activities, send.send.id)
    assert step == BatchStep(state="not_owner", settled=IN_FLIGHT)
    assert bench.watcher.lost >= 1
    assert set(await bench.statuses(send)) == {MessageStatus.QUEUED}
    assert (await run_batch(activities, send.send.id)).state == "not_owner"
    with pytest.raises(StaleEpoch):
        await ActivityEnvironment().run(activities.send_messages, SendMessages((send.recipients[1].message_id,)))
    assert len(bench.gateway.tried) == IN_FLIGHT


async def test_session_replaced_while_asking_leaves_that_attempt_alone_and_records_the_others(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 3)
    bench.gateway.answers.append(OutcomeUnknown("no answer"))
    bench.gateway.outcomes.append(SessionReplaced("a newer session exists"))
    activities = bench.sending()
    with pytest.raises(SessionReplaced):
        await run_batch(activities, send.send.id)
    statuses = [MessageStatus.SENDING] + [MessageStatus.SENT] * (IN_FLIGHT - 1) + [MessageStatus.QUEUED] * 3
    assert await bench.statuses(send) == statuses
    assert (await run_batch(activities, send.send.id)).state == "not_owner"


async def test_higher_epoch_before_the_first_claim_tells_the_link(bench: Bench) -> None:
    send = await bench.accept()
    await bench.raise_epoch()
    assert (await run_batch(bench.sending(), send.send.id)).state == "not_owner"
    assert bench.watcher.lost == 1
    assert bench.gateway.tried == []


async def test_higher_epoch_in_mid_batch_ends_it_and_keeps_the_records(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 2)
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(bench.sending(), send.send.id))
    await until(lambda: len(bench.gateway.tried) == IN_FLIGHT)
    await bench.raise_epoch()
    bench.gateway.open_wire.set()
    assert await batch == BatchStep(state="not_owner", settled=IN_FLIGHT)
    assert bench.watcher.lost >= 1
    assert await bench.statuses(send) == [MessageStatus.SENT] * IN_FLIGHT + [MessageStatus.QUEUED] * 2


# ---------------------------------------------------------------- several in flight at once


async def test_a_slow_answer_does_not_hold_up_the_others(bench: Bench) -> None:
    send = await bench.accept(25)
    held = send.recipients[0].message_id
    bench.gateway.hold(held)
    batch = asyncio.create_task(run_batch(bench.sending(), send.send.id))
    await until(lambda: len(bench.gateway.wire) == 24)
    assert not batch.done()
    bench.gateway.let_go(held)
    assert await batch == BatchStep(state="done", settled=25)


async def test_no_more_than_a_window_is_in_flight(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT * 4)
    await run_batch(bench.sending(), send.send.id)
    assert bench.gateway.most_at_once == IN_FLIGHT


async def test_pause_lets_through_what_is_in_flight_and_nothing_else(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 5)
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(bench.sending(), send.send.id))
    await until(lambda: len(bench.gateway.tried) == IN_FLIGHT)
    await SqlSendStore(bench.database).pause_send(bench.business.id, send.send.id)
    bench.gateway.open_wire.set()
    assert await batch == BatchStep(state="paused", settled=IN_FLIGHT)
    assert await bench.statuses(send) == [MessageStatus.SENT] * IN_FLIGHT + [MessageStatus.QUEUED] * 5


async def test_cancel_in_mid_batch_ends_with_a_full_account(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 5)
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(bench.sending(), send.send.id))
    await until(lambda: len(bench.gateway.tried) == IN_FLIGHT)
    await SqlSendStore(bench.database).cancel_send(bench.business.id, send.send.id, bench.clock())
    bench.gateway.open_wire.set()
    assert await batch == BatchStep(state="done", settled=IN_FLIGHT)
    assert await bench.statuses(send) == [MessageStatus.SENT] * IN_FLIGHT + [MessageStatus.CANCELLED] * 5


async def test_connection_that_goes_away_is_tried_with_one_message_and_then_with_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    async def sleep(self: object, seconds: float) -> None:
        tried.append(len(bench.gateway.tried))

    monkeypatch.setattr(sending.Stop, "sleep", sleep)
    send = await bench.accept(IN_FLIGHT * 3)
    bench.gateway.answers.extend(ConnectionAway("away") for _ in range(IN_FLIGHT + 2))
    step = await run_batch(bench.sending(), send.send.id)
    assert step.state == "done"
    assert tried == [IN_FLIGHT, IN_FLIGHT + 1, IN_FLIGHT + 2]
    assert bench.gateway.most_at_once == IN_FLIGHT
    assert set(await bench.statuses(send)) == {MessageStatus.SENT}


async def test_refusal_of_the_number_ends_the_batch_until_the_lane_reopens(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 5)
    bench.gateway.answers.append(NumberRefused(463, "the number is restricted"))
    step = await run_batch(bench.sending(), send.send.id)
    assert (step.state, step.reason) == ("wait", "slow_lane_closed")
    assert step.until == bench.watcher.closures[0].until
    statuses = await bench.statuses(send)
    assert statuses.count(MessageStatus.FAILED) == 1
    assert statuses.count(MessageStatus.SENT) == IN_FLIGHT - 1
    assert statuses.count(MessageStatus.QUEUED) == 5


async def test_store_that_fails_while_records_are_written_loses_none_of_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(couriers, "_RECORD_FIRST_SECONDS", 0.001)
    bench.outbox = FailingOutbox(bench.outbox, OSError("disk"), failures=5)
    send = await bench.accept(IN_FLIGHT + 2)
    activities = bench.sending()
    with pytest.raises(OSError, match="disk"):
        await run_batch(activities, send.send.id)
    assert MessageStatus.SENDING not in await bench.statuses(send)
    await run_batch(activities, send.send.id)
    assert set(await bench.statuses(send)) == {MessageStatus.SENT}
    assert len(bench.gateway.wire) == IN_FLIGHT + 2


async def test_record_that_is_refused_does_not_lose_those_in_flight(bench: Bench) -> None:
    bench.outbox = FailingOutbox(bench.outbox, IllegalTransition("read", "sent"), failures=3)
    send = await bench.accept(IN_FLIGHT)
    held = [one.message_id for one in send.recipients[1:]]
    bench.gateway.hold(*held)
    batch = asyncio.create_task(run_batch(bench.sending(), send.send.id))
    await until(lambda: len(bench.gateway.wire) == 1)
    for message_id in held:
        bench.gateway.let_go(message_id)
    with pytest.raises(IllegalTransition):
        await batch
    statuses = await bench.statuses(send)
    assert statuses.count(MessageStatus.SENDING) == 2
    assert statuses.count(MessageStatus.SENT) == IN_FLIGHT - 2


async def test_openings_without_a_text_are_written_first(bench: Bench) -> None:
    numbers = [f"54911000{number:05}" for number in range(12)]
    send = await SqlSendStore(bench.database).accept_send(a_send(bench.business, numbers, kind=SendKind.INSTRUCTION))
    step = await run_batch(bench.sending(), send.send.id)
    assert (step.state, step.settled) == ("compose", 0)
    assert step.message_ids == tuple(one.message_id for one in send.recipients[:10])


async def test_pacing_switched_on_ends_what_was_in_full_flow(bench: Bench) -> None:
    send = await bench.accept(IN_FLIGHT + 3)
    activities = bench.sending(bench.pacer())
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(activities, send.send.id))
    await until(lambda: len(bench.gateway.tried) == IN_FLIGHT)
    await bench.pace(profile="careful", checkRecipients=False)
    bench.gateway.open_wire.set()
    await until(lambda: len(bench.gateway.wire) == IN_FLIGHT + 1)
    activities.close()
    assert await batch == BatchStep(state="more", settled=IN_FLIGHT + 1)
    assert (await bench.statuses(send)).count(MessageStatus.QUEUED) == 2
