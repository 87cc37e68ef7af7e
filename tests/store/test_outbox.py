"""Claim, send, record."""

from __future__ import annotations

import pytest

from boton.domain.events import EventType
from boton.domain.gateway import Attempt
from boton.domain.messages import MessageStatus
from boton.domain.sends import SendCategory, SendKind, SendStatus
from boton.errors import NotFound, StaleEpoch
from boton.ports import Idle
from boton.store.engine import Database
from boton.store.tables import ConversationRow
from tests.store.builders import NOW, at, jid_of
from tests.store.stage import (
    JID,
    NUMBER,
    OTHER,
    failed,
    incoming,
    minutes,
    not_sent,
    numbers,
    receipt,
    sent,
    set_stage,
    typed,
    unconfirmed,
)

MARKETING = SendCategory.MARKETING


async def test_send_is_claimed_sent_and_finished(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER)
    step = await stage.claim(accepted.send.id, now=at(1))
    assert (step.message_id, step.jid, step.text, step.epoch) == (
        accepted.recipients[0].message_id,
        JID,
        f"hola {NUMBER}",
        stage.epoch,
    )
    assert await stage.status(accepted) is MessageStatus.SENDING
    second = await stage.advance(accepted.send.id, record=sent(step, now=at(2)), now=at(2))
    assert isinstance(second, Attempt)
    assert second.message_id == accepted.recipients[1].message_id
    assert await stage.advance(accepted.send.id, record=sent(second), now=at(3)) == Idle(why="done")
    send = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert (send.status, send.started_at, send.finished_at) == (SendStatus.FINISHED, at(1), at(3))
    assert send.counts == {MessageStatus.SENT: 2}
    (finished,) = await stage.told(EventType.SEND_FINISHED)
    assert finished.data == {"sendId": send.id, "status": "finished", "total": 2, "counts": {"sent": 2}}
    assert await stage.advance(accepted.send.id) == Idle(why="done")
    assert len(await stage.told(EventType.SEND_FINISHED)) == 1


async def test_send_waits_for_its_time(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(send_at=minutes(10))
    waits = Idle(why="wait", until=minutes(10), reason="scheduled")
    assert await stage.advance(accepted.send.id, now=minutes(9)) == waits
    assert isinstance(await stage.advance(accepted.send.id, now=minutes(10)), Attempt)


async def test_send_is_not_finished_while_an_attempt_is_in_flight(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id)
    step = await stage.advance(accepted.send.id)
    assert isinstance(step, Idle)
    assert (step.why, step.until is not None) == ("wait", True)
    await stage.record(sent(attempt))
    assert await stage.advance(accepted.send.id) == Idle(why="done")


async def test_send_of_another_number_is_not_found(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    accepted = await stage.accept()
    with pytest.raises(NotFound):
        await other.advance(accepted.send.id)
    assert await other.claim_message(accepted.recipients[0].message_id) is None
    assert await stage.status(accepted) is MessageStatus.QUEUED


async def test_link_of_an_older_epoch_claims_nothing_but_may_still_record(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER)
    attempt = await stage.claim(accepted.send.id)
    await stage.connections.raise_epoch(stage.connection.id, NOW)
    with pytest.raises(StaleEpoch):
        await stage.claim_message(accepted.recipients[1].message_id)
    assert await stage.advance(accepted.send.id, record=sent(attempt)) == Idle(why="not_owner")
    assert await stage.status(accepted, 0) is MessageStatus.SENT
    assert await stage.status(accepted, 1) is MessageStatus.QUEUED


async def test_nothing_is_claimed_twice(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    message_id = accepted.recipients[0].message_id
    assert await stage.claim_message(message_id) is not None
    assert await stage.claim_message(message_id) is None
    assert await stage.claim_message("msg_0") is None


# -------------------------------------------------------------------- guards


@pytest.mark.parametrize(
    ("category", "change", "status", "code"),
    [
        (SendCategory.TRANSACTIONAL, {"untouchable": True}, MessageStatus.SENDING, None),
        (SendCategory.TRANSACTIONAL, {"opted_out": True}, MessageStatus.SENDING, None),
        (MARKETING, {"untouchable": True}, MessageStatus.SENDING, None),
        (MARKETING, {"bot_enabled": False}, MessageStatus.SENDING, None),
        (MARKETING, {"opted_out": True}, MessageStatus.FAILED, "opted_out"),
    ],
)
async def test_guards_of_an_api_message(
    database: Database, category: SendCategory, change: dict[str, bool], status: MessageStatus, code: str | None
) -> None:
    stage = await set_stage(database)
    await stage.change(**change)
    accepted = await stage.accept(category=category)
    step = await stage.advance(accepted.send.id)
    row = await stage.message(accepted.recipients[0].message_id)
    assert (row.status, row.error_code) == (status, code)
    assert isinstance(step, Attempt) is (status is MessageStatus.SENDING)
    assert await stage.statuses_told() == ([] if code is None else ["failed"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"untouchable": True}, "untouchable"),
        ({"bot_enabled": False}, "bot_off"),
        (None, "held_by_human"),
    ],
)
async def test_guards_of_a_reply(database: Database, change: dict[str, bool] | None, code: str) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming(), now=at(0))
    draft = await stage.answer(now=at(5))
    if change is None:
        await stage.receive(typed(when=at(6)), now=at(6))
    else:
        await stage.change(**change)
    assert await stage.claim_message(draft, now=at(7)) is None
    row = await stage.message(draft)
    assert (row.status, row.error_code) == ("cancelled", code)
    assert await stage.undelivered(now=at(8)) == ("", [])


@pytest.mark.parametrize(
    ("change", "category", "status", "code"),
    [
        ({"untouchable": True}, SendCategory.TRANSACTIONAL, "failed", "untouchable"),
        ({"opted_out": True}, MARKETING, "failed", "opted_out"),
    ],
)
async def test_guards_of_an_opening(
    database: Database, change: dict[str, bool], category: SendCategory, status: str, code: str
) -> None:
    stage = await set_stage(database)
    accepted = await stage.open_conversation(category=category)
    await stage.change(**change)
    assert await stage.advance(accepted.send.id) == Idle(why="done")
    row = await stage.message(accepted.recipients[0].message_id)
    assert (row.status, row.error_code) == (status, code)
    (conversation,) = await stage.all(ConversationRow)
    assert conversation.status == "cancelled"
    assert (await stage.chat()).conversation_id is None
    (ended,) = await stage.told(EventType.CONVERSATION_ENDED)
    assert ended.data["conversationId"] == conversation.id
    chat = await stage.chat()
    assert not chat.bot_enabled
    assert chat.message_count == 0


async def test_expired_message_is_never_sent(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(expires_at=minutes(5))
    assert await stage.advance(accepted.send.id, now=minutes(5)) == Idle(why="done")
    assert await stage.status(accepted) is MessageStatus.EXPIRED
    assert await stage.statuses_told() == ["expired"]


async def test_forbidden_messages_do_not_hold_up_the_others(database: Database) -> None:
    stage = await set_stage(database)
    for number in numbers(3):
        await stage.change(number, opted_out=True)
    accepted = await stage.accept(*numbers(4), category=MARKETING)
    assert await stage.step(accepted.send.id, room=2) == Idle(why="more")
    (step,) = await stage.claim_some(accepted.send.id, 2)
    assert step.message_id == accepted.recipients[3].message_id
    await stage.advance(accepted.send.id, record=sent(step))
    send = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert send.counts == {MessageStatus.FAILED: 3, MessageStatus.SENT: 1}


async def test_hundreds_of_forbidden_messages_are_settled_some_at_a_time(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(*numbers(150), expires_at=at(1))
    assert await stage.advance(accepted.send.id, now=at(2)) == Idle(why="more")
    assert await stage.advance(accepted.send.id, now=at(2)) == Idle(why="done")


# -------------------------------------------------------------------- openings


async def test_opening_is_written_before_it_is_claimed(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(*numbers(12), kind=SendKind.INSTRUCTION)
    step = await stage.advance(accepted.send.id)
    assert step == Idle(why="compose", message_ids=tuple(one.message_id for one in accepted.recipients[:10]))


async def test_opening_enables_the_bot_and_ends_an_earlier_takeover(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(typed(when=at(0)), now=at(0))
    accepted = await stage.open_conversation(accepted_at=at(60), now=at(60))
    await stage.claim(accepted.send.id, now=at(61))
    chat = await stage.chat()
    assert (chat.bot_enabled, chat.taken_over_at, chat.takeover_until) == (True, None, None)
    assert chat.conversation_id == accepted.recipients[0].conversation_id
    assert await stage.tally() == (1, 1, 0)
    assert await stage.receive(incoming(when=at(70)), now=at(70)) == [chat.id]


async def test_takeover_after_the_post_wins_over_the_opening(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.open_conversation(accepted_at=at(0), now=at(0))
    await stage.receive(typed(when=at(10)), now=at(10))
    assert await stage.advance(accepted.send.id, now=at(20)) == Idle(why="done")
    row = await stage.message(accepted.recipients[0].message_id)
    assert (row.status, row.error_code) == ("cancelled", "held_by_human")
    assert (await stage.chat()).takeover_until == at(10 + 120 * 60)


async def test_takeover_while_the_opening_is_due_again_wins_too(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.open_conversation()
    await stage.record(not_sent(await stage.claim(accepted.send.id, now=at(1))), now=at(2))
    await stage.receive(typed(when=at(3)), now=at(3))
    assert await stage.advance(accepted.send.id, now=at(4)) == Idle(why="done")
    assert await stage.status(accepted) is MessageStatus.CANCELLED
    (conversation,) = await stage.all(ConversationRow)
    assert conversation.status == "cancelled"
    assert (await stage.chat()).conversation_id is None


async def test_opening_that_whatsapp_refuses_ends_its_conversation(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.open_conversation()
    await stage.record(failed(await stage.claim(accepted.send.id)), now=at(5))
    (conversation,) = await stage.all(ConversationRow)
    assert (conversation.status, conversation.outcome, conversation.ended_at) == ("done", "error", at(5))
    assert (await stage.chat()).conversation_id is None
    (ended,) = await stage.told(EventType.CONVERSATION_ENDED)
    assert (ended.data["conversationId"], ended.data["outcome"]) == (conversation.id, "error")


# -------------------------------------------------------------------- results


async def test_message_that_definitely_did_not_leave_is_due_again_and_unseen(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming("buenas", when=at(-60)))
    before = await stage.chat()
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id, now=at(1))
    chat = await stage.chat()
    assert (chat.message_count, chat.last_text, chat.last_direction) == (2, f"hola {NUMBER}", "outgoing")
    await stage.record(not_sent(attempt), now=at(2))
    chat = await stage.chat()
    assert (chat.message_count, chat.last_text, chat.last_direction, chat.last_at) == (
        before.message_count,
        before.last_text,
        before.last_direction,
        before.last_at,
    )
    again = await stage.claim(accepted.send.id, now=at(3))
    assert again.message_id == attempt.message_id
    assert again.id != attempt.id
    assert await stage.told(EventType.MESSAGE_STATUS) == []


async def test_only_message_that_did_not_leave_leaves_an_empty_chat(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    await stage.record(not_sent(await stage.claim(accepted.send.id)))
    chat = await stage.chat()
    assert (chat.message_count, chat.last_text, chat.last_at) == (0, None, None)


async def test_message_forbidden_at_its_claim_is_never_the_last_one(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming("buenas", when=at(-60)))
    await stage.change(opted_out=True)
    forbidden = await stage.accept(category=MARKETING)
    await stage.advance(forbidden.send.id)
    accepted = await stage.accept()
    await stage.record(not_sent(await stage.claim(accepted.send.id, now=at(1))), now=at(2))
    chat = await stage.chat()
    assert (chat.message_count, chat.last_text) == (1, "buenas")


async def test_result_of_an_attempt_that_is_over_changes_nothing(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    first = await stage.claim(accepted.send.id)
    await stage.record(not_sent(first))
    second = await stage.claim(accepted.send.id)
    for late in (sent(first), failed(first), not_sent(first), unconfirmed(first)):
        await stage.record(late)
        assert await stage.status(accepted) is MessageStatus.SENDING
    await stage.record(sent(second, whatsapp_id="A"))
    await stage.record(sent(second, whatsapp_id="B"))
    row = await stage.message(second.message_id)
    assert (row.status, row.whatsapp_id, row.sent_at) == ("sent", "A", NOW)
    assert (await stage.chat()).message_count == 1


async def test_failure_is_told_with_its_reason(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    await stage.record(failed(await stage.claim(accepted.send.id)))
    (event,) = await stage.told(EventType.MESSAGE_STATUS)
    assert event.data["status"] == "failed"
    assert event.data["error"]["code"] == "not_on_whatsapp"
    assert event.data["sendId"] == accepted.send.id
    assert event.data["jid"] == JID


async def test_reply_due_again_is_found_by_the_sweeper(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    draft = await stage.answer()
    attempt = await stage.claim_message(draft)
    assert attempt is not None
    assert (await stage.look()).state == "rest"
    assert (await stage.chat()).next_step_at is None
    await stage.record(not_sent(attempt), now=at(9))
    assert (await stage.chat()).next_step_at == at(9)
    assert await stage.undelivered(now=at(9)) == (stage.connection.id, [draft])


# -------------------------------------------------------------------- recovery


async def test_recovery_finds_what_a_dead_link_left_and_no_more(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    await other.claim((await other.accept()).send.id)
    accepted = await stage.accept(*numbers(4))
    send_id = accepted.send.id
    left = await stage.claim(send_id)
    done = await stage.claim(send_id)
    unsure = await stage.claim(send_id)
    await stage.record(sent(done))
    await stage.record(unconfirmed(unsure))
    stage.epoch = await stage.connections.raise_epoch(stage.connection.id, NOW)
    mine = await stage.claim(send_id)
    found = await stage.outbox.list_left_in_flight(stage.connection.id, stage.epoch)
    assert {one.id for one in found} == {left.id, unsure.id}
    assert mine.epoch == stage.epoch
    assert next(one for one in found if one.id == left.id) == left


async def test_unconfirmed_message_is_told_and_settled_later(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER)
    first, second = await stage.claim(accepted.send.id), await stage.claim(accepted.send.id)
    await stage.record(unconfirmed(first))
    await stage.record(unconfirmed(second))
    assert await stage.statuses_told() == ["unconfirmed", "unconfirmed"]
    assert await stage.advance(accepted.send.id) == Idle(why="done")
    await stage.record(sent(first))
    await stage.record(not_sent(second))
    assert [await stage.status(accepted, place) for place in (0, 1)] == [MessageStatus.SENT, MessageStatus.FAILED]
    assert (await stage.message(second.message_id)).error_code == "not_sent"
    assert (await stage.message(first.message_id)).error_code is None
    assert await stage.outbox.list_left_in_flight(stage.connection.id, stage.epoch) == []
    assert await stage.advance(accepted.send.id) == Idle(why="done")


async def test_receipt_settles_an_unconfirmed_message_whose_id_is_learnt(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id)
    await stage.record(unconfirmed(attempt))
    await stage.receive(receipt("read", "W1", when=at(5)), now=at(5))
    await stage.record(sent(attempt, whatsapp_id="W1"))
    assert await stage.status(accepted) is MessageStatus.READ
    assert await stage.statuses_told() == ["unconfirmed", "read"]


async def test_own_message_seen_by_id_before_its_record_is_one_message_and_no_takeover(database: Database) -> None:
    """A gateway that does not know our attempts shows our message as if it had been typed."""
    stage = await set_stage(database)
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id)
    await stage.receive(typed(attempt.text, whatsapp_id="W1", when=at(1)), now=at(1))
    assert (await stage.chat()).takeover_until is not None
    await stage.record(sent(attempt, whatsapp_id="W1", now=at(1)), now=at(2))
    (row,) = await stage.messages()
    assert (row.id, row.status, row.whatsapp_id) == (attempt.message_id, "sent", "W1")
    chat = await stage.chat()
    assert (chat.message_count, chat.takeover_until, chat.taken_over_at) == (1, None, None)


async def test_id_that_another_message_has_is_not_recorded_twice(database: Database) -> None:
    """A gateway's mistake must not keep a message in flight for ever."""
    stage = await set_stage(database)
    await stage.receive(incoming(whatsapp_id="W1"))
    accepted = await stage.accept()
    await stage.record(sent(await stage.claim(accepted.send.id), whatsapp_id="W1"))
    row = await stage.message(accepted.recipients[0].message_id)
    assert (row.status, row.whatsapp_id) == ("sent", None)
    assert await stage.advance(accepted.send.id) == Idle(why="done")


async def test_attempt_seen_twice_on_the_phone_does_not_stop_the_journal(database: Database) -> None:
    stage = await set_stage(database)
    attempt = await stage.claim((await stage.accept()).send.id)
    await stage.receive(typed(whatsapp_id="W1", when=at(1)), now=at(1))
    await stage.receive(typed(whatsapp_id="W1", when=at(1), attempt_id=attempt.id), now=at(1))
    (row,) = await stage.messages()
    assert (row.id, row.status, row.whatsapp_id) == (attempt.message_id, "sent", "W1")
    assert (await stage.chat()).takeover_until is None


async def test_opening_that_whatsapp_refuses_later_ends_its_conversation_too(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.open_conversation()
    await stage.record(sent(await stage.claim(accepted.send.id), whatsapp_id="W1"))
    await stage.receive(receipt("refused", "W1", when=at(5)))
    (conversation,) = await stage.all(ConversationRow)
    assert (conversation.status, conversation.outcome) == ("done", "error")


async def test_claim_whose_answer_was_lost_is_found_by_its_own_link(database: Database) -> None:
    stage = await set_stage(database)
    attempt = await stage.claim((await stage.accept()).send.id)
    assert await stage.outbox.list_left_in_flight(stage.connection.id, stage.epoch) == []
    assert await stage.outbox.list_left_in_flight(stage.connection.id, stage.epoch + 1) == [attempt]


async def test_jid_of_the_chat_is_the_first_one_given_out(database: Database) -> None:
    stage = await set_stage(database)
    await stage.accept("541112345678")
    accepted = await stage.accept(NUMBER)
    assert (await stage.claim(accepted.send.id)).jid == jid_of("541112345678")
