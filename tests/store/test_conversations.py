"""Conversations as they are listed, and what a cancel leaves of them."""

from __future__ import annotations

import pytest

from boton.domain.conversations import Conversation, ConversationOutcome, ConversationStatus
from boton.domain.events import EventType
from boton.domain.messages import MessageStatus
from boton.domain.sends import AcceptedSend, NewRecipient, SendKind, SendStatus
from boton.errors import Conflict, NotFound
from boton.ports import Idle, Page
from boton.store.engine import Database
from boton.store.tables import ConversationRow
from tests.store.builders import NOW, at, jid_of
from tests.store.stage import JID, NUMBER, OTHER, Stage, incoming, not_sent, sent, set_stage

PAGE = Page(page=0, page_size=10)
STRANGER = "biz_other"


def _id(accepted: AcceptedSend, place: int = 0) -> str:
    conversation_id = accepted.recipients[place].conversation_id
    assert conversation_id is not None
    return conversation_id


async def _opened(stage: Stage) -> tuple[AcceptedSend, str]:
    """A conversation whose opening the customer has got."""
    accepted = await stage.open_conversation()
    await stage.record(sent(await stage.claim(accepted.send.id)))
    return accepted, _id(accepted)


async def _end(stage: Stage, conversation_id: str, status: ConversationStatus) -> None:
    def end(session: object) -> None:
        row = session.get_one(ConversationRow, conversation_id)  # type: ignore[attr-defined]
        row.status, row.ended_at = status.value, at(1)

    await stage.database.write(end)


async def _list(stage: Stage, **wanted: object) -> list[str]:
    found, total = await stage.conversations.list_conversations(stage.business.id, PAGE, **wanted)  # type: ignore[arg-type]
    assert total == len(found)
    return [one.id for one in found]


# -------------------------------------------------------------------- telling


async def test_list_is_newest_first_by_status_and_chat(database: Database) -> None:
    stage = await set_stage(database)
    first = _id(await stage.accept(kind=SendKind.INSTRUCTION))
    second = _id(await stage.accept(OTHER, kind=SendKind.INSTRUCTION, accepted_at=at(1)))
    third = _id(await stage.accept(kind=SendKind.INSTRUCTION, accepted_at=at(2)))
    await stage.cancel_conversation(first)
    assert await _list(stage) == [third, second, first]
    assert await _list(stage, status=ConversationStatus.OPENING) == [third, second]
    assert await _list(stage, jid=JID) == [third, first]
    assert await _list(stage, jid=JID, status=ConversationStatus.CANCELLED) == [first]
    assert await _list(stage, jid=JID.replace("549", "54", 1)) == [third, first]
    assert await _list(stage, jid=jid_of("14155550000")) == []


async def test_pages_of_the_list(database: Database) -> None:
    stage = await set_stage(database)
    ids = [_id(await stage.accept(kind=SendKind.INSTRUCTION, accepted_at=at(place))) for place in range(3)]
    found, total = await stage.conversations.list_conversations(stage.business.id, Page(page=1, page_size=2))
    assert ([one.id for one in found], total) == (ids[:1], 3)


async def test_conversation_is_told_with_its_chat_send_and_reference(database: Database) -> None:
    stage = await set_stage(database)
    recipient = NewRecipient(to=NUMBER, jid=JID, text="Ofrece turno", reference="turno-17")
    accepted = await stage.accept(kind=SendKind.INSTRUCTION, recipients=(recipient,))
    assert await stage.conversations.fetch_conversation(stage.business.id, _id(accepted)) == Conversation(
        id=_id(accepted),
        jid=JID,
        instruction="Ofrece turno",
        status=ConversationStatus.OPENING,
        outcome=None,
        summary=None,
        turns=0,
        reference="turno-17",
        created_at=NOW,
        ended_at=None,
    )


async def test_another_business_sees_and_changes_none_of_it(database: Database) -> None:
    stage, stranger = await set_stage(database), await set_stage(database)
    conversation_id = _id(await stage.accept(kind=SendKind.INSTRUCTION))
    assert await _list(stranger) == []
    assert await _list(stranger, jid=JID) == []
    for id in (conversation_id, "cnv_nope"):
        with pytest.raises(NotFound, match=f"no conversation {id}"):
            await stranger.conversations.fetch_conversation(stranger.business.id, id)
        with pytest.raises(NotFound, match=f"no conversation {id}"):
            await stranger.cancel_conversation(id)
    assert await _list(stage, status=ConversationStatus.OPENING) == [conversation_id]


# -------------------------------------------------------------------- cancelling


async def test_cancel_before_the_opening_left_ends_its_send_too(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(kind=SendKind.INSTRUCTION)
    cancelled = await stage.cancel_conversation(_id(accepted), now=at(5))
    assert (cancelled.status, cancelled.outcome, cancelled.ended_at) == (ConversationStatus.CANCELLED, None, at(5))
    (message,) = await stage.messages()
    assert (message.status, message.error_code) == ("cancelled", "conversation_cancelled")
    send = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert (send.status, send.finished_at) == (SendStatus.FINISHED, at(5))
    ended, finished = await stage.told()
    assert (ended.type, ended.data["conversationId"], ended.data["status"]) == (
        EventType.CONVERSATION_ENDED,
        cancelled.id,
        "cancelled",
    )
    assert (finished.type, finished.data["counts"]) == (EventType.SEND_FINISHED, {"cancelled": 1})
    assert await stage.advance(accepted.send.id, now=at(6)) == Idle(why="done")


async def test_cancel_of_one_of_many_leaves_the_others_to_their_send(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(NUMBER, OTHER, kind=SendKind.INSTRUCTION)
    await stage.cancel_conversation(_id(accepted))
    assert [await stage.status(accepted, place) for place in (0, 1)] == [MessageStatus.CANCELLED, MessageStatus.QUEUED]
    send = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert (send.status, send.finished_at) == (SendStatus.QUEUED, None)
    assert await _list(stage, status=ConversationStatus.OPENING) == [_id(accepted, 1)]


async def test_cancel_twice_is_told_once_and_answered_alike(database: Database) -> None:
    stage = await set_stage(database)
    accepted, conversation_id = await _opened(stage)
    first = await stage.cancel_conversation(conversation_id, now=at(5))
    assert await stage.cancel_conversation(conversation_id, now=at(9)) == first
    assert len(await stage.told(EventType.CONVERSATION_ENDED)) == 1
    assert await stage.status(accepted) is MessageStatus.SENT


async def test_cancel_frees_the_chat_and_leaves_its_bot_on(database: Database) -> None:
    stage = await set_stage(database)
    _, conversation_id = await _opened(stage)
    assert (await stage.chat()).conversation_id == conversation_id
    await stage.cancel_conversation(conversation_id, now=at(5))
    chat = await stage.chat()
    assert (chat.conversation_id, chat.bot_enabled, chat.next_step_at) == (None, True, None)


async def test_cancel_takes_back_the_reply_that_has_not_left(database: Database) -> None:
    stage = await set_stage(database)
    _, conversation_id = await _opened(stage)
    await stage.receive(incoming(when=at(1)), now=at(1))
    draft = await stage.answer(now=at(2))
    await stage.cancel_conversation(conversation_id, now=at(3))
    message = await stage.message(draft)
    assert (message.status, message.error_code) == ("cancelled", "superseded")
    assert await stage.claim_message(draft, now=at(4)) is None
    assert (await stage.open_turn(now=at(5))).instruction is None


async def test_cancel_of_one_conversation_leaves_the_chats_other_messages(database: Database) -> None:
    stage = await set_stage(database)
    _, conversation_id = await _opened(stage)
    other = await stage.accept(kind=SendKind.INSTRUCTION, accepted_at=at(1))
    plain = await stage.accept(accepted_at=at(1))
    await stage.cancel_conversation(conversation_id, now=at(2))
    assert [await stage.status(one) for one in (other, plain)] == [MessageStatus.QUEUED, MessageStatus.QUEUED]
    assert await _list(stage, status=ConversationStatus.OPENING) == [_id(other)]


async def test_opening_that_is_on_its_way_stays_as_it_is(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.open_conversation()
    attempt = await stage.claim(accepted.send.id)
    await stage.cancel_conversation(_id(accepted), now=at(1))
    assert await stage.status(accepted) is MessageStatus.SENDING
    await stage.record(sent(attempt), now=at(2))
    assert await stage.status(accepted) is MessageStatus.SENT
    assert await _list(stage, status=ConversationStatus.CANCELLED) == [_id(accepted)]


async def test_opening_that_comes_back_unsent_is_not_tried_again(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.open_conversation()
    attempt = await stage.claim(accepted.send.id)
    await stage.cancel_conversation(_id(accepted), now=at(1))
    assert await stage.advance(accepted.send.id, record=not_sent(attempt), now=at(2)) == Idle(why="done")
    (message,) = await stage.messages()
    assert (message.status, message.error_code) == ("cancelled", "conversation_cancelled")
    assert (await stage.chat()).conversation_id is None
    assert len(await stage.told(EventType.CONVERSATION_ENDED)) == 1


async def test_reply_that_was_being_written_is_written_anew_without_its_goal(database: Database) -> None:
    stage = await set_stage(database)
    _, conversation_id = await _opened(stage)
    await stage.receive(incoming(when=at(1)), now=at(1))
    brief = await stage.open_turn(now=at(2))
    assert brief.instruction is not None
    await stage.cancel_conversation(conversation_id, now=at(3))
    step = await stage.say(brief, "¿A las 15?", now=at(4))
    assert (step.state, step.message_ids) == ("think", ())
    again = await stage.open_turn(now=at(5))
    assert (again.instruction, again.turn_id != brief.turn_id) == (None, True)
    step = await stage.say(again, "¿En qué te ayudo?", now=at(6))
    assert await stage.claim_message(step.message_ids[0], now=at(7)) is not None


@pytest.mark.parametrize("status", [ConversationStatus.DONE, ConversationStatus.EXPIRED, ConversationStatus.HANDED_OFF])
async def test_what_has_ended_otherwise_cannot_be_cancelled(database: Database, status: ConversationStatus) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(kind=SendKind.INSTRUCTION)
    await _end(stage, _id(accepted), status)
    with pytest.raises(Conflict, match=f"has ended as {status}"):
        await stage.cancel_conversation(_id(accepted))
    assert await stage.status(accepted) is MessageStatus.QUEUED
    assert await stage.told() == []


async def test_conversation_whose_opening_failed_cannot_be_cancelled(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept(kind=SendKind.INSTRUCTION)
    (brief,) = await stage.turns.open_openings([accepted.recipients[0].message_id], NOW)
    await stage.turns.fail_turn(brief.turn_id, "model_error", "no answer", NOW)
    with pytest.raises(Conflict):
        await stage.cancel_conversation(_id(accepted))
    told = await stage.conversations.fetch_conversation(stage.business.id, _id(accepted))
    assert told.outcome is ConversationOutcome.ERROR
