"""What the sweeper finds, and the counts that everybody keeps."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlmodel import Session, col

from boton.domain.gateway import Attempt
from boton.domain.messages import Lane, MessageStatus
from boton.domain.sends import SendCategory
from boton.store.engine import Database
from boton.store.linking import SqlLinkingStore
from boton.store.pairing import SqlPairingStore
from boton.store.tables import ChatRow, MessageRow
from tests.store.builders import NOW, at
from tests.store.stage import (
    NUMBER,
    Stage,
    failed,
    incoming,
    minutes,
    not_sent,
    numbers,
    sent,
    set_stage,
    typed,
    unconfirmed,
)

GRACE = timedelta(seconds=30)


async def _overdue(stage: Stage, now: datetime, limit: int = 100) -> list[str]:
    """Ids of the business's overdue sends and chats."""
    found = await stage.work.list_overdue(now, GRACE, limit)
    return [one.id for one in found if one.kind != "connection"]


async def test_accepted_send_is_overdue_after_the_grace_until_it_is_finished(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(category=SendCategory.MARKETING)
    assert await _overdue(stage, at(30)) == []
    (one,) = [one for one in await stage.work.list_overdue(at(31), GRACE, 10) if one.kind == "send"]
    assert (one.id, one.business_id, one.connection_id, one.lanes, one.category) == (
        accepted.send.id,
        stage.business.id,
        stage.connection.id,
        (Lane.SLOW,),
        SendCategory.MARKETING,
    )
    attempt = await stage.claim(accepted.send.id)
    await stage.record(sent(attempt))
    assert await _overdue(stage, minutes(60)) == [accepted.send.id]
    await stage.advance(accepted.send.id)
    assert await _overdue(stage, minutes(60)) == []


async def test_scheduled_send_is_overdue_until_its_workflow_has_looked_then_after_its_time(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(send_at=minutes(60))
    assert await _overdue(stage, at(31)) == [accepted.send.id]
    await stage.advance(accepted.send.id, now=at(32))
    assert await _overdue(stage, minutes(60)) == []
    assert await _overdue(stage, minutes(61)) == [accepted.send.id]


async def test_chat_that_is_owed_an_answer_is_overdue_until_it_is_sent(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    chat = await stage.chat()
    assert await _overdue(stage, at(31)) == [chat.id]
    draft = await stage.answer(now=at(40))
    assert await _overdue(stage, at(71)) == [chat.id]
    attempt = await stage.claim_message(draft)
    assert attempt is not None
    await stage.record(sent(attempt))
    await stage.look(now=at(72))
    assert await _overdue(stage, minutes(60)) == []


async def test_connections_are_overdue_at_once_also_ended_ones_until_their_workflow_has_seen_it(
    database: Database,
) -> None:
    ended, stage = await set_stage(database), await set_stage(database)
    steps = SqlPairingStore(database)
    await SqlLinkingStore(database).log_out(ended.business.id, NOW)
    overdue = await stage.work.list_overdue(at(1), GRACE, 10)
    assert {(one.kind, one.id) for one in overdue} == {
        ("connection", stage.connection.id),
        ("connection", ended.connection.id),
    }
    for connection_id in (ended.connection.id, stage.connection.id):
        await steps.advance_connection(connection_id, NOW)
    assert await stage.work.list_overdue(at(60), GRACE, 10) == []
    (one,) = await stage.work.list_overdue(minutes(61), GRACE, 10)
    assert (one.kind, one.id, one.connection_id) == ("connection", stage.connection.id, stage.connection.id)


async def test_oldest_overdue_work_comes_first(database: Database) -> None:
    stage = await set_stage(database)
    sends = [await stage.accept(number, accepted_at=at(-place)) for place, number in enumerate(numbers(3))]
    expected = [one.send.id for one in reversed(sends)]
    assert await _overdue(stage, at(60)) == expected
    assert await _overdue(stage, at(60), limit=2) == expected[:2]


async def test_postponed_work_is_looked_at_again_later(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    found = await stage.work.list_overdue(at(60), GRACE, 10)
    await stage.work.postpone(found, at(60), at(180))
    assert await _overdue(stage, at(180)) == []
    assert await _overdue(stage, at(211)) == [accepted.send.id]


async def test_postponing_leaves_alone_what_finished_or_became_due_meanwhile(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    accepted = await stage.accept()
    await stage.receive(incoming(number=numbers(1)[0]))
    found = await stage.work.list_overdue(at(60), GRACE, 10)
    await stage.record(sent(await stage.claim(accepted.send.id)))
    await stage.advance(accepted.send.id)
    await stage.receive(incoming(number=numbers(1)[0], when=at(61)), now=at(61))
    await stage.work.postpone(found, at(60), minutes(60))
    assert await _overdue(stage, at(92)) == [(await stage.chat(numbers(1)[0])).id]
    assert await _overdue(stage, minutes(90)) == [(await stage.chat(numbers(1)[0])).id]


async def test_new_temporal_makes_everything_unfinished_overdue(database: Database) -> None:
    stage = await set_stage(database)
    waiting = await stage.accept(send_at=minutes(600))
    finished = await stage.accept()
    await stage.record(sent(await stage.claim(finished.send.id)))
    await stage.advance(finished.send.id)
    assert not await stage.work.note_namespace("first", NOW)
    assert not await stage.work.note_namespace("first", NOW)
    assert await _overdue(stage, NOW) == []
    assert await stage.work.note_namespace("second", NOW)
    assert await _overdue(stage, NOW) == [waiting.send.id]
    assert not await stage.work.note_namespace("second", NOW)


async def test_lease_is_one_holders_until_it_runs_out(database: Database) -> None:
    work = (await set_stage(database)).work
    assert await work.take_lease("sweeper", "a", at(0), at(20))
    assert not await work.take_lease("sweeper", "b", at(19), at(39))
    assert await work.take_lease("other", "b", at(0), at(20))
    assert await work.take_lease("sweeper", "a", at(10), at(30))
    assert not await work.take_lease("sweeper", "b", at(29), at(49))
    assert await work.take_lease("sweeper", "b", at(30), at(50))
    assert not await work.take_lease("sweeper", "a", at(31), at(51))


async def test_lease_that_nobody_had_goes_to_one_of_many(database: Database) -> None:
    work = (await set_stage(database)).work
    taken = await asyncio.gather(*(work.take_lease("sweeper", f"w{n}", NOW, at(20)) for n in range(8)))
    assert sorted(taken) == [False] * 7 + [True]


# -------------------------------------------------------------------- counts


class _Life:
    """Random things that happen to a business, each as the product does it."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._random = random.Random(seed)
        self._sends: list[str] = []
        self._attempts: list[Attempt] = []
        self._now = NOW

    async def go_on(self, steps: int) -> None:
        happenings = [
            self._receive,
            self._type,
            self._patch,
            self._post,
            self._claim,
            self._claim,
            self._end,
            self._end,
        ]
        for _ in range(steps):
            self._now += timedelta(seconds=self._random.randint(1, 600))
            await self._random.choice(happenings)()

    def _number(self) -> str:
        return self._random.choice([NUMBER, "541112345678", *numbers(6)])

    async def _receive(self) -> None:
        await self._stage.receive(incoming(number=self._number(), when=self._now), now=self._now)

    async def _type(self) -> None:
        await self._stage.receive(typed(number=self._number(), when=self._now), now=self._now)

    async def _patch(self) -> None:
        flag = self._random.choice(["bot_enabled", "untouchable", "opted_out"])
        await self._stage.change(self._number(), **{flag: self._random.random() < 0.5}, now=self._now)

    async def _post(self) -> None:
        some = {self._number() for _ in range(3)}
        if self._random.random() < 0.5:
            accepted = await self._stage.accept(*some, accepted_at=self._now)
        else:
            accepted = await self._stage.open_conversation(some.pop(), accepted_at=self._now, now=self._now)
        self._sends.append(accepted.send.id)

    async def _claim(self) -> None:
        if self._sends:
            step = await self._stage.advance(self._random.choice(self._sends), now=self._now)
            if isinstance(step, Attempt):
                self._attempts.append(step)

    async def _end(self) -> None:
        if self._attempts:
            attempt = self._random.choice(self._attempts)
            result = self._random.choice([sent, not_sent, failed, unconfirmed])(attempt)
            await self._stage.record(result, now=self._now)


def _count_chats(session: Session) -> tuple[int, int, int]:
    active = col(ChatRow.bot_enabled) & ~col(ChatRow.untouchable)
    one = session.execute(
        select(
            func.count(),
            func.count().filter(active),
            func.count().filter(col(ChatRow.untouchable)),
        ).select_from(ChatRow)
    ).one()
    return one[0], one[1], one[2]


def _shown(row: MessageRow) -> bool:
    return row.status == MessageStatus.RECEIVED or row.attempt_id is not None


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_counts_equal_a_recount_whatever_happens(database: Database, seed: int) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await _Life(stage, seed).go_on(120)
    assert await stage.tally() == await database.read(_count_chats)
    messages = await stage.messages()
    for chat in await stage.all(ChatRow):
        shown = sorted((row for row in messages if row.chat_id == chat.id and _shown(row)), key=lambda row: row.at)
        assert chat.message_count == len(shown)
        if shown:
            assert (chat.last_text, chat.last_at) == (shown[-1].text, shown[-1].at)
    seqs = [event.seq for event in await stage.told()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert all(row.status != "sending" or row.attempt_id for row in messages)


async def test_queue_age_counts_from_when_the_oldest_unfinished_send_was_due(database: Database) -> None:
    stage = await set_stage(database)
    assert await stage.work.fetch_queue_age(NOW) == 0
    await stage.accept()
    assert await stage.work.fetch_queue_age(at(90)) == 90
