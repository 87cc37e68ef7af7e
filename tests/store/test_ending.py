"""Pause, resume, cancel: effective before the next claim, whatever happens meanwhile, with a full account."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import update
from sqlmodel import Session, col

from boton.domain.conversations import ConversationStatus
from boton.domain.events import EventType
from boton.domain.messages import MessageError, MessageStatus
from boton.domain.sends import AcceptedSend, Send, SendKind, SendStatus
from boton.errors import Conflict, NotFound
from boton.ports import Idle, Page
from boton.store.ending import cancel, cancel_queued, end_if_over, lock_send
from boton.store.engine import Database
from boton.store.follow_ups import promise
from boton.store.tables import ConversationRow, FollowUpRow, SendRow
from tests.store.builders import NOW, a_business, at
from tests.store.stage import NUMBER, OTHER, Stage, not_sent, numbers, sent, set_stage, typed, unconfirmed

CANCELLED = MessageError(code="send_cancelled", detail="the send was cancelled before this message left")


async def _row(stage: Stage, accepted: AcceptedSend) -> SendRow:
    (row,) = [row for row in await stage.all(SendRow) if row.id == accepted.send.id]
    return row


async def _change_row(stage: Stage, accepted: AcceptedSend, **values: object) -> None:
    this = update(SendRow).where(col(SendRow.id) == accepted.send.id).values(values)
    await stage.database.write(lambda session: session.execute(this) and None)


async def _pause(stage: Stage, accepted: AcceptedSend) -> Send:
    return await stage.sends.pause_send(stage.business.id, accepted.send.id)


async def _resume(stage: Stage, accepted: AcceptedSend, now: datetime = NOW) -> Send:
    return await stage.sends.resume_send(stage.business.id, accepted.send.id, now)


async def _cancel(stage: Stage, accepted: AcceptedSend, now: datetime = NOW) -> Send:
    return await stage.sends.cancel_send(stage.business.id, accepted.send.id, now)


async def _fetch(stage: Stage, accepted: AcceptedSend) -> Send:
    return await stage.sends.fetch_send(stage.business.id, accepted.send.id)


# -------------------------------------------------------------------- pause and resume


async def test_paused_send_is_not_claimed_nor_looked_at(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER)
    first = await stage.claim(accepted.send.id)
    paused = await _pause(stage, accepted)
    assert (paused.status, paused.next_step_at) == (SendStatus.PAUSED, None)
    assert paused.counts == {MessageStatus.SENDING: 1, MessageStatus.QUEUED: 1}
    assert await stage.advance(accepted.send.id, record=sent(first)) == Idle(why="paused")
    assert await _pause(stage, accepted) == await _fetch(stage, accepted)
    assert (await _fetch(stage, accepted)).counts == {MessageStatus.SENT: 1, MessageStatus.QUEUED: 1}


async def test_resumed_send_goes_on_where_it_stopped(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER)
    await stage.record(sent(await stage.claim(accepted.send.id)))
    await _pause(stage, accepted)
    resumed = await _resume(stage, accepted, at(60))
    assert (resumed.status, resumed.next_step_at) == (SendStatus.RUNNING, at(60))
    assert await _resume(stage, accepted, at(90)) == resumed
    second = await stage.claim(accepted.send.id, now=at(91))
    assert second.message_id == accepted.recipients[1].message_id


@pytest.mark.parametrize(
    ("send_at", "now", "status"),
    [
        (None, at(60), SendStatus.QUEUED),
        (at(3600), at(60), SendStatus.SCHEDULED),
        (at(3600), at(7200), SendStatus.QUEUED),
    ],
)
async def test_resumed_send_is_as_it_was(
    database: Database, send_at: datetime | None, now: datetime, status: SendStatus
) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(send_at=send_at)
    await _pause(stage, accepted)
    resumed = await _resume(stage, accepted, now)
    assert (resumed.status, resumed.next_step_at) == (status, now)


async def test_held_send_is_no_longer_held_when_it_is_resumed(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    await _change_row(stage, accepted, status="paused", hold="restored", next_step_at=None)
    assert (await _pause(stage, accepted)).hold == "restored"
    assert (await _resume(stage, accepted)).hold is None


async def test_paused_send_does_not_say_that_it_waits(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    await _change_row(stage, accepted, waiting="daily_limit", next_step_at=at(999))
    assert (await _pause(stage, accepted)).waiting is None


# -------------------------------------------------------------------- cancel


async def test_cancelled_send_accounts_for_everybody(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(*numbers(4))
    await stage.record(sent(await stage.claim(accepted.send.id)))
    await stage.record(unconfirmed(await stage.claim(accepted.send.id)))
    cancelled = await _cancel(stage, accepted, at(5))
    assert cancelled.counts == {MessageStatus.SENT: 1, MessageStatus.UNCONFIRMED: 1, MessageStatus.CANCELLED: 2}
    assert (cancelled.status, cancelled.finished_at, cancelled.next_step_at) == (SendStatus.CANCELLED, at(5), None)
    page = Page(page=0, page_size=9)
    recipients, _ = await stage.sends.list_recipients(stage.business.id, accepted.send.id, page)
    assert [one.error for one in recipients[2:]] == [CANCELLED, CANCELLED]
    (event,) = await stage.told(EventType.SEND_FINISHED)
    assert event.data == {
        "sendId": accepted.send.id,
        "status": "cancelled",
        "total": 4,
        "counts": {"sent": 1, "unconfirmed": 1, "cancelled": 2},
    }
    assert await _cancel(stage, accepted, at(9)) == cancelled
    assert await stage.advance(accepted.send.id) == Idle(why="done")
    assert len(await stage.told(EventType.SEND_FINISHED)) == 1


@pytest.mark.parametrize("paused", [False, True])
async def test_cancelled_send_is_over_only_when_the_last_attempt_is(database: Database, paused: bool) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER)
    attempt = await stage.claim(accepted.send.id)
    if paused:
        await _pause(stage, accepted)
    cancelled = await _cancel(stage, accepted, at(5))
    assert (cancelled.finished_at, cancelled.next_step_at) == (None, at(5))
    assert cancelled.counts == {MessageStatus.SENDING: 1, MessageStatus.CANCELLED: 1}
    assert await stage.told(EventType.SEND_FINISHED) == []
    assert await stage.advance(accepted.send.id, record=sent(attempt), now=at(6)) == Idle(why="done")
    over = await _fetch(stage, accepted)
    assert (over.status, over.finished_at, over.next_step_at) == (SendStatus.CANCELLED, at(6), None)
    assert over.counts == {MessageStatus.SENT: 1, MessageStatus.CANCELLED: 1}


async def test_attempt_that_never_left_is_cancelled_with_the_rest(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id)
    await _cancel(stage, accepted)
    assert await stage.advance(accepted.send.id, record=not_sent(attempt)) == Idle(why="done")
    assert await stage.status(accepted) is MessageStatus.CANCELLED
    assert (await stage.chat()).message_count == 0


async def test_large_send_is_cancelled_in_pieces(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(*numbers(1200))
    cancelled = await _cancel(stage, accepted)
    assert cancelled.counts == {MessageStatus.CANCELLED: 1200}
    assert cancelled.finished_at == NOW


async def test_what_a_crash_left_queued_is_cancelled_later(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(*numbers(5))

    def crash_after_the_first(session: Session) -> tuple[int, int]:
        send = lock_send(session, stage.business.id, accepted.send.id)
        cancel(send, NOW)
        count, _ = cancel_queued(session, [send], NOW, 2)
        return count, len(end_if_over(session, [send], NOW))

    assert await database.write(crash_after_the_first) == (2, 0)
    left = await _fetch(stage, accepted)
    assert (left.counts, left.next_step_at) == ({MessageStatus.CANCELLED: 2, MessageStatus.QUEUED: 3}, NOW)
    assert await stage.advance(accepted.send.id) == Idle(why="done")
    assert (await _fetch(stage, accepted)).counts == {MessageStatus.CANCELLED: 5}


async def test_dialogue_that_was_never_opened_ends_and_an_open_one_goes_on(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER, kind=SendKind.INSTRUCTION)
    briefs = await stage.turns.open_openings([one.message_id for one in accepted.recipients], NOW)
    await stage.close_turn(briefs[0])
    await stage.record(sent(await stage.claim(accepted.send.id)))
    for one in accepted.recipients:
        await _promise(stage, one.conversation_id)
    await _cancel(stage, accepted, at(5))
    rows = {row.id: row for row in await stage.all(ConversationRow)}
    opened, never = (rows[one.conversation_id or ""] for one in accepted.recipients)
    assert (opened.status, opened.ended_at) == (ConversationStatus.WAITING, None)
    assert (never.status, never.ended_at) == (ConversationStatus.CANCELLED, at(5))
    assert [event.data["conversationId"] for event in await stage.told(EventType.CONVERSATION_ENDED)] == [never.id]
    promised = {row.conversation_id: row.status for row in await stage.all(FollowUpRow)}
    assert promised == {opened.id: "pending", never.id: "cancelled"}
    assert (await stage.chat()).conversation_id == opened.id
    assert await stage.close_turn(briefs[1]) == []


async def _promise(stage: Stage, conversation_id: str | None) -> None:
    """What the bot means to write in this conversation later."""

    def add(session: Session) -> None:
        conversation = session.get_one(ConversationRow, conversation_id)
        promise(session, conversation, at(3600), "¿Y?", NOW)

    await stage.database.write(add)


# -------------------------------------------------------------------- what cannot be


async def test_finished_send_is_left_as_it_is(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    await stage.advance(accepted.send.id, record=sent(await stage.claim(accepted.send.id)))
    finished = await _fetch(stage, accepted)
    assert finished.status is SendStatus.FINISHED
    for change in (_pause, _resume, _cancel):
        with pytest.raises(Conflict, match=accepted.send.id):
            await change(stage, accepted)
    assert await _fetch(stage, accepted) == finished


async def test_cancelled_send_can_neither_be_paused_nor_resumed(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    await _cancel(stage, accepted)
    for change in (_pause, _resume):
        with pytest.raises(Conflict, match="cancelled"):
            await change(stage, accepted)


async def test_another_business_changes_nothing(database: Database) -> None:
    stage = await set_stage(database)
    other, _ = await a_business(database)
    accepted = await stage.accept()
    for changed in (
        stage.sends.pause_send(other.id, accepted.send.id),
        stage.sends.resume_send(other.id, accepted.send.id, NOW),
        stage.sends.cancel_send(other.id, accepted.send.id, NOW),
        stage.sends.estimate_end(other.id, accepted.send.id, NOW),
    ):
        with pytest.raises(NotFound):
            await changed
    assert (await _fetch(stage, accepted)).status is SendStatus.QUEUED


# -------------------------------------------------------------------- waking


@pytest.mark.parametrize("reason", ["quiet_hours", "daily_limit", "slow_lane_closed"])
async def test_what_waits_for_the_pacing_is_due_when_it_changes(database: Database, reason: str) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    waiting, scheduled, running, paused = [await stage.accept() for _ in range(4)]
    foreign = await other.accept()
    later = at(9999)
    for one in (waiting, foreign):
        await _change_row(stage, one, waiting=reason, next_step_at=later)
    await _change_row(stage, scheduled, waiting="scheduled", next_step_at=later)
    await _change_row(stage, running, next_step_at=later)
    await _change_row(stage, paused, status="paused", waiting=None, next_step_at=None)
    woken = await stage.sends.wake_waiting_sends(stage.business.id, at(60))
    assert [send.id for send in woken] == [waiting.send.id]
    due = {row.id: row.next_step_at for row in await stage.all(SendRow)}
    assert [due[one.send.id] for one in (waiting, scheduled, running, paused, foreign)] == [
        at(60),
        later,
        later,
        None,
        later,
    ]


# -------------------------------------------------------------------- the last message of a halted send


async def _halt(stage: Stage, accepted: AcceptedSend, *, cancels: bool) -> None:
    await (_cancel if cancels else _pause)(stage, accepted)


@pytest.mark.parametrize("cancels", [False, True])
@pytest.mark.parametrize("how", ["recovered", "recorded by a link of the past", "seen on the phone"])
async def test_halted_send_is_over_with_its_last_message_whoever_settles_it(
    database: Database, how: str, cancels: bool
) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER)
    await stage.record(sent(await stage.claim(accepted.send.id)))
    attempt = await stage.claim(accepted.send.id)
    await _halt(stage, accepted, cancels=cancels)
    if how == "seen on the phone":
        await stage.receive(typed(number=OTHER, attempt_id=attempt.id, whatsapp_id="W9"), now=at(7))
    elif how == "recovered":
        await stage.record(sent(attempt), now=at(7))
        await stage.record(sent(attempt), now=at(8))
    else:
        await stage.connections.raise_epoch(stage.connection.id, NOW)
        await stage.advance(accepted.send.id, record=sent(attempt), now=at(7))
    over = await _fetch(stage, accepted)
    assert over.status is (SendStatus.CANCELLED if cancels else SendStatus.FINISHED)
    assert (over.finished_at, over.next_step_at) == (at(7), None)
    assert over.counts == {MessageStatus.SENT: 2}
    assert await stage.advance(accepted.send.id) == Idle(why="not_owner" if "past" in how else "done")
    assert len(await stage.told(EventType.SEND_FINISHED)) == 1


async def test_paused_send_of_which_something_is_queued_still_is_not_over(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER)
    attempt = await stage.claim(accepted.send.id)
    await _pause(stage, accepted)
    await stage.record(sent(attempt))
    assert (await _fetch(stage, accepted)).status is SendStatus.PAUSED
    await stage.record(not_sent(attempt))
    assert await stage.told(EventType.SEND_FINISHED) == []
