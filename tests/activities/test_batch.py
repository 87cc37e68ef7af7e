"""Batches of a paced number: one message at a time, in turns, and what they do before a first contact."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col
from temporalio.testing import ActivityEnvironment

from activities import batch as batches
from activities import courier as couriers
from activities import pacer as pacers
from activities.pacer import Pacer, Turn
from activities.sending import BatchStep, SendBatch, SendingActivities
from boton.domain.chats import ChatChange
from boton.domain.gateway import Attempt
from boton.domain.messages import Lane, MessageStatus
from boton.domain.sends import AcceptedSend, SendCategory, SendKind
from boton.errors import ConnectionAway, NumberRefused, SessionReplaced
from boton.ports import Page
from boton.store.chats import SqlChatStore
from boton.store.engine import Database
from boton.store.sends import SqlSendStore
from boton.store.tables import MessageRow
from tests.activities.conftest import Bench
from tests.activities.fakes import FailingOutbox, ScriptedGateway
from tests.activities.test_pacer import Ticks
from tests.store.builders import a_send, jid_of
from tests.waiting import until

SECONDS = 20
GAPS = {"profile": "careful", "slowGapSeconds": [20, 20], "fastGapSeconds": [3, 3]}


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacers, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(batches, "_AWAY_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(couriers, "_RECORD_FIRST_SECONDS", 0.001)


async def run_batch(activities: SendingActivities, send: AcceptedSend, lane: str = "slow") -> BatchStep:
    batch = SendBatch(send.send.id, lane)
    return await asyncio.wait_for(ActivityEnvironment().run(activities.send_batch, batch), SECONDS)


class Overtaken(ScriptedGateway):
    """The message of the first who is looked up is cancelled at that moment."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    async def find_on_whatsapp(self, jid: str) -> Sequence[str]:
        if not self.looked_up:
            cancelled = update(MessageRow).where(col(MessageRow.jid) == jid).values(status="cancelled")
            await self._database.write(lambda session: session.execute(cancelled) and None)
        return await super().find_on_whatsapp(jid)


def sent_to(attempts: Sequence[Attempt]) -> list[str]:
    return [attempt.jid for attempt in attempts]


# ---------------------------------------------------------------- turns and gaps


async def test_paced_batch_sends_one_at_a_time_and_in_order(bench: Bench) -> None:
    await bench.pace(**GAPS)
    send = await bench.accept(6)
    assert await run_batch(bench.sending(bench.fresh_pacer()), send) == BatchStep(state="done", settled=6)
    assert sent_to(bench.gateway.wire) == [one.jid for one in send.recipients]
    assert bench.gateway.most_at_once == 1


async def test_gap_lies_between_two_messages_of_a_batch(bench: Bench) -> None:
    await bench.pace(**GAPS)
    ticks = Ticks()
    send = await bench.accept(2)
    batch = asyncio.create_task(run_batch(bench.sending(bench.pacer(ticks)), send))
    await until(lambda: len(bench.gateway.wire) == 1)
    await ticks.seen(30)
    ticks.now += 19
    await ticks.seen(30)
    assert len(bench.gateway.tried) == 1
    ticks.now += 2
    assert await batch == BatchStep(state="done", settled=2)


async def test_batch_begins_with_the_pace_as_it_is_now(bench: Bench) -> None:
    """The pace that was read a moment ago is another one: no second message may leave by it."""
    ticks = Ticks()
    pacer = bench.pacer(ticks)
    await bench.pace(profile="off")
    await pacer.pacing()
    await bench.pace(**GAPS)
    batch = asyncio.create_task(run_batch(bench.sending(pacer), await bench.accept(2)))
    await until(lambda: len(bench.gateway.wire) == 1)
    await ticks.seen(30)
    assert len(bench.gateway.tried) == 1
    ticks.now += 21
    assert await batch == BatchStep(state="done", settled=2)


class Watched(Pacer):
    """Tells how many wait for a turn, and how many turns there were."""

    def __init__(self, bench: Bench, ticks: Ticks) -> None:
        super().__init__(lambda: bench.outbox.fetch_pace(bench.connection.id), bench.clock, clock=ticks)
        self.ticks = ticks
        self.waiting = self.taken = 0

    async def take(self, turn: Turn, stop: couriers.Stop, patience: float) -> bool:
        self.waiting += 1
        try:
            taken = await super().take(turn, stop, patience)
        finally:
            self.waiting -= 1
        self.taken += taken
        return taken

    async def pass_time(self, *running: asyncio.Task[BatchStep]) -> None:
        """Gap after gap, each when all of them wait for their turn, until these batches are done."""
        while left := [batch for batch in running if not batch.done()]:
            await until(lambda: self.waiting == len(left) or any(batch.done() for batch in left))
            if self.waiting == len(left):
                taken = self.taken
                self.ticks.now += 20
                await until(lambda: self.taken > taken)  # noqa: B023


async def test_two_bulks_take_turns(bench: Bench) -> None:
    await bench.pace(**GAPS)
    pacer = Watched(bench, Ticks())
    first, second = await bench.accept(4), await accept_from(bench, 100, 4)
    assert await pacer.take(Turn(lane=Lane.SLOW, rank=0, key="earlier"), couriers.Stop(), 10)
    activities = bench.sending(pacer)
    running = [asyncio.create_task(run_batch(activities, send)) for send in (first, second)]
    await until(lambda: pacer.waiting == 2)
    pacer.release(Lane.SLOW, used=True)
    await pacer.pass_time(*running)
    mine = {one.jid for one in first.recipients}
    order = ["first" if jid in mine else "second" for jid in sent_to(bench.gateway.wire)]
    assert order in (["first", "second"] * 4, ["second", "first"] * 4)


async def test_transactional_goes_before_marketing_that_came_earlier(bench: Bench) -> None:
    await bench.pace(**GAPS)
    pacer = Watched(bench, Ticks())
    activities = bench.sending(pacer)
    marketing = await accept_from(bench, 0, 3, category=SendCategory.MARKETING)
    bulk = asyncio.create_task(run_batch(activities, marketing))
    await until(lambda: len(bench.gateway.wire) == 1)
    urgent = await accept_from(bench, 100, 2)
    batch = asyncio.create_task(run_batch(activities, urgent))
    await pacer.pass_time(bulk, batch)
    turns = [one.jid for one in (*marketing.recipients[:1], *urgent.recipients, *marketing.recipients[1:])]
    assert sent_to(bench.gateway.wire) == turns


async def test_bulk_in_a_crowd_gives_its_slot_back_after_each_message(bench: Bench) -> None:
    """A link has room for so many batches: a reply must find a place among any number of bulks."""
    await bench.pace(**GAPS)
    pacer = Watched(bench, Ticks())
    stop = couriers.Stop()
    turns = [Turn(lane=Lane.SLOW, rank=2, key=f"another-{place}") for place in range(60)]
    assert await pacer.take(Turn(lane=Lane.SLOW, rank=0, key="earlier"), stop, 10)
    crowd = [asyncio.create_task(pacer.take(turn, stop, 10_000)) for turn in turns]
    batch = asyncio.create_task(run_batch(bench.sending(pacer), await bench.accept(3)))
    await until(lambda: pacer.waiting == 61)
    pacer.release(Lane.SLOW, used=False)
    assert await batch == BatchStep(state="more", settled=1)
    stop.set()
    await asyncio.gather(*crowd)


async def accept_from(
    bench: Bench, first: int, count: int, category: SendCategory = SendCategory.TRANSACTIONAL
) -> AcceptedSend:
    numbers = [f"54911000{number:05}" for number in range(first, first + count)]
    return await SqlSendStore(bench.database).accept_send(a_send(bench.business, numbers, category=category))


async def test_pause_holds_before_the_next_message(bench: Bench) -> None:
    await bench.pace(**GAPS)
    send = await bench.accept(4)
    bench.gateway.open_wire.clear()
    batch = asyncio.create_task(run_batch(bench.sending(bench.fresh_pacer()), send))
    await asyncio.wait_for(bench.gateway.on_the_wire.wait(), SECONDS)
    await SqlSendStore(bench.database).pause_send(bench.business.id, send.send.id)
    bench.gateway.open_wire.set()
    assert await batch == BatchStep(state="paused", settled=1)
    assert (await bench.statuses(send)).count(MessageStatus.QUEUED) == 3


async def test_stop_ends_a_batch_that_waits_for_its_turn(bench: Bench) -> None:
    await bench.pace(**GAPS)
    ticks = Ticks()
    send = await bench.accept(3)
    activities = bench.sending(bench.pacer(ticks))
    batch = asyncio.create_task(run_batch(activities, send))
    await until(lambda: len(bench.gateway.wire) == 1)
    await ticks.seen()
    activities.close()
    assert await asyncio.wait_for(batch, SECONDS) == BatchStep(state="more", settled=1)


async def test_batch_that_waits_in_vain_ends_after_its_time(bench: Bench) -> None:
    await bench.pace(**GAPS)
    ticks = Ticks()
    pacer = bench.pacer(ticks)
    stop = couriers.Stop()
    assert await pacer.take(Turn(lane=Lane.SLOW, rank=0, key="another"), stop, 10)
    batch = asyncio.create_task(run_batch(bench.sending(pacer), await bench.accept()))
    await ticks.seen()
    ticks.now += batches.BATCH_TIME.total_seconds() + 1
    assert await batch == BatchStep(state="more", settled=0)


async def test_full_day_waits_for_the_next_and_says_why(bench: Bench) -> None:
    await bench.pace(**GAPS, dailyLimit=2, warmUpDays=0)
    send = await bench.accept(5)
    step = await run_batch(bench.sending(bench.fresh_pacer()), send)
    assert (step.state, step.reason, step.settled) == ("wait", "daily_limit", 2)
    midnight = bench.clock().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert step.until == midnight
    bench.clock.now = midnight
    assert (await run_batch(bench.sending(bench.fresh_pacer()), send)).settled == 2


async def test_refusal_closes_the_lane_for_a_paced_bulk_too(bench: Bench) -> None:
    await bench.pace(**GAPS)
    send = await bench.accept(3)
    bench.gateway.answers.append(NumberRefused(429, "too fast"))
    step = await run_batch(bench.sending(bench.fresh_pacer()), send)
    assert (step.state, step.reason, step.settled) == ("wait", "slow_lane_closed", 1)
    assert step.until == bench.watcher.closures[0].until
    assert set(await bench.statuses(send)) == {MessageStatus.QUEUED}


async def test_turn_is_given_back_when_the_store_fails(bench: Bench) -> None:
    await bench.pace(**GAPS)
    bench.outbox = FailingOutbox(bench.outbox, OSError("disk"), failures=3)
    send = await bench.accept(2)
    activities = bench.sending(bench.fresh_pacer())
    with pytest.raises(OSError, match="disk"):
        await run_batch(activities, send)
    assert await bench.statuses(send) == [MessageStatus.SENT, MessageStatus.QUEUED]
    assert await run_batch(activities, send) == BatchStep(state="done", settled=1)


async def test_connection_that_is_away_takes_no_other_message(bench: Bench) -> None:
    await bench.pace(**GAPS)
    send = await bench.accept(2)
    bench.gateway.answers.extend(ConnectionAway("away") for _ in range(4))
    assert await run_batch(bench.sending(bench.fresh_pacer()), send) == BatchStep(state="done", settled=6)
    assert sent_to(bench.gateway.tried) == [send.recipients[0].jid] * 5 + [send.recipients[1].jid]


# ---------------------------------------------------------------- first contacts


async def test_who_is_not_on_whatsapp_is_not_written_to(bench: Bench) -> None:
    await bench.pace(**GAPS)
    send = await bench.accept(3)
    bench.gateway.absent.add(send.recipients[1].jid)
    step = await run_batch(bench.sending(bench.fresh_pacer()), send)
    assert step == BatchStep(state="done", settled=2)
    assert await bench.statuses(send) == [MessageStatus.SENT, MessageStatus.FAILED, MessageStatus.SENT]
    assert send.recipients[1].jid not in sent_to(bench.gateway.tried)
    recipients, _ = await SqlSendStore(bench.database).list_recipients(
        bench.business.id, send.send.id, Page(page=0, page_size=50)
    )
    assert [one.error.code for one in recipients if one.error] == ["not_on_whatsapp"]


async def test_each_first_contact_is_looked_up_once(bench: Bench) -> None:
    await bench.pace(**GAPS)
    for _ in range(2):
        await run_batch(bench.sending(bench.fresh_pacer()), send := await bench.accept(3))
    assert bench.gateway.looked_up == [one.jid for one in send.recipients]


async def test_look_up_while_whatsapp_is_away_is_tried_again(bench: Bench) -> None:
    await bench.pace(**GAPS)
    send = await bench.accept(2)
    bench.gateway.look_ups.extend(ConnectionAway("away") for _ in range(3))
    assert await run_batch(bench.sending(bench.fresh_pacer()), send) == BatchStep(state="done", settled=2)
    assert bench.gateway.looked_up.count(send.recipients[0].jid) == 4


async def test_look_up_that_finds_the_recipient_in_another_chat_heeds_what_holds_there(bench: Bench) -> None:
    await bench.pace(**GAPS)
    new = a_send(bench.business, ["5491100000001", "5491100000002"], category=SendCategory.MARKETING)
    send = await SqlSendStore(bench.database).accept_send(new)
    first, second = send.recipients
    change = ChatChange(opted_out=True)
    await SqlChatStore(bench.database).change_chat(bench.business.id, "1029384756@lid", change, bench.clock())
    bench.gateway.also_known_as[first.jid] = ("1029384756@lid",)
    await run_batch(bench.sending(bench.fresh_pacer()), send)
    assert sent_to(bench.gateway.wire) == [second.jid]
    assert await bench.statuses(send) == ["failed", "sent"]
    assert bench.watcher.to_look_at == []


async def test_session_replaced_during_a_look_up_tells_the_link(bench: Bench) -> None:
    await bench.pace(**GAPS)
    send = await bench.accept(2)
    bench.gateway.look_ups.append(SessionReplaced("a newer session exists"))
    activities = bench.sending(bench.fresh_pacer())
    with pytest.raises(SessionReplaced):
        await run_batch(activities, send)
    assert bench.watcher.lost == 1
    assert (await run_batch(activities, send)).state == "not_owner"
    assert bench.gateway.tried == []


async def test_message_that_is_settled_during_its_look_up_makes_way_for_the_next(bench: Bench) -> None:
    await bench.pace(**GAPS)
    bench.gateway = Overtaken(bench.database)
    send = await bench.accept(3)
    assert await run_batch(bench.sending(bench.fresh_pacer()), send) == BatchStep(state="done", settled=2)
    assert bench.gateway.looked_up == [one.jid for one in send.recipients]


async def test_look_ups_switched_on_hold_for_a_batch_that_flows(bench: Bench) -> None:
    """The store knows of it before the link does."""
    ticks = Ticks()
    activities = bench.sending(bench.pacer(ticks))
    await run_batch(activities, await bench.accept())
    await bench.pace(profile="off", checkRecipients=True)
    send = await accept_from(bench, 100, 2)
    bench.gateway.absent.add(jid_of("5491100000100"))
    assert await run_batch(activities, send) == BatchStep(state="done", settled=1)
    assert await bench.statuses(send) == [MessageStatus.FAILED, MessageStatus.SENT]


async def test_openings_are_written_one_by_one_and_writing_costs_no_gap(bench: Bench) -> None:
    await bench.pace(**GAPS, checkRecipients=False)
    numbers = ["5491100000001", "5491100000002"]
    send = await SqlSendStore(bench.database).accept_send(a_send(bench.business, numbers, kind=SendKind.INSTRUCTION))
    pacer = bench.pacer(Ticks())
    step = await run_batch(bench.sending(pacer), send)
    assert (step.state, step.message_ids) == ("compose", (send.recipients[0].message_id,))
    assert await pacer.take(Turn(lane=Lane.SLOW, rank=0, key="another"), couriers.Stop(), 10)
