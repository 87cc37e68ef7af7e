"""Every race of the architecture's last section, forced on PostgreSQL: one transaction has done its work and is held
before its commit, the other is seen to wait for it, then the first one is let go.

SQLite has one writer at a time and cannot show these.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import event
from sqlmodel import Session

from boton.domain.connections import ConnectionStatus, Gateway
from boton.domain.events import EventType, NewEvent
from boton.domain.gateway import Attempt, GatewayEvent, Inbound
from boton.domain.linking import LinkRequest
from boton.domain.messages import Lane, MessageStatus
from boton.domain.reminders import NewReminder, Plan, Planned, Timing
from boton.domain.sends import AcceptedSend, NewRecipient, Send, SendCategory, SendKind, SendStatus
from boton.errors import Conflict, StaleEpoch
from boton.ports import Idle, Page
from boton.store.engine import Database, Work, open_database
from boton.store.events import append_events
from boton.store.holds import SqlHoldStore
from boton.store.linking import SqlLinkingStore
from boton.store.pairing import SqlPairingStore
from boton.store.reminders import SqlReminderStore
from boton.store.tables import ChatRow, SendRow, TurnRow
from tests.store.builders import NOW, at, jid_of
from tests.store.stage import NUMBER, OTHER, Stage, incoming, not_sent, numbers, receipt, sent, set_stage, typed

T = TypeVar("T")
S = TypeVar("S")
_PATIENCE = 30.0


class Held(Database):
    """A store whose transactions do their work and then wait, uncommitted, until they are let go."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.worked = threading.Event()
        self.let_go = threading.Event()

    async def write(self, work: Work[T]) -> T:
        def hold(session: Session) -> T:
            result = work(session)
            session.flush()
            self.worked.set()
            assert self.let_go.wait(_PATIENCE)
            return result

        return await self._database.write(hold)

    async def read(self, work: Work[T]) -> T:
        return await self._database.read(work)


class Two:
    """The same business seen through two stores with connections of their own; those of `slow` are held."""

    def __init__(self, url: str, quick: Stage, held: Held) -> None:
        self.url = url
        self._held = held
        self.quick = quick
        self.slow = Stage(held, quick.business, quick.connection, quick.epoch)

    async def race(self, first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, S]) -> tuple[T, S]:
        """`first` (of `slow`) is held before its commit, `second` must wait for it; what they answered in the end."""
        answer, other = await self.line_up(first, second)
        return answer, other

    async def line_up(self, first: Coroutine[Any, Any, Any], *others: Coroutine[Any, Any, Any]) -> list[Any]:
        """The same with several, each of which must wait behind those before it."""
        held = asyncio.create_task(first)
        assert await asyncio.to_thread(self._held.worked.wait, _PATIENCE)
        waiting: list[asyncio.Task[Any]] = []
        for other in others:
            waiting.append(asyncio.create_task(other))
            await self.until_one_waits(waiting[-1], before=len(waiting) - 1)
        self._held.let_go.set()
        return [await one for one in (held, *waiting)]

    async def beside(self, first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, S]) -> tuple[T, S]:
        """`second` runs to its end while `first` (of `slow`) is held before its commit."""
        held = asyncio.create_task(first)
        assert await asyncio.to_thread(self._held.worked.wait, _PATIENCE)
        answer = await asyncio.wait_for(second, _PATIENCE)
        self._held.let_go.set()
        return await held, answer

    async def until_one_waits(self, waiting: asyncio.Task[Any], *, before: int = 0) -> None:
        """before: how many wait already."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            async with asyncio.timeout(_PATIENCE):
                while await _count_waiting(connection) <= before:
                    assert not waiting.done(), "it did not wait for the uncommitted transaction"
                    await asyncio.sleep(0.01)


async def _count_waiting(connection: psycopg.AsyncConnection[Any]) -> int:
    cursor = await connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


@pytest_asyncio.fixture
async def two(postgres_url: str) -> AsyncIterator[Two]:
    quick, slow = open_database(postgres_url), open_database(postgres_url)
    held = Held(slow)
    yield Two(postgres_url, await set_stage(quick, bot_new_chats=True), held)
    held.let_go.set()
    await slow.close()
    await quick.close()


async def _pause(stage: Stage, send_id: str) -> None:
    await stage.sends.pause_send(stage.business.id, send_id)


async def _is_refused(awaitable: Awaitable[Any]) -> bool:
    try:
        await awaitable
    except StaleEpoch:
        return True
    return False


# -------------------------------------------------------------------- claim against pause


async def test_pause_waits_for_a_claim_and_holds_for_the_next(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER, OTHER)
    step, _ = await two.race(two.slow.advance(accepted.send.id), _pause(two.quick, accepted.send.id))
    assert isinstance(step, Attempt)
    assert await two.quick.advance(accepted.send.id, record=sent(step)) == Idle(why="paused")
    assert [await two.quick.status(accepted, place) for place in (0, 1)] == [MessageStatus.SENT, MessageStatus.QUEUED]


async def test_claim_waits_for_a_pause_and_heeds_it(two: Two) -> None:
    accepted = await two.quick.accept()
    _, step = await two.race(_pause(two.slow, accepted.send.id), two.quick.advance(accepted.send.id))
    assert step == Idle(why="paused")
    assert await two.quick.status(accepted) is MessageStatus.QUEUED


# -------------------------------------------------------------------- claim against a customer who writes first


async def test_new_contact_waits_for_a_claim_and_the_send_is_looked_at_again(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER, OTHER)
    step, _ = await two.race(
        two.slow.advance(accepted.send.id), two.quick.receive(incoming(number=OTHER, when=at(9)), now=at(9))
    )
    assert isinstance(step, Attempt)
    (send,) = await two.quick.all(SendRow)
    assert send.next_step_at == at(9)


async def test_claim_waits_for_a_new_contact_and_knows_them(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER)
    _, step = await two.race(two.slow.receive(incoming(when=at(9)), now=at(9)), two.quick.advance(accepted.send.id))
    assert isinstance(step, Attempt)
    assert (await two.quick.message(step.message_id)).status == "sending"


# -------------------------------------------------------------------- claim against cancel


async def _cancel(stage: Stage, send_id: str) -> Send:
    return await stage.sends.cancel_send(stage.business.id, send_id, NOW)


async def test_cancel_waits_for_a_claim_and_cancels_the_rest(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER, OTHER)
    step, cancelled = await two.race(two.slow.advance(accepted.send.id), _cancel(two.quick, accepted.send.id))
    assert isinstance(step, Attempt)
    assert cancelled.counts == {MessageStatus.SENDING: 1, MessageStatus.CANCELLED: 1}
    assert cancelled.finished_at is None
    assert await two.quick.advance(accepted.send.id, record=sent(step)) == Idle(why="done")
    over = await two.quick.sends.fetch_send(two.quick.business.id, accepted.send.id)
    assert (over.status, over.finished_at) == (SendStatus.CANCELLED, NOW)
    assert over.counts == {MessageStatus.SENT: 1, MessageStatus.CANCELLED: 1}


async def test_claim_waits_for_a_cancel_and_heeds_it(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER, OTHER)
    _, step = await two.race(_cancel(two.slow, accepted.send.id), two.quick.advance(accepted.send.id))
    assert step == Idle(why="done")
    assert [await two.quick.status(accepted, place) for place in (0, 1)] == [MessageStatus.CANCELLED] * 2


async def test_cancel_and_the_end_of_a_send_tell_it_once(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER)
    attempt = await two.quick.claim(accepted.send.id)
    _, refused = await two.race(
        two.slow.advance(accepted.send.id, record=sent(attempt)),
        _is_conflict(_cancel(two.quick, accepted.send.id)),
    )
    assert refused
    (event,) = await two.quick.told(EventType.SEND_FINISHED)
    assert event.data["status"] == "finished"


async def _is_conflict(awaitable: Awaitable[Any]) -> bool:
    try:
        await awaitable
    except Conflict:
        return True
    return False


# -------------------------------------------------------------------- claim against expiry by the sweeper


async def test_expiry_waits_for_a_claim_and_takes_the_rest(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER, OTHER, expires_at=at(60))
    overdue = [one for one in await two.quick.work.list_overdue(at(99), timedelta(0), 9) if one.kind == "send"]
    step, left = await two.race(two.slow.advance(accepted.send.id), two.quick.work.expire_late(overdue, at(99)))
    assert isinstance(step, Attempt)
    assert list(left) == overdue
    assert [await two.quick.status(accepted, place) for place in (0, 1)] == [
        MessageStatus.SENDING,
        MessageStatus.EXPIRED,
    ]


async def test_claim_waits_for_an_expiry_and_finds_nothing(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER, expires_at=at(60))
    overdue = await two.quick.work.list_overdue(at(99), timedelta(0), 9)
    left, step = await two.race(two.slow.work.expire_late(overdue, at(99)), two.quick.advance(accepted.send.id))
    assert [one for one in left if one.kind == "send"] == []
    assert step == Idle(why="done")
    assert len(await two.quick.told(EventType.SEND_FINISHED)) == 1


# -------------------------------------------------------------------- claim against takeover and flags


async def _draft(stage: Stage) -> str:
    await stage.receive(incoming())
    return await stage.answer()


async def test_reply_waits_for_a_takeover_and_is_cancelled(two: Two) -> None:
    draft = await _draft(two.quick)
    _, attempt = await two.race(
        two.slow.receive(typed(when=at(9)), now=at(9)), two.quick.claim_message(draft, now=at(9))
    )
    assert attempt is None
    row = await two.quick.message(draft)
    assert (row.status, row.error_code) == ("cancelled", "held_by_human")


async def test_takeover_waits_for_the_claim_of_a_reply(two: Two) -> None:
    draft = await _draft(two.quick)
    attempt, _ = await two.race(
        two.slow.claim_message(draft, now=at(9)), two.quick.receive(typed(when=at(9)), now=at(9))
    )
    assert attempt is not None
    assert (await two.quick.message(draft)).status == "sending"
    chat = await two.quick.chat()
    assert (chat.message_count, chat.last_text, chat.taken_over_at) == (3, "te llamo", at(9))


async def test_opening_waits_for_a_takeover_and_loses(two: Two) -> None:
    accepted = await two.quick.open_conversation()
    _, step = await two.race(
        two.slow.receive(typed(when=at(9)), now=at(9)), two.quick.advance(accepted.send.id, now=at(10))
    )
    assert step == Idle(why="done")
    assert await two.quick.status(accepted) is MessageStatus.CANCELLED
    assert (await two.quick.chat()).takeover_until is not None


@pytest.mark.parametrize("change", [{"untouchable": True}, {"bot_enabled": False}])
async def test_reply_waits_for_a_patch_and_heeds_it(two: Two, change: dict[str, bool]) -> None:
    draft = await _draft(two.quick)
    _, attempt = await two.race(two.slow.change(**change), two.quick.claim_message(draft))
    assert attempt is None
    assert (await two.quick.message(draft)).status == "cancelled"
    assert await two.quick.tally() == (1, 0, int("untouchable" in change))


# -------------------------------------------------------------------- claim and recovery against a new epoch


async def test_claim_waits_for_a_new_epoch_and_is_refused(two: Two) -> None:
    accepted = await two.quick.accept()
    message_id = accepted.recipients[0].message_id
    epoch, refused = await two.race(
        two.slow.connections.raise_epoch(two.slow.connection.id, NOW), _is_refused(two.quick.claim_message(message_id))
    )
    assert epoch == two.quick.epoch + 1
    assert refused
    assert await two.quick.status(accepted) is MessageStatus.QUEUED


async def test_batch_waits_for_a_new_epoch_and_stops(two: Two) -> None:
    accepted = await two.quick.accept()
    _, step = await two.race(
        two.slow.connections.raise_epoch(two.slow.connection.id, NOW), two.quick.advance(accepted.send.id)
    )
    assert step == Idle(why="not_owner")


async def test_recovery_waits_for_an_uncommitted_claim_and_finds_it(two: Two) -> None:
    accepted = await two.quick.accept()

    async def recover() -> list[Attempt]:
        epoch = await two.quick.connections.raise_epoch(two.quick.connection.id, NOW)
        two.quick.epoch = epoch
        return list(await two.quick.outbox.list_left_in_flight(two.quick.connection.id, epoch))

    claimed, found = await two.race(two.slow.advance(accepted.send.id), recover())
    assert found == [claimed]
    assert isinstance(claimed, Attempt)
    await two.quick.record(not_sent(claimed))
    await two.quick.record(sent(claimed))
    assert await two.quick.status(accepted) is MessageStatus.QUEUED
    assert (await two.quick.claim(accepted.send.id)).id != claimed.id


async def test_journal_of_a_lost_number_waits_for_the_new_epoch_and_is_refused(two: Two) -> None:
    epoch, refused = await two.race(
        two.slow.connections.raise_epoch(two.slow.connection.id, NOW), _is_refused(two.quick.receive(incoming()))
    )
    assert epoch == two.quick.epoch + 1
    assert refused
    assert await two.quick.messages() == []


# -------------------------------------------------------------------- claim against claim, record and finish


async def test_message_is_claimed_by_one_of_two(two: Two) -> None:
    message_id = await _draft(two.quick)
    first, second = await two.race(two.slow.claim_message(message_id), two.quick.claim_message(message_id))
    assert first is not None
    assert second is None
    assert (await two.quick.message(message_id)).attempt_id == first.id
    assert (await two.quick.chat()).message_count == 2


async def test_two_batches_of_one_send_claim_different_messages(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER, OTHER)
    first, second = await two.race(two.slow.advance(accepted.send.id), two.quick.advance(accepted.send.id))
    assert isinstance(first, Attempt)
    assert isinstance(second, Attempt)
    assert [first.message_id, second.message_id] == [one.message_id for one in accepted.recipients]


async def test_send_is_not_finished_beside_an_uncommitted_claim(two: Two) -> None:
    accepted = await two.quick.accept()
    claimed, step = await two.race(two.slow.advance(accepted.send.id), two.quick.advance(accepted.send.id))
    assert isinstance(step, Idle)
    assert step.why == "wait"
    assert isinstance(claimed, Attempt)
    assert await two.quick.advance(accepted.send.id, record=sent(claimed)) == Idle(why="done")


async def test_send_is_not_finished_beside_a_message_that_becomes_due_again(two: Two) -> None:
    accepted = await two.quick.accept()
    attempt = await two.quick.claim(accepted.send.id)
    _, step = await two.race(two.slow.record(not_sent(attempt)), two.quick.advance(accepted.send.id))
    assert isinstance(step, Attempt)
    assert step.message_id == attempt.message_id


async def test_send_is_finished_once(two: Two) -> None:
    accepted = await two.quick.accept()
    await two.quick.record(sent(await two.quick.claim(accepted.send.id)))
    assert await two.race(two.slow.advance(accepted.send.id), two.quick.advance(accepted.send.id)) == (
        Idle(why="done"),
        Idle(why="done"),
    )
    assert len(await two.quick.told(EventType.SEND_FINISHED)) == 1


async def test_result_is_recorded_once(two: Two) -> None:
    accepted = await two.quick.accept()
    attempt = await two.quick.claim(accepted.send.id)
    await two.race(two.slow.record(not_sent(attempt)), two.quick.record(sent(attempt)))
    assert await two.quick.status(accepted) is MessageStatus.QUEUED
    assert (await two.quick.chat()).message_count == 0


# -------------------------------------------------------------------- what comes in


async def test_what_comes_in_does_not_wait_for_claims(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER)
    step, _ = await two.beside(two.slow.advance(accepted.send.id), two.quick.receive(incoming(number=OTHER)))
    assert isinstance(step, Attempt)
    assert (await two.quick.chat(OTHER)).message_count == 1


async def test_new_epoch_waits_for_an_uncommitted_claim(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER)
    step, epoch = await two.race(
        two.slow.advance(accepted.send.id), two.quick.connections.raise_epoch(two.quick.connection.id, NOW)
    )
    assert isinstance(step, Attempt)
    assert epoch == two.quick.epoch + 1


async def test_two_readers_of_one_journal_store_a_message_once(two: Two) -> None:
    events = [GatewayEvent(cursor=1, body=incoming())]

    def store(stage: Stage) -> Coroutine[Any, Any, Any]:
        return stage.inbox.record_events(stage.connection.id, stage.epoch, events, NOW)

    first, second = await two.race(store(two.slow), store(two.quick))
    assert (len(first.owed), second.owed) == (1, ())
    assert (await two.quick.chat()).message_count == 1
    assert len(await two.quick.messages()) == len(await two.quick.told(EventType.MESSAGE_RECEIVED)) == 1


async def test_message_waits_for_a_turn_that_closes_and_is_answered_with_it_anew(two: Two) -> None:
    await two.quick.receive(incoming("uno"))
    brief = await two.quick.open_turn()
    await two.race(two.slow.say(brief, "sí", now=at(5)), two.quick.receive(incoming("dos")))
    following = await two.quick.open_turn(now=at(6))
    assert following.turn_id != brief.turn_id
    assert [line.text for line in following.history] == ["uno", "dos"]
    assert (await two.quick.chat()).next_step_at is not None


async def test_turn_that_waits_for_a_message_does_not_speak_past_it(two: Two) -> None:
    await two.quick.receive(incoming("uno"))
    brief = await two.quick.open_turn()
    _, step = await two.race(two.slow.receive(incoming("dos")), two.quick.say(brief, "sí", now=at(5)))
    assert (step.state, step.brief) == ("think", None)
    assert [row for row in await two.quick.messages() if row.kind == "reply"] == []


async def test_message_waits_for_the_claim_of_the_reply_and_is_the_next_ones(two: Two) -> None:
    await two.quick.receive(incoming("uno"))
    draft = await two.quick.answer(now=at(1))
    await two.race(two.slow.claim_message(draft, now=at(5)), two.quick.receive(incoming("dos")))
    following = await two.quick.open_turn(now=at(6))
    assert [line.text for line in following.history] == ["uno", "¡Hola! Soy el bot.", "dos"]


async def test_chat_is_not_laid_to_rest_beside_a_message_that_comes(two: Two) -> None:
    await two.quick.deliver()
    await two.quick.change(bot_enabled=True)
    _, brief = await two.race(two.slow.receive(incoming()), two.quick.open_turn(now=at(5)))
    assert brief is not None
    assert (await two.quick.chat()).next_step_at is not None


async def test_turn_is_opened_and_closed_once_by_two_workers(two: Two) -> None:
    await two.quick.receive(incoming())
    first, second = await two.race(two.slow.open_turn(), two.quick.open_turn())
    assert first.turn_id == second.turn_id
    drafts = await asyncio.gather(*(two.quick.close_turn(first, text) for text in ("a", "b")))
    assert drafts[0] == drafts[1]
    assert [turn.status for turn in await two.quick.all(TurnRow)] == ["closed"]
    assert len([row for row in await two.quick.messages() if row.kind == "reply"]) == 1


# -------------------------------------------------------------------- events


async def _tell(stage: Stage, name: str) -> None:
    told = NewEvent(business_id=stage.business.id, type=EventType.CHAT_OPTED_OUT, at=NOW, data={"jid": name})
    await stage.database.write(lambda session: append_events(session, [told]))


async def _read_on(stage: Stage, after: int) -> list[int]:
    return [one.seq for one in (await stage.events.list_events(stage.business.id, after, 1000)).events]


async def test_event_waits_for_the_one_before_it(two: Two) -> None:
    await two.race(_tell(two.slow, "first"), _tell(two.quick, "second"))
    told = await two.quick.told()
    assert [(one.seq, one.data["jid"]) for one in told] == [(1, "first"), (2, "second")]


async def test_reader_does_not_see_an_uncommitted_event_nor_skip_it(two: Two) -> None:
    _, seen = await two.beside(_tell(two.slow, "first"), _read_on(two.quick, 0))
    assert seen == []
    assert await _read_on(two.quick, 0) == [1]


async def test_reader_that_polls_skips_nothing_of_many_writers(two: Two) -> None:
    writers = asyncio.gather(*(_tell(two.quick, str(number)) for number in range(120)))
    seen: list[int] = []
    async with asyncio.timeout(_PATIENCE):
        while len(seen) < 120:
            seen += await _read_on(two.quick, seen[-1] if seen else 0)
    await writers
    assert seen == list(range(1, 121))


async def test_first_event_told_while_a_reader_looks_is_not_taken_for_gone(two: Two) -> None:
    """READ COMMITTED: each statement of the reader sees what was committed before it."""
    loop = asyncio.get_running_loop()
    statements: list[str] = []

    def between(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)
        if len(statements) == 1:
            asyncio.run_coroutine_threadsafe(_tell(two.quick, "first"), loop).result(_PATIENCE)

    class Interrupted(Database):
        def __init__(self) -> None: ...

        async def read(self, work: Work[T]) -> T:
            def interrupted(session: Session) -> T:
                event.listen(session.connection(), "after_cursor_execute", between)
                return work(session)

            return await two.quick.database.read(interrupted)

    stage = Stage(Interrupted(), two.quick.business, two.quick.connection, two.quick.epoch)
    page = await stage.events.list_events(stage.business.id, 0, 10)
    assert len(statements) > 1
    assert page.last_seq in {0, 1}


# -------------------------------------------------------------------- two lanes of one send


async def _two_lanes(stage: Stage) -> AcceptedSend:
    """NUMBER is a known contact, OTHER is not."""
    await stage.change(NUMBER, known=True)
    return await stage.accept(NUMBER, OTHER)


async def test_last_records_of_both_lanes_finish_the_send_once(two: Two) -> None:
    accepted = await _two_lanes(two.quick)
    send_id = accepted.send.id
    fast = await two.quick.claim_some(send_id, 5)
    slow = await two.quick.claim_some(send_id, 5)
    steps = await two.race(
        two.slow.step(send_id, sent(fast[0]), lane=Lane.FAST), two.quick.step(send_id, sent(slow[0]), lane=Lane.SLOW)
    )
    assert steps == (Idle(why="lane_done"), Idle(why="done"))
    assert len(await two.quick.told(EventType.SEND_FINISHED)) == 1


async def test_lane_is_not_the_last_beside_an_uncommitted_claim_of_the_other(two: Two) -> None:
    accepted = await _two_lanes(two.quick)
    (fast,) = await two.quick.claim_some(accepted.send.id, 1)
    claimed, step = await two.race(
        two.slow.step(accepted.send.id, lane=Lane.SLOW), two.quick.step(accepted.send.id, sent(fast), lane=Lane.FAST)
    )
    assert not isinstance(claimed, Idle)
    assert step == Idle(why="lane_done")
    assert await two.quick.step(accepted.send.id, sent(claimed[0]), lane=Lane.SLOW) == Idle(why="done")


async def test_lane_that_waits_does_not_hide_that_the_other_one_goes_on(two: Two) -> None:
    accepted = await _two_lanes(two.quick)
    await two.quick.outbox.close_slow_lane(two.quick.connection.id, two.quick.epoch, "463", None, NOW)
    _, step = await two.race(
        two.slow.step(accepted.send.id, lane=Lane.SLOW), two.quick.step(accepted.send.id, lane=Lane.FAST, now=at(1))
    )
    assert not isinstance(step, Idle)
    (send,) = await two.quick.all(SendRow)
    assert send.waiting == "slow_lane_closed"
    assert send.next_step_at is not None
    assert send.next_step_at <= at(600)


async def test_several_claims_at_once_wait_for_a_pause_and_are_none(two: Two) -> None:
    accepted = await two.quick.accept(*numbers(8))
    some = await two.quick.claim_some(accepted.send.id, 4)
    _, step = await two.race(
        _pause(two.slow, accepted.send.id), two.quick.step(accepted.send.id, *map(sent, some), room=4)
    )
    assert step == Idle(why="paused")
    send = await two.quick.sends.fetch_send(two.quick.business.id, accepted.send.id)
    assert send.counts == {MessageStatus.SENT: 4, MessageStatus.QUEUED: 4}


async def test_several_results_are_on_disk_though_a_new_epoch_forbids_further_claims(two: Two) -> None:
    accepted = await two.quick.accept(*numbers(4))
    some = await two.quick.claim_some(accepted.send.id, 2)
    _, step = await two.race(
        two.slow.connections.raise_epoch(two.slow.connection.id, NOW),
        two.quick.step(accepted.send.id, *map(sent, some), room=4),
    )
    assert step == Idle(why="not_owner")
    send = await two.quick.sends.fetch_send(two.quick.business.id, accepted.send.id)
    assert send.counts == {MessageStatus.SENT: 2, MessageStatus.QUEUED: 2}


async def test_several_claims_at_once_leave_out_the_chat_that_a_human_takes_over(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER, OTHER, kind=SendKind.INSTRUCTION)
    for brief in await two.quick.turns.open_openings([one.message_id for one in accepted.recipients], NOW):
        await two.quick.close_turn(brief)
    _, step = await two.race(
        two.slow.change(NUMBER, untouchable=True), two.quick.step(accepted.send.id, room=5, now=at(9))
    )
    assert not isinstance(step, Idle)
    assert [one.message_id for one in step] == [accepted.recipients[1].message_id]
    assert await two.quick.status(accepted, 0) is MessageStatus.FAILED


async def test_refusal_waits_for_a_new_epoch_and_closes_nothing(two: Two) -> None:
    stage = two.quick
    _, refused = await two.race(
        two.slow.connections.raise_epoch(stage.connection.id, NOW),
        _is_refused(stage.outbox.close_slow_lane(stage.connection.id, stage.epoch, "463", None, NOW)),
    )
    assert refused
    assert (await stage.connections.fetch_connection(stage.connection.id)).closure is None


# -------------------------------------------------------------------- the order of locks


async def _takes_in_order(two: Two, first: str, second: str, work: Coroutine[Any, Any, Any]) -> None:
    """Somebody has locked the chat `first` and wants `second` next, while `work` needs both."""
    async with await psycopg.AsyncConnection.connect(two.url) as connection:
        lock = "SELECT 1 FROM chat WHERE id = %s FOR NO KEY UPDATE"
        await connection.execute(lock, [first])
        waiting = asyncio.create_task(work)
        await two.until_one_waits(waiting)
        await connection.execute(lock + " NOWAIT", [second])
        await connection.rollback()
        await waiting


async def _two_chats(stage: Stage) -> tuple[tuple[str, str], tuple[str, str]]:
    """The ids of two chats in their order, each with its number."""
    for number in (NUMBER, OTHER):
        await stage.change(number, name="x")
    low, high = sorted([((await stage.chat(number)).id, number) for number in (NUMBER, OTHER)])
    return low, high


async def test_results_and_claims_of_one_transaction_lock_chats_in_one_order(two: Two) -> None:
    (low, low_number), (high, high_number) = await _two_chats(two.quick)
    accepted = await two.quick.accept(high_number, low_number)
    attempt = await two.quick.claim(accepted.send.id)
    await _takes_in_order(two, low, high, two.quick.step(accepted.send.id, sent(attempt), room=1))
    assert [await two.quick.status(accepted, place) for place in (0, 1)] == [MessageStatus.SENT, MessageStatus.SENDING]


async def test_messages_that_come_in_together_lock_chats_in_one_order(two: Two) -> None:
    (low, low_number), (high, high_number) = await _two_chats(two.quick)
    bodies = [incoming(number=high_number), receipt("read", "x", number=high_number), incoming(number=low_number)]
    await _takes_in_order(two, low, high, two.quick.receive(*bodies))
    assert len(await two.quick.messages()) == 2


async def test_openings_that_are_written_together_lock_chats_in_one_order(two: Two) -> None:
    (low, low_number), (high, high_number) = await _two_chats(two.quick)
    accepted = await two.quick.accept(high_number, low_number, kind=SendKind.INSTRUCTION)
    ids = [one.message_id for one in accepted.recipients]
    await _takes_in_order(two, low, high, two.quick.turns.open_openings(ids, NOW))


async def test_contacts_whom_a_send_introduces_are_locked_in_one_order(two: Two) -> None:
    (low, low_number), (high, high_number) = await _two_chats(two.quick)
    recipients = [NewRecipient(to=one, jid=jid_of(one), text="x", known=True) for one in (high_number, low_number)]
    await _takes_in_order(two, low, high, two.quick.accept(recipients=tuple(recipients)))
    assert (await two.quick.chat(low_number)).known


@pytest.mark.parametrize("decide", [SqlHoldStore.resume, SqlHoldStore.cancel], ids=["resumed", "cancelled"])
async def test_held_answers_are_decided_on_in_one_order_of_their_chats(two: Two, decide: Any) -> None:
    (low, low_number), (high, high_number) = await _two_chats(two.quick)
    await two.quick.receive(incoming(number=high_number))
    await two.quick.receive(incoming(number=low_number))
    await _log_out(two.quick)
    phone, linking = two.quick.connection.phone, SqlLinkingStore(two.quick.database)
    again = LinkRequest(gateway=Gateway.SIMULATOR, phone=phone)
    await linking.link(two.quick.business.id, again, NOW, lambda *_: {})
    holds = SqlHoldStore(two.quick.database)
    await _takes_in_order(two, low, high, decide(holds, await holds.list_held(), NOW))
    assert await holds.list_held() == []


# -------------------------------------------------------------------- giving a number up


async def _log_out(stage: Stage) -> None:
    await SqlLinkingStore(stage.database).log_out(stage.business.id, NOW)


async def test_number_is_given_up_after_a_claim_and_nothing_is_claimed_then(two: Two) -> None:
    accepted = await two.quick.accept(NUMBER, OTHER)
    step, _ = await two.race(two.slow.advance(accepted.send.id), _log_out(two.quick))
    assert isinstance(step, Attempt)
    assert await two.quick.advance(accepted.send.id, record=sent(step)) == Idle(why="not_owner")
    assert [await two.quick.status(accepted, place) for place in (0, 1)] == [MessageStatus.SENT, MessageStatus.QUEUED]
    send = await two.quick.sends.fetch_send(two.quick.business.id, accepted.send.id)
    assert (send.status, send.hold) == (SendStatus.PAUSED, "switched")


async def test_claim_waits_for_a_number_that_is_being_given_up_and_is_refused(two: Two) -> None:
    accepted = await two.quick.accept()
    _, step = await two.race(_log_out(two.slow), two.quick.advance(accepted.send.id))
    assert step == Idle(why="not_owner")
    assert await two.quick.status(accepted) is MessageStatus.QUEUED


async def test_turn_that_closes_while_the_number_is_given_up_says_nothing_over_another(two: Two) -> None:
    await two.quick.receive(incoming())
    brief = await two.quick.open_turn()
    await two.race(_log_out(two.slow), two.quick.say(brief, "¡Hola!"))
    assert [row for row in await two.quick.messages() if row.direction == "outgoing"] == []


async def test_draft_of_a_turn_that_closed_just_before_is_taken_back(two: Two) -> None:
    await two.quick.receive(incoming())
    brief = await two.quick.open_turn()
    await two.race(two.slow.say(brief, "¡Hola!"), _log_out(two.quick))
    drafts = [row.status for row in await two.quick.messages() if row.direction == "outgoing"]
    assert drafts == [MessageStatus.CANCELLED.value]


async def test_number_is_given_up_although_a_reminder_fires(two: Two) -> None:
    """A firing that has its reminder has its number: whoever gives that up waits for it, and holds nothing."""
    reminder_id = await _remind(two.quick)
    async with await psycopg.AsyncConnection.connect(two.url) as other:
        await other.execute("SELECT 1 FROM reminder WHERE id = %s FOR NO KEY UPDATE", [reminder_id])
        firing = asyncio.create_task(SqlReminderStore(two.quick.database).advance_reminder(reminder_id, at(61)))
        await two.until_one_waits(firing)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await other.execute("SELECT 1 FROM connection WHERE id = %s FOR UPDATE NOWAIT", [two.quick.connection.id])
        await other.rollback()
        assert (await firing).send is not None


async def _start_link(stage: Stage) -> None:
    await stage.connections.raise_epoch(stage.connection.id, NOW)


@pytest.mark.parametrize(("end", "told"), [(_log_out, []), (_start_link, ["reminder.fired"])], ids=["gone", "new"])
async def test_firings_that_follow_do_not_overtake_who_ends_the_ownership(two: Two, end: Any, told: list[str]) -> None:
    """Who always finds another firing in its way waits for as long as reminders fire."""
    first, later = [await _remind(two.quick, number) for number in (NUMBER, OTHER)]
    ours = (two.quick.connection.id, two.quick.epoch)
    await two.quick.connections.record_status(*ours, ConnectionStatus.CONNECTED, None, NOW)
    slow, quick = SqlReminderStore(two.slow.database), SqlReminderStore(two.quick.database)
    firings = (slow.advance_reminder(first, at(61)), quick.advance_reminder(later, at(61)))
    await two.line_up(firings[0], end(two.quick), firings[1])
    events = [event.type for event in await two.quick.told()]
    assert events == ["connection.changed", "reminder.fired", "connection.changed", *told]


async def test_what_a_link_records_at_last_stays_though_it_was_given_up_for_lost(two: Two) -> None:
    accepted = await two.quick.accept()
    attempt = await two.quick.claim(accepted.send.id)
    await _log_out(two.quick)
    late = at(600)
    await two.race(two.slow.record(sent(attempt, now=late), now=late), two.quick.work.settle_left_behind(late))
    assert await two.quick.status(accepted) is MessageStatus.SENT
    assert await two.quick.statuses_told() == []


async def test_two_who_link_at_once_take_turns(two: Two) -> None:
    wanted = [LinkRequest(gateway=Gateway.SIMULATOR, phone=f"549115555000{number}") for number in (1, 2)]
    stores = [SqlLinkingStore(stage.database) for stage in (two.slow, two.quick)]
    business_id = two.quick.business.id
    await two.race(
        *(store.link(business_id, one, NOW, lambda *_: {}) for store, one in zip(stores, wanted, strict=True))
    )
    active = await two.quick.connections.list_active_connections()
    assert [one.phone for one in active if one.business_id == business_id] == [wanted[1].phone]


# -------------------------------------------------------------------- one phone, wanted by two


async def _is_taken(linking: Awaitable[Any]) -> bool:
    try:
        await linking
    except Conflict:
        return True
    return False


SPELLINGS = pytest.mark.parametrize(
    "spellings", [("5491155500001", "541155500001"), ("5215555000001", "525555000001")], ids=["Argentina", "Mexico"]
)


@SPELLINGS
async def test_phone_that_two_businesses_link_at_once_under_two_spellings_is_the_firsts(
    two: Two, spellings: tuple[str, str]
) -> None:
    first, second = two.quick, await set_stage(two.quick.database)
    wanted = [LinkRequest(gateway=Gateway.SIMULATOR, phone=phone) for phone in spellings]
    _, taken = await two.race(
        SqlLinkingStore(two.slow.database).link(first.business.id, wanted[0], NOW, lambda *_: {}),
        _is_taken(SqlLinkingStore(second.database).link(second.business.id, wanted[1], NOW, lambda *_: {})),
    )
    assert taken
    active = await two.quick.connections.list_active_connections()
    assert {one.phone for one in active} == {spellings[0], second.connection.phone}


@SPELLINGS
async def test_phone_that_scans_the_codes_of_two_businesses_at_once_is_the_firsts(
    two: Two, spellings: tuple[str, str]
) -> None:
    scans = []
    for stage, phone in zip((two.quick, await set_stage(two.quick.database)), spellings, strict=True):
        linking = SqlLinkingStore(stage.database)
        linked = await linking.link(stage.business.id, LinkRequest(gateway=Gateway.WHATSAPP), NOW, lambda *_: {})
        epoch, _ = await SqlPairingStore(stage.database).begin_pairing(linked.connection_id)
        scans.append((linked.connection_id, epoch, phone, NOW))
    stores = [SqlPairingStore(stage.database) for stage in (two.slow, two.quick)]
    reasons = await two.race(*(store.finish_pairing(*scan) for store, scan in zip(stores, scans, strict=True)))
    assert reasons[0] is None
    assert "another active connection" in str(reasons[1])


# -------------------------------------------------------------------- two chats that become one


LID = "1029384756@lid"


async def _two_chats_of_one(stage: Stage) -> str:
    """The id of the chat that will be gone."""
    await stage.receive(incoming(jid=LID), incoming("BAJA", jid=LID))
    await stage.change(NUMBER, name="Juan")
    return (await stage.chat(NUMBER)).id


def _proof() -> Inbound:
    return incoming("soy yo", also_known_as=(LID,))


async def _is_one(stage: Stage) -> bool:
    """Whether all that is there is in the one chat."""
    (chat,) = await stage.all(ChatRow)
    return {row.chat_id for row in await stage.messages()} == {chat.id}


async def test_claim_waits_for_a_merge_and_heeds_what_holds_in_the_other_chat(two: Two) -> None:
    await _two_chats_of_one(two.quick)
    accepted = await two.quick.accept(NUMBER, OTHER, category=SendCategory.MARKETING)
    _, attempts = await two.race(two.slow.receive(_proof()), two.quick.claim_some(accepted.send.id, 2))
    assert [attempt.jid for attempt in attempts] == [jid_of(OTHER)]
    assert (await two.quick.message(accepted.recipients[0].message_id)).error_code == "opted_out"


async def test_merge_waits_for_a_claim_and_takes_what_is_on_its_way(two: Two) -> None:
    await _two_chats_of_one(two.quick)
    accepted = await two.quick.accept(NUMBER)
    attempt, _ = await two.race(two.slow.claim(accepted.send.id), two.quick.receive(_proof()))
    await two.quick.record(sent(attempt))
    assert await two.quick.status(accepted) is MessageStatus.SENT
    assert await _is_one(two.quick)


async def test_result_waits_for_a_merge_and_is_recorded_in_the_chat_that_is_left(two: Two) -> None:
    await _two_chats_of_one(two.quick)
    accepted = await two.quick.accept(NUMBER)
    attempt = await two.quick.claim(accepted.send.id)
    await two.race(two.slow.receive(_proof()), two.quick.record(sent(attempt)))
    assert await two.quick.status(accepted) is MessageStatus.SENT
    assert await _is_one(two.quick)


async def test_reply_of_a_chat_that_is_merged_meanwhile_is_the_other_chats_to_send(two: Two) -> None:
    await two.quick.receive(incoming(jid=LID), incoming(jid=LID))
    await two.quick.receive(incoming())
    draft = await two.quick.answer()
    _, claimed = await two.race(two.slow.receive(_proof()), two.quick.claim_message(draft, now=at(1)))
    assert claimed is None
    step = await two.quick.look(LID, now=at(1))
    assert step.brief is not None
    assert (await two.quick.message(draft)).error_code == "superseded"


@pytest.mark.parametrize("many", [1, 60], ids=["one", "a bulk"])
async def test_send_that_is_accepted_beside_a_merge_is_the_chats_that_is_left(two: Two, many: int) -> None:
    await _two_chats_of_one(two.quick)
    recipients = [NUMBER, *numbers(many)][:many]
    await two.race(two.slow.receive(_proof()), two.quick.accept(*recipients))
    found, _ = await two.quick.sends.list_sends(two.quick.business.id, Page(page=0, page_size=5))
    assert [send.total for send in found] == [many]
    assert len(await two.quick.all(ChatRow)) == many


async def test_merge_waits_for_a_send_that_is_being_accepted(two: Two) -> None:
    await _two_chats_of_one(two.quick)
    await two.race(two.slow.accept(NUMBER), two.quick.receive(_proof()))
    assert await _is_one(two.quick)


async def test_answer_of_the_model_waits_for_a_merge_and_is_not_said(two: Two) -> None:
    await two.quick.receive(incoming(jid=LID), incoming(jid=LID))
    await two.quick.receive(incoming())
    brief = await two.quick.open_turn()
    _, step = await two.race(two.slow.receive(_proof()), two.quick.say(brief, "¡Hola!"))
    assert step.state == "think"
    assert {row.status for row in await two.quick.messages()} == {"received"}


async def test_patch_waits_for_a_merge_and_holds_in_the_chat_that_is_left(two: Two) -> None:
    await _two_chats_of_one(two.quick)
    await two.race(two.slow.receive(_proof()), two.quick.change(NUMBER, untouchable=True))
    assert (await two.quick.chat(LID)).untouchable


async def test_look_waits_for_a_merge_and_finds_the_chat_gone(two: Two) -> None:
    gone = await _two_chats_of_one(two.quick)
    _, step = await two.race(two.slow.receive(_proof()), two.quick.turns.advance_chat(gone, NOW))
    assert step.state == "gone"


async def test_cancelled_send_waits_for_a_merge_and_ends_its_conversation(two: Two) -> None:
    await _two_chats_of_one(two.quick)
    accepted = await two.quick.accept(NUMBER, kind=SendKind.INSTRUCTION)
    await two.race(two.slow.receive(_proof()), _cancel(two.quick, accepted.send.id))
    assert await two.quick.status(accepted) is MessageStatus.CANCELLED
    assert len(await two.quick.told(EventType.CONVERSATION_ENDED)) == 1


async def _look_up(stage: Stage, accepted: AcceptedSend) -> None:
    """Finds that the number is the LID's."""
    await stage.outbox.note_recipient(accepted.recipients[0].message_id, [jid_of(NUMBER), LID], NOW)


async def test_two_who_prove_it_at_once_merge_once(two: Two) -> None:
    await _two_chats_of_one(two.quick)
    accepted = await two.quick.accept(NUMBER)
    await two.race(two.slow.receive(_proof()), _look_up(two.quick, accepted))
    assert await _is_one(two.quick)
    assert await two.quick.tally() == (1, 1, 0)


async def test_message_that_comes_into_a_chat_that_is_merged_meanwhile_is_in_the_one_that_is_left(two: Two) -> None:
    await two.quick.receive(incoming(), incoming())
    await two.quick.receive(incoming(jid=LID))
    accepted = await two.quick.accept(NUMBER)
    await two.race(_look_up(two.slow, accepted), two.quick.receive(incoming("¿hola?", jid=LID)))
    assert await _is_one(two.quick)
    assert (await two.quick.chat(LID)).message_count == 4


async def test_merge_waits_for_a_message_that_comes_in_and_takes_it_along(two: Two) -> None:
    await two.quick.receive(incoming(), incoming())
    await two.quick.receive(incoming(jid=LID))
    accepted = await two.quick.accept(NUMBER)
    await two.race(two.slow.receive(incoming("¿hola?", jid=LID)), _look_up(two.quick, accepted))
    assert await _is_one(two.quick)
    assert (await two.quick.chat(LID)).message_count == 4


async def test_reminder_that_fires_beside_a_merge_is_the_chats_that_is_left(two: Two) -> None:
    await _two_chats_of_one(two.quick)
    reminder_id = await _remind(two.quick)
    reminders = SqlReminderStore(two.quick.database)
    await two.race(two.slow.receive(_proof()), reminders.advance_reminder(reminder_id, at(61)))
    assert await _is_one(two.quick)
    assert [row.kind for row in await two.quick.messages()].count("reminder") == 1


async def _remind(stage: Stage, number: str = NUMBER) -> str:
    """The id of a reminder that is due in a minute."""
    new = NewReminder(
        business_id=stage.business.id,
        recipient=NewRecipient(to=number, jid=jid_of(number), text="mañana"),
        kind=SendKind.MESSAGE,
        timing=Timing(starts_at=at(60)),
        plan=Plan(firings=(Planned(at=at(60), expires_at=at(3600)),)),
        accepted_at=NOW,
    )
    accepted = await SqlReminderStore(stage.database).accept_reminder(new, lambda _: {})
    assert accepted.reminder is not None
    return accepted.reminder.id
