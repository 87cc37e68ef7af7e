"""Batches: what interrupts them, what does not, and when they end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities import sending
from activities.sending import BatchStep, SendBatch, SendingActivities, SendMessages
from boton.domain.messages import MessageStatus
from boton.errors import ConnectionAway, RecipientRefused, SessionReplaced, StaleEpoch
from tests.activities.conftest import Bench
from tests.activities.fakes import InstantOutbox
from tests.waiting import until

SECONDS = 20


async def run_batch(activities: SendingActivities, send_id: str) -> BatchStep:
    return await asyncio.wait_for(ActivityEnvironment().run(activities.send_batch, SendBatch(send_id)), SECONDS)


async def test_batch_sends_everything_in_order_and_says_done(bench: Bench) -> None:
    send = await bench.accept(5)
    step = await run_batch(bench.sending(), send.send.id)
    assert step == BatchStep(state="done", settled=5)
    assert [attempt.message_id for attempt in bench.gateway.wire] == [one.message_id for one in send.recipients]
    assert set(await bench.statuses(send)) == {MessageStatus.SENT}


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
    step = await asyncio.wait_for(environment.run(bench.sending().send_batch, SendBatch(send.send.id)), SECONDS)
    assert step.state == "done"
    assert beats >= 5


async def test_cancelled_attempt_does_not_interrupt_between_claim_and_record(bench: Bench) -> None:
    send = await bench.accept(2)
    activities = bench.sending()
    bench.gateway.open_wire.clear()
    environment = ActivityEnvironment()
    attempt = asyncio.create_task(environment.run(activities.send_batch, SendBatch(send.send.id)))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert await bench.statuses(send) == [MessageStatus.SENDING, MessageStatus.QUEUED]
    bench.gateway.open_wire.set()
    await asyncio.wait_for(activities.drain(), SECONDS)
    assert await bench.statuses(send) == [MessageStatus.SENT, MessageStatus.QUEUED]


async def test_later_attempt_waits_for_the_one_in_flight_and_never_overlaps_it(bench: Bench) -> None:
    send = await bench.accept(3)
    activities = bench.sending()
    bench.gateway.open_wire.clear()
    first = asyncio.create_task(run_batch(activities, send.send.id))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    waiting = asyncio.Event()
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_details: waiting.set()
    second = asyncio.create_task(environment.run(activities.send_batch, SendBatch(send.send.id)))
    await asyncio.wait_for(waiting.wait(), SECONDS)
    assert len(bench.gateway.tried) == 1
    bench.gateway.open_wire.set()
    steps = [await first, await second]
    assert steps == [BatchStep(state="more", settled=1), BatchStep(state="done", settled=2)]
    assert len(bench.gateway.wire) == len({attempt.message_id for attempt in bench.gateway.wire}) == 3


@pytest.mark.timeout(20)
@pytest.mark.parametrize("ticks", range(8))
async def test_attempt_that_comes_just_as_an_earlier_one_ends_does_not_freeze_the_loop(
    bench: Bench, ticks: int
) -> None:
    bench.outbox = InstantOutbox()
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
    send = await bench.accept(5)
    activities = bench.sending()
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(activities, send.send.id))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    activities.close()
    bench.gateway.open_wire.set()
    assert await batch == BatchStep(state="more", settled=1)
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
    monkeypatch.setattr(sending, "BATCH_MESSAGES", 3)
    send = await bench.accept(5)
    activities = bench.sending()
    assert await run_batch(activities, send.send.id) == BatchStep(state="more", settled=3)
    assert await run_batch(activities, send.send.id) == BatchStep(state="done", settled=2)


async def test_batch_ends_after_its_time(bench: Bench) -> None:
    send = await bench.accept(3)
    activities = bench.sending()
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(activities, send.send.id))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    bench.clock.now += timedelta(minutes=5)
    bench.gateway.open_wire.set()
    assert await batch == BatchStep(state="more", settled=1)


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
    send = await bench.accept(3)
    bench.gateway.answers.append(SessionReplaced("a newer session exists"))
    activities = bench.sending()
    step = await run_batch(activities, send.send.id)
    assert step == BatchStep(state="not_owner", settled=1)
    assert bench.watcher.lost >= 1
    assert set(await bench.statuses(send)) == {MessageStatus.QUEUED}
    assert (await run_batch(activities, send.send.id)).state == "not_owner"
    with pytest.raises(StaleEpoch):
        await ActivityEnvironment().run(activities.send_messages, SendMessages((send.recipients[1].message_id,)))
    assert len(bench.gateway.tried) == 1


async def test_higher_epoch_before_the_first_claim_tells_the_link(bench: Bench) -> None:
    send = await bench.accept()
    await bench.raise_epoch()
    assert (await run_batch(bench.sending(), send.send.id)).state == "not_owner"
    assert bench.watcher.lost == 1
    assert bench.gateway.tried == []


async def test_higher_epoch_in_mid_batch_ends_it_and_keeps_the_record(bench: Bench) -> None:
    send = await bench.accept(3)
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(bench.sending(), send.send.id))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    await bench.raise_epoch()
    bench.gateway.open_wire.set()
    assert await batch == BatchStep(state="not_owner", settled=1)
    assert bench.watcher.lost == 1
    assert await bench.statuses(send) == [MessageStatus.SENT, MessageStatus.QUEUED, MessageStatus.QUEUED]
