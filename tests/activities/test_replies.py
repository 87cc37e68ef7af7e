"""Single messages in a chat: typing before the claim, in their order, and who wins meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from temporalio.testing import ActivityEnvironment

from activities import batch as batches
from activities import pacer as pacers
from activities import sending
from activities.courier import Stop
from activities.pacer import Turn
from activities.sending import BatchStep, SendingActivities, SendMessages
from boton.domain.gateway import GatewayEvent, Inbound
from boton.domain.messages import Lane
from boton.errors import ConnectionAway, NumberRefused, StaleEpoch
from boton.ports import ModelAnswer
from boton.store.inbox import SqlInboxStore
from boton.store.tables import MessageRow
from boton.store.turns import SqlTurnStore
from tests.activities.conftest import Bench
from tests.activities.fakes import AT
from tests.activities.test_pacer import Ticks
from tests.store.builders import jid_of
from tests.waiting import until

SECONDS = 20
CUSTOMER = jid_of("5491122223333")
TYPED = {"profile": "careful", "fastGapSeconds": [3, 3]}
ANSWER = "¡Hola! " * 10  # 70 characters: 2.8 s of typing


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacers, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(batches, "_AWAY_FIRST_SECONDS", 0.001)


class Sleeps:
    """What `Stop.sleep` was asked for; `meanwhile` happens during each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[float] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        sleeps = self

        async def sleep(_stop: Stop, seconds: float) -> None:
            sleeps.asked.append(seconds)
            if sleeps.meanwhile is not None:
                await sleeps.meanwhile()

        monkeypatch.setattr(sending.Stop, "sleep", sleep)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> Sleeps:
    return Sleeps(monkeypatch)


async def event(bench: Bench, cursor: int, jid: str = CUSTOMER, *, from_me: bool = False) -> list[str]:
    """A message that the phone shows; the chats in which the bot owes an answer now."""
    body = Inbound(whatsapp_id=f"IN-{jid}-{cursor}", jid=jid, text="hola", at=AT, from_me=from_me)
    recorded = await SqlInboxStore(bench.database).record_events(
        bench.connection.id, bench.epoch, [GatewayEvent(cursor=cursor, body=body)], AT
    )
    return list(recorded.owed)


async def draft(bench: Bench, text: str = ANSWER, *, cursor: int = 1, jid: str = CUSTOMER) -> str:
    """A customer has written, and the bot's answer is ready."""
    (chat_id,) = await event(bench, cursor, jid)
    turns = SqlTurnStore(bench.database)
    brief = (await turns.advance_chat(chat_id, AT)).brief
    assert brief is not None
    step = await turns.record_answer(brief.turn_id, 0, ModelAnswer(text=text), (text,), AT)
    (message_id,) = step.message_ids
    return message_id


async def run(activities: SendingActivities, *message_ids: str) -> BatchStep:
    messages = SendMessages(message_ids)
    return await asyncio.wait_for(ActivityEnvironment().run(activities.send_messages, messages), SECONDS)


async def status(bench: Bench, message_id: str) -> tuple[str, str | None]:
    row = await bench.database.read(lambda session: session.get_one(MessageRow, message_id).model_dump())
    return row["status"], row["error_code"]


@pytest.mark.parametrize(("text", "seconds"), [("Sí", 1.0), (ANSWER, 2.8), ("x" * 4000, 6.0)])
async def test_typing_is_shown_for_a_time_that_fits_the_text(
    bench: Bench, sleeps: Sleeps, text: str, seconds: float
) -> None:
    await bench.pace(**TYPED)
    reply = await draft(bench, text)

    async def nothing_left_yet() -> None:
        assert (await status(bench, reply))[0] == "queued"

    sleeps.meanwhile = nothing_left_yet
    assert await run(bench.sending(), reply) == BatchStep(state="done", settled=1)
    assert bench.gateway.typed == [(CUSTOMER, seconds)]
    assert sleeps.asked == [seconds]
    assert len(bench.gateway.wire) == 1


async def test_no_typing_where_nothing_is_paced(bench: Bench, sleeps: Sleeps) -> None:
    await run(bench.sending(), await draft(bench))
    assert (bench.gateway.typed, sleeps.asked) == ([], [])
    assert len(bench.gateway.wire) == 1


async def test_what_no_bot_writes_is_not_typed(bench: Bench, sleeps: Sleeps) -> None:
    await bench.pace(**TYPED)
    send = await bench.accept()
    await run(bench.sending(), send.recipients[0].message_id)
    assert bench.gateway.typed == []
    assert len(bench.gateway.wire) == 1


async def test_takeover_during_the_typing_wins(bench: Bench, sleeps: Sleeps) -> None:
    await bench.pace(**TYPED)
    old = await draft(bench, cursor=1)
    await run(bench.sending(), old)  # what follows at once on a chat's first message may be WhatsApp's own greeting
    bench.clock.now = AT.replace(minute=30)
    reply = await draft(bench, cursor=2)

    async def a_human_writes() -> None:
        body = Inbound(whatsapp_id="PHONE-1", jid=CUSTOMER, text="Soy Ana", at=bench.clock(), from_me=True)
        await SqlInboxStore(bench.database).record_events(
            bench.connection.id, bench.epoch, [GatewayEvent(cursor=3, body=body)], bench.clock()
        )

    sleeps.meanwhile = a_human_writes
    assert await run(bench.sending(), reply) == BatchStep(state="done", settled=0)
    assert await status(bench, reply) == ("cancelled", "held_by_human")
    assert [attempt.message_id for attempt in bench.gateway.tried] == [old]


async def test_reply_that_did_not_leave_costs_no_gap(bench: Bench, sleeps: Sleeps) -> None:
    await bench.pace(**TYPED)
    reply = await draft(bench)
    pacer = bench.pacer(Ticks())

    async def is_sent_elsewhere() -> None:
        await bench.courier().claim(reply)

    sleeps.meanwhile = is_sent_elsewhere
    assert await run(bench.sending(pacer), reply) == BatchStep(state="done", settled=0)
    assert await pacer.take(Turn(lane=Lane.FAST, rank=0, key="another"), Stop(), 10)


async def test_stop_during_the_typing_sends_nothing_more(bench: Bench, sleeps: Sleeps) -> None:
    """The gap is not over yet, and a link that ends claims nothing."""
    await bench.pace(**TYPED)
    reply = await draft(bench)
    activities = bench.sending()

    async def stop() -> None:
        activities.close()

    sleeps.meanwhile = stop
    assert await run(activities, reply) == BatchStep(state="more", settled=0)
    assert await status(bench, reply) == ("queued", None)
    assert bench.gateway.tried == []


async def test_typing_is_shown_within_the_gap(bench: Bench, sleeps: Sleeps) -> None:
    await bench.pace(**TYPED)
    ticks = Ticks()
    activities = bench.sending(bench.pacer(ticks))
    await run(activities, await draft(bench, cursor=1))
    second = asyncio.create_task(run(activities, await draft(bench, cursor=2)))
    await ticks.seen()
    assert len(sleeps.asked) == 1
    ticks.now += 0.3  # of a gap of 3 s, of which 2.8 s are for typing
    assert await second == BatchStep(state="done", settled=1)


async def test_replies_keep_their_order_when_a_turn_does_not_come(bench: Bench, sleeps: Sleeps) -> None:
    """The number's clock and the link's differ by a moment: the second must not overtake the first."""
    await bench.pace(**TYPED)
    ticks = Ticks()
    pacer = bench.pacer(ticks)
    assert await pacer.take(Turn(lane=Lane.FAST, rank=0, key="another"), Stop(), 10)
    first, second = await draft(bench, cursor=1), await draft(bench, cursor=2)
    running = asyncio.create_task(run(bench.sending(pacer), first, second))
    await ticks.seen()
    ticks.now += 301
    pacer.release(Lane.FAST, used=False)
    assert (await running).state == "more"
    assert bench.gateway.tried == []


async def test_connection_that_is_away_gives_the_turn_back_meanwhile(bench: Bench, sleeps: Sleeps) -> None:
    await bench.pace(**TYPED)
    ticks = Ticks()
    pacer = bench.pacer(ticks)
    bench.gateway.answers.append(ConnectionAway("away"))
    reply = await draft(bench)
    running = asyncio.create_task(run(bench.sending(pacer), reply))
    await until(lambda: len(bench.gateway.tried) == 1)
    await ticks.seen()
    ticks.now += 3
    assert await running == BatchStep(state="done", settled=2)
    assert await status(bench, reply) == ("sent", None)


async def test_turn_is_given_back_when_the_number_is_lost(bench: Bench, sleeps: Sleeps) -> None:
    await bench.pace(**TYPED)
    reply = await draft(bench)
    await bench.raise_epoch()
    pacer = bench.pacer(Ticks())
    with pytest.raises(StaleEpoch):
        await run(bench.sending(pacer), reply)
    assert bench.watcher.lost == 1
    assert await pacer.take(Turn(lane=Lane.FAST, rank=0, key="another"), Stop(), 10)


async def test_reply_that_is_refused_gives_whatsapp_time_before_its_next_try(bench: Bench, sleeps: Sleeps) -> None:
    bench.gateway.answers.append(NumberRefused(429, "too fast"))
    step = await run(bench.sending(), await draft(bench))
    assert step.state == "done"
    assert sleeps.asked == [30.0]
    assert len(bench.gateway.tried) == 2
