"""Two chats that turn out to be one customer's: what becomes of everything in them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import SQLModel

from boton.domain.chats import ChatChange
from boton.domain.events import EventType
from boton.domain.gateway import Attempt, Inbound, Receipt
from boton.domain.messages import MessageStatus
from boton.domain.reminders import NewReminder, Plan, Planned, Timing
from boton.domain.sends import NewRecipient, SendCategory, SendKind, SendStatus
from boton.domain.tools import ToolCall
from boton.errors import NotFound
from boton.store.copying import our_tables
from boton.store.engine import Database
from boton.store.merging import MOVED
from boton.store.reminders import SqlReminderStore
from boton.store.tables import (
    AliasRow,
    ChatRow,
    ConversationRow,
    FollowUpRow,
    MessageRow,
    ReceiptRow,
    ReminderRow,
    TurnRow,
)
from tests.store.builders import NOW, at, jid_of
from tests.store.stage import (
    JID,
    NUMBER,
    OTHER,
    Stage,
    incoming,
    minutes,
    not_sent,
    receipt,
    sent,
    set_stage,
    typed,
)

LID = "1029384756@lid"
BELONGINGS = (MessageRow, TurnRow, ConversationRow, FollowUpRow, ReminderRow, AliasRow, ReceiptRow)


def unknown(text: str = "hola", *, when: datetime = NOW, **changes: Any) -> Inbound:
    """The customer writes, and WhatsApp does not tell their number."""
    return incoming(text, jid=LID, when=when, **changes)


def proof(text: str = "soy yo", *, when: datetime = NOW, **changes: Any) -> Inbound:
    """The customer writes, and WhatsApp tells that LID and number are one."""
    return incoming(text, also_known_as=(LID,), when=when, **changes)


def receipt_as_proof(*whatsapp_ids: str) -> Receipt:
    return replace(receipt("delivered", *(whatsapp_ids or ("W-0",))), also_known_as=(LID,))


async def two_chats(stage: Stage, *, number_is_written_to: bool = True) -> None:
    await stage.receive(unknown())
    if number_is_written_to:
        await stage.accept(NUMBER)


async def only_chat(stage: Stage) -> ChatRow:
    (chat,) = await stage.all(ChatRow)
    return chat


async def texts(stage: Stage, jid: str = JID) -> list[str]:
    _, messages, _ = await stage.chats.list_messages(stage.business.id, jid, limit=50)
    return [message.text for message in messages]


async def remind(stage: Stage, jid: str, *, due: datetime, accepted_at: datetime = NOW, **changes: Any) -> str:
    new = NewReminder(
        business_id=stage.business.id,
        recipient=NewRecipient(to=jid, jid=jid, text="mañana"),
        kind=SendKind.MESSAGE,
        timing=Timing(starts_at=due),
        plan=Plan(firings=(Planned(at=due, expires_at=due + timedelta(hours=6)),)),
        accepted_at=accepted_at,
        **changes,
    )
    accepted = await SqlReminderStore(stage.database).accept_reminder(new, lambda _: {})
    return accepted.reminder.id


# -------------------------------------------------------------------- one chat


@pytest.mark.parametrize(
    "proves",
    [proof(when=at(4)), typed(also_known_as=(LID,), when=at(4)), receipt_as_proof()],
    ids=["message", "typed on the phone", "receipt"],
)
async def test_two_chats_become_one_when_they_are_proved_to_be_one_customers(
    database: Database, proves: Inbound | Receipt
) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown("uno", when=at(1)))
    await stage.deliver(NUMBER, now=at(2))
    await stage.receive(unknown("tres", when=at(3)), now=at(3))
    assert await stage.tally() == (2, 0, 0)
    assert len(await stage.all(ChatRow)) == 2

    await stage.receive(proves, now=at(5))

    chat = await only_chat(stage)
    assert await stage.tally() == (1, 0, 0)
    assert (await stage.chat(LID)).id == (await stage.chat()).id == chat.id
    assert chat.jid == JID
    assert (await texts(stage))[:3] == (await texts(stage, LID))[:3] == ["uno", f"hola {NUMBER}", "tres"]
    assert chat.message_count == len(await texts(stage))
    assert (chat.known, chat.first_incoming_at) == (True, at(1))
    assert chat.last_text == (await texts(stage))[-1]


async def test_proof_in_one_batch_with_what_it_proves_is_heeded_from_the_first_message_on(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown("uno"))
    await stage.receive(incoming("dos", when=at(1)), proof("tres", when=at(2)), unknown("cuatro", when=at(3)))
    assert await texts(stage) == ["uno", "dos", "tres", "cuatro"]
    assert (await only_chat(stage)).message_count == 4


async def test_merge_happens_once_however_often_it_is_told(database: Database) -> None:
    stage = await set_stage(database)
    await two_chats(stage)
    await stage.receive(proof(whatsapp_id="W1"), proof(whatsapp_id="W1"))
    before = await only_chat(stage), await stage.messages()
    await stage.receive(proof(whatsapp_id="W1"), receipt_as_proof())
    assert (await only_chat(stage), await stage.messages()) == before
    assert await stage.tally() == (1, 0, 0)


async def test_three_chats_of_one_customer_become_one(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown(), incoming(jid="555@lid"), incoming())
    assert len(await stage.all(ChatRow)) == 3
    await stage.receive(incoming(also_known_as=(LID, "555@lid")))
    assert (await only_chat(stage)).message_count == 4
    assert await stage.tally() == (1, 0, 0)


async def test_number_that_was_changed_is_shown_as_it_is_now(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming(number=OTHER, also_known_as=(LID,)), incoming(number=OTHER), incoming())
    await stage.receive(proof())
    assert (await only_chat(stage)).jid == JID
    assert (await stage.chat(OTHER)).id == (await stage.chat()).id


async def test_same_names_of_another_business_stay_apart(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    for each in (stage, other):
        await two_chats(each)
    await stage.receive(proof())
    assert await stage.tally() == (1, 0, 0)
    assert await other.tally() == (2, 0, 0)
    assert (await other.chat(LID)).id != (await other.chat()).id


async def test_look_up_before_a_first_contact_proves_it_too(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown("BAJA"))
    accepted = await stage.accept(NUMBER, category=SendCategory.MARKETING)
    message_id = accepted.recipients[0].message_id
    await stage.outbox.note_recipient(message_id, [JID, LID], at(1))
    assert (await only_chat(stage)).registered
    await stage.advance(accepted.send.id, now=at(2))
    assert (await stage.message(message_id)).error_code == "opted_out"


async def test_look_up_tells_which_chats_are_to_be_looked_at(database: Database) -> None:
    """The run of the one that is gone ends, that of the one that is left goes on with what was owed in both."""
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(unknown())
    accepted = await stage.accept(NUMBER)
    await stage.receive(*(incoming(history=True, when=at(-9)) for _ in range(3)))
    gone = (await stage.chat(LID)).id
    due = await stage.outbox.note_recipient(accepted.recipients[0].message_id, [JID, LID], at(1))
    assert set(due) == {gone, (await only_chat(stage)).id}


# -------------------------------------------------------------------- everything of a chat


def test_everything_that_belongs_to_a_chat_is_known_to_the_merge() -> None:
    named = {table.name for table in our_tables() if "chat_id" in table.c}
    assert named == {row.__tablename__ for row in BELONGINGS}
    assert {*MOVED, ReceiptRow} == set(BELONGINGS)


async def _fill(stage: Stage, jid: str) -> None:
    """Something of every kind in one chat."""
    await stage.businesses.update_config(stage.business.id, {"follow_ups": [{"afterHours": 1}]})
    recipient = NewRecipient(to=jid, jid=jid, text="ofrecé turnos")
    accepted = await stage.open_conversation(recipients=(recipient,))
    await stage.record(sent(await stage.claim(accepted.send.id)))
    await remind(stage, jid, due=at(3600))
    await stage.receive(Receipt(jid=jid, whatsapp_ids=("later",), kind=receipt("read").kind, at=NOW))


@pytest.mark.parametrize(("filled", "more"), [(LID, JID), (JID, LID)], ids=["LID", "number"])
async def test_everything_of_the_chat_that_goes_is_the_others(database: Database, filled: str, more: str) -> None:
    stage = await set_stage(database)
    await _fill(stage, filled)
    await stage.receive(*(incoming(jid=more) for _ in range(5)))
    gone, left = (await stage.chat(filled)).id, (await stage.chat(more)).id
    before = {row: len(await stage.all(row)) for row in BELONGINGS}
    for row in BELONGINGS:
        assert gone in {one.chat_id for one in await _rows(stage, row)}, row

    await stage.receive(receipt_as_proof("W-0"))

    assert (await only_chat(stage)).id == left
    for row in BELONGINGS:
        assert {one.chat_id for one in await _rows(stage, row)} == {left}
        assert len(await stage.all(row)) == before[row] + (row is ReceiptRow)


async def _rows(stage: Stage, row: type[SQLModel]) -> list[Any]:
    return await stage.all(row)


async def test_receipts_that_came_under_the_other_name_are_matched(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown())
    accepted, id = await stage.deliver(NUMBER)
    read = replace(receipt("read", id), jid=LID)
    await stage.receive(read, replace(read, kind=receipt("delivered").kind))
    assert await stage.status(accepted) is MessageStatus.SENT
    await stage.receive(receipt_as_proof("W-0"))
    assert await stage.status(accepted) is MessageStatus.READ
    assert [row.whatsapp_id for row in await stage.all(ReceiptRow)] == ["W-0"]


async def test_message_that_is_in_both_chats_is_in_the_one_that_is_left_once(database: Database) -> None:
    stage = await set_stage(database)
    twin = {"whatsapp_id": "W1", "when": at(1)}
    await stage.receive(unknown("hola", **twin), incoming("hola", **twin), incoming("chau", when=at(2)))
    await stage.receive(receipt_as_proof())
    assert await texts(stage) == ["hola", "chau"]
    assert (await only_chat(stage)).message_count == 2


async def test_our_own_message_that_was_taken_for_a_humans_is_no_takeover(database: Database) -> None:
    """The phone showed it under the LID, before its id was known here."""
    stage = await set_stage(database)
    accepted, id = await stage.deliver(NUMBER)
    await stage.receive(typed(jid=LID, whatsapp_id=id, when=at(1)), now=at(1))
    assert (await stage.chat(LID)).takeover_until is not None
    await stage.receive(receipt_as_proof(), now=at(2))
    chat = await only_chat(stage)
    assert (chat.takeover_until, chat.message_count, chat.last_text) == (None, 1, f"hola {NUMBER}")
    assert [row.id for row in await stage.messages()] == [accepted.recipients[0].message_id]


async def test_result_of_what_was_on_its_way_is_recorded_in_the_chat_that_is_left(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown(), unknown())
    accepted = await stage.accept(NUMBER)
    attempt = await stage.claim(accepted.send.id)
    gone = (await stage.chat()).id
    await stage.receive(receipt_as_proof())
    assert gone not in {one.id for one in await stage.all(ChatRow)}
    await stage.record(sent(attempt, whatsapp_id="W-0"))
    assert await stage.status(accepted) is MessageStatus.DELIVERED
    assert (await stage.message(attempt.message_id)).chat_id == (await only_chat(stage)).id


async def test_bulk_that_was_being_accepted_finds_the_chat_that_is_left(database: Database) -> None:
    """Its chats are found in transactions of their own, before it is stored."""
    stage = await set_stage(database)
    await two_chats(stage)
    await stage.receive(unknown(), unknown())
    find_chats, merged = stage.sends._ensure_chats, False

    async def find_chats_before_the_merge(new: Any) -> Any:
        nonlocal merged
        found = await find_chats(new)
        if not merged:
            merged = True
            await stage.receive(proof())
        return found

    stage.sends._ensure_chats = find_chats_before_the_merge  # type: ignore[method-assign]
    others = [str(14155550000 + number) for number in range(60)]
    accepted = await stage.accept(NUMBER, *others)
    assert len(accepted.recipients) == 61
    assert (await stage.message(accepted.recipients[0].message_id)).chat_id == (await stage.chat(LID)).id


# -------------------------------------------------------------------- what holds afterwards


@pytest.mark.parametrize("jid", [JID, LID])
async def test_who_opted_out_in_one_chat_gets_no_marketing_that_waited_for_the_other(
    database: Database, jid: str
) -> None:
    stage = await set_stage(database)
    other = LID if jid == JID else JID
    await stage.receive(incoming("BAJA", jid=jid))
    recipient = NewRecipient(to=other, jid=other, text="oferta")
    waiting = await stage.accept(recipients=(recipient,), category=SendCategory.MARKETING)
    await stage.receive(receipt_as_proof())
    assert (await only_chat(stage)).opted_out
    await stage.advance(waiting.send.id, now=at(1))
    assert (await stage.message(waiting.recipients[0].message_id)).error_code == "opted_out"
    assert len(await stage.told(EventType.CHAT_OPTED_OUT)) == 1


async def test_marketing_that_both_chats_left_unanswered_counts_together(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown())
    for jid in (JID, LID):
        recipient = NewRecipient(to=jid, jid=jid, text="oferta")
        await stage.deliver(recipients=(recipient,), category=SendCategory.MARKETING)
    await stage.receive(receipt_as_proof())
    third = await stage.accept(NUMBER, category=SendCategory.MARKETING)
    await stage.advance(third.send.id)
    assert (await stage.message(third.recipients[0].message_id)).error_code == "unanswered_cap"


@pytest.mark.parametrize("jid", [JID, LID])
@pytest.mark.parametrize(
    ("change", "code"),
    [({"untouchable": True}, "untouchable"), ({"bot_enabled": False}, "bot_off")],
    ids=["untouchable", "bot off"],
)
async def test_what_keeps_the_bot_out_of_one_chat_keeps_it_out_of_both(
    database: Database, jid: str, change: dict[str, bool], code: str
) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    other = LID if jid == JID else JID
    await stage.receive(incoming(jid=other))
    draft = await stage.answer(other)
    await stage.change(jid, **change)
    await stage.receive(receipt_as_proof())
    assert await stage.claim_message(draft, now=at(1)) is None
    assert (await stage.message(draft)).error_code == code
    assert await stage.tally() == (1, 0, int(code == "untouchable"))


@pytest.mark.parametrize("jid", [JID, LID])
async def test_human_who_holds_one_chat_holds_both(database: Database, jid: str) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    other = LID if jid == JID else JID
    await stage.receive(incoming(jid=other))
    draft = await stage.answer(other)
    await stage.receive(typed(jid=jid, when=at(9)), now=at(9))
    await stage.receive(receipt_as_proof(), now=at(10))
    assert (await only_chat(stage)).takeover_until == minutes(120 + 9 / 60)
    assert await stage.claim_message(draft, now=at(11)) is None
    assert (await stage.message(draft)).error_code == "held_by_human"


async def test_chat_that_was_only_written_to_switches_no_bot_off(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(unknown())
    await stage.deliver(NUMBER)
    await stage.receive(receipt_as_proof())
    assert (await only_chat(stage)).bot_enabled
    assert await stage.tally() == (1, 1, 0)


async def test_name_that_the_business_gave_stays(database: Database) -> None:
    stage = await set_stage(database)
    await stage.change(NUMBER, name="Juan Pérez")
    await stage.receive(unknown(push_name="juancito", when=at(5)), unknown(push_name="juancito", when=at(6)))
    await stage.receive(receipt_as_proof())
    chat = await only_chat(stage)
    assert (chat.name, chat.name_is_ours) == ("Juan Pérez", True)


async def test_send_that_waits_for_a_stranger_is_looked_at_when_they_turn_out_to_be_known(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown())
    accepted = await stage.accept(NUMBER)
    await stage.receive(receipt_as_proof(), now=at(7))
    found = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert found.next_step_at == at(7)
    assert (await only_chat(stage)).known


# -------------------------------------------------------------------- one send, two recipients who are one


def _both(*, text: str = "hola") -> tuple[NewRecipient, ...]:
    return tuple(NewRecipient(to=jid, jid=jid, text=text) for jid in (JID, LID))


async def test_send_that_waits_for_both_names_goes_out_once(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown())
    accepted = await stage.accept(recipients=_both())
    await stage.receive(receipt_as_proof())
    assert [await stage.status(accepted, place) for place in (0, 1)] == [
        MessageStatus.QUEUED,
        MessageStatus.CANCELLED,
    ]
    assert (await stage.message(accepted.recipients[1].message_id)).error_code == "repeated"
    await stage.record(sent(await stage.claim(accepted.send.id)))
    await stage.advance(accepted.send.id)
    found = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert found.status is SendStatus.FINISHED


async def test_send_that_reached_one_name_is_over_for_the_other(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown())
    accepted = await stage.accept(recipients=_both())
    await stage.record(sent(await stage.claim(accepted.send.id)))
    await stage.sends.pause_send(stage.business.id, accepted.send.id)
    await stage.receive(receipt_as_proof(), now=at(3))
    assert [await stage.status(accepted, place) for place in (0, 1)] == [MessageStatus.SENT, MessageStatus.CANCELLED]
    assert len(await stage.told(EventType.SEND_FINISHED)) == 1


async def test_name_that_could_not_be_reached_keeps_nothing_from_the_other(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown())
    accepted = await stage.accept(recipients=_both())
    await stage.outbox.note_recipient(accepted.recipients[0].message_id, (), NOW)
    await stage.receive(receipt_as_proof())
    assert [await stage.status(accepted, place) for place in (0, 1)] == [MessageStatus.FAILED, MessageStatus.QUEUED]


async def test_two_copies_that_have_left_stay(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown())
    accepted = await stage.accept(recipients=_both())
    attempts = await stage.claim_some(accepted.send.id, 1) + await stage.claim_some(accepted.send.id, 1)
    await stage.receive(receipt_as_proof())
    for attempt in attempts:
        await stage.record(sent(attempt))
    assert [await stage.status(accepted, place) for place in (0, 1)] == [MessageStatus.SENT] * 2


async def test_instruction_for_both_names_opens_one_conversation(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(unknown())
    accepted = await stage.accept(recipients=_both(), kind=SendKind.INSTRUCTION)
    await stage.receive(receipt_as_proof())
    conversations = {one.id: one.status for one in await stage.all(ConversationRow)}
    assert [conversations[one.conversation_id or ""] for one in accepted.recipients] == ["opening", "cancelled"]
    assert [event.data["status"] for event in await stage.told(EventType.CONVERSATION_ENDED)] == ["cancelled"]


# -------------------------------------------------------------------- dialogues


async def _open(stage: Stage, jid: str, now: datetime, instruction: str = "ofrecé turnos") -> str:
    """A conversation whose opening has left."""
    recipient = NewRecipient(to=jid, jid=jid, text=instruction)
    accepted = await stage.open_conversation(recipients=(recipient,), accepted_at=now, now=now)
    await stage.record(sent(await stage.claim(accepted.send.id, now=now), now=now), now=now)
    return accepted.recipients[0].conversation_id or ""


@pytest.mark.parametrize(("first", "second"), [(JID, LID), (LID, JID)])
async def test_of_two_conversations_the_newer_goes_on(database: Database, first: str, second: str) -> None:
    stage = await set_stage(database)
    older, newer = await _open(stage, first, at(0)), await _open(stage, second, at(60), "cobrá la deuda")
    await stage.receive(unknown(when=at(65)), now=at(65))
    await stage.receive(receipt_as_proof(), now=at(70))
    chat = await only_chat(stage)
    assert (chat.conversation_id, chat.bot_enabled) == (newer, True)
    (ended,) = await stage.told(EventType.CONVERSATION_ENDED)
    assert (ended.data["conversationId"], ended.data["status"], ended.data["jid"]) == (older, "cancelled", JID)
    brief = await stage.open_turn(now=at(71))
    assert brief.instruction == "cobrá la deuda"


async def test_conversation_that_goes_on_keeps_the_bot_on(database: Database) -> None:
    """As in one chat: the opening switches it on, where it was off by default, and ends an older takeover."""
    stage = await set_stage(database)
    await stage.receive(unknown(when=at(-90)), typed(jid=LID, when=at(-80)), now=at(-80))
    conversation = await _open(stage, JID, at(0))
    await stage.receive(proof("sí, dale", when=at(5)), now=at(6))
    chat = await only_chat(stage)
    assert (chat.conversation_id, chat.bot_enabled, chat.takeover_until) == (conversation, True, None)
    assert (await stage.open_turn(now=at(7))).instruction == "ofrecé turnos"


@pytest.mark.parametrize(("switched_off", "wanted"), [(-5, (True, "due")), (5, (False, "bot_off"))])
@pytest.mark.parametrize(("opened", "switched"), [(JID, LID), (LID, JID)])
async def test_bot_that_is_switched_off_after_the_opening_stays_off(
    database: Database, opened: str, switched: str, switched_off: int, wanted: tuple[bool, str]
) -> None:
    """Whichever of the two chats is left, and whatever order they were changed in."""
    stage = await set_stage(database)
    off = ChatChange(bot_enabled=False)
    if switched_off < 0:
        await stage.chats.change_chat(stage.business.id, switched, off, at(switched_off))
    conversation = await _open(stage, opened, at(0))
    if switched_off > 0:
        await stage.chats.change_chat(stage.business.id, switched, off, at(switched_off))
    await stage.receive(proof("sí, dale", when=at(6)), now=at(6))
    chat = await only_chat(stage)
    assert (chat.conversation_id, chat.bot_enabled, (await stage.messages())[-1].answer) == (conversation, *wanted)


async def test_human_who_took_over_after_the_instruction_holds_its_chat(database: Database) -> None:
    stage = await set_stage(database)
    await _open(stage, JID, at(0))
    await stage.receive(typed(jid=LID, when=at(5)), now=at(5))
    await stage.receive(proof("sí, dale", when=at(6)), now=at(6))
    assert (await stage.messages())[-1].answer == "held"


async def test_opening_that_comes_back_for_a_conversation_that_was_replaced_never_leaves(database: Database) -> None:
    stage = await set_stage(database)
    recipient = NewRecipient(to=LID, jid=LID, text="viejo")
    accepted = await stage.open_conversation(recipients=(recipient,))
    attempt = await stage.claim(accepted.send.id)
    await _open(stage, JID, at(60))
    await stage.receive(receipt_as_proof(), now=at(70))
    await stage.record(not_sent(attempt), now=at(71))
    await stage.advance(accepted.send.id, now=at(72))
    assert await stage.status(accepted) is MessageStatus.CANCELLED


async def test_answer_in_one_chat_ends_what_waited_for_it_in_the_other(database: Database) -> None:
    stage = await set_stage(database)
    await stage.businesses.update_config(stage.business.id, {"follow_ups": [{"afterHours": 1}]})
    opened = await stage.open_conversation()
    await stage.record(sent(await stage.claim(opened.send.id)))
    wanted = await remind(stage, JID, due=minutes(90), accepted_at=at(20), cancel_on_reply=True)
    unwanted = await remind(stage, JID, due=minutes(90), cancel_on_reply=True)
    await stage.receive(unknown("dale", when=at(10)), unknown("gracias", when=at(11)), now=at(12))
    assert (await stage.message(opened.recipients[0].message_id)).replied_at is None
    await stage.receive(receipt_as_proof(), now=at(30))
    assert (await stage.message(opened.recipients[0].message_id)).replied_at == at(10)
    assert [row.status for row in await stage.all(FollowUpRow)] == ["cancelled"]
    assert {row.id: row.status for row in await stage.all(ReminderRow)} == {wanted: "scheduled", unwanted: "cancelled"}


# -------------------------------------------------------------------- what the bot owes


async def test_everything_that_is_owed_in_both_chats_is_answered_once(database: Database) -> None:
    """Whichever of them the model is writing for: it knows half of what is to be answered."""
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(unknown("¿precio?"))
    gone = (await stage.chat(LID)).id
    await stage.receive(incoming("¿horario?"), incoming("¿dirección?"))
    lids_turn, numbers_turn = await stage.open_turn(LID), await stage.open_turn()
    owed = await stage.receive(receipt_as_proof(), now=at(1))
    chat = await only_chat(stage)
    assert (set(owed), chat.next_step_at) == ({gone, chat.id}, at(1))
    assert (await stage.turns.advance_chat(gone, at(2))).state == "gone"
    for brief in (lids_turn, numbers_turn):
        assert (await stage.say(brief, "¡Hola!", now=at(2))).state == "think"
    brief = await stage.open_turn(now=at(3))
    assert [line.text for line in brief.history] == ["¿precio?", "¿horario?", "¿dirección?"]
    (draft,) = await stage.close_turn(brief, now=at(3))
    assert {row.answer for row in await stage.messages()} == {"answered", None}
    assert await stage.undelivered(now=at(3)) == (stage.connection.id, [draft])


async def test_reply_that_was_ready_is_sent_once_by_whoever_looks(database: Database) -> None:
    """The run of the chat that is gone may have it in hand still."""
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(unknown())
    draft = await stage.answer(LID)
    await stage.receive(incoming(when=at(-1)), incoming(when=at(-1)))
    await stage.answer()
    await stage.receive(receipt_as_proof())
    (first, _) = (await stage.undelivered(now=at(1)))[1]
    assert first == draft
    assert isinstance(await stage.claim_message(draft, now=at(1)), Attempt)
    assert await stage.claim_message(draft, now=at(1)) is None


async def test_turn_whose_tools_have_done_something_goes_on(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(unknown("¿turno?"))
    call = ToolCall(id="call_1", name="book", arguments="{}")
    step = await stage.say(await stage.open_turn(LID), calls=[call])
    await stage.turns.answer_call(step.calls[0], "reservado", None, NOW, ok=True)
    await stage.change(NUMBER, name="Juan")
    await stage.receive(receipt_as_proof())
    brief = await stage.open_turn(now=at(1))
    assert [one.text for one in brief.rounds[0].answers] == ["reservado"]


async def test_human_who_holds_one_chat_has_dealt_with_what_came_in_the_other(database: Database) -> None:
    """Handed back at once, it is not the bot's to answer all the same."""
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(unknown())
    await stage.receive(typed(when=at(1)), now=at(1))
    await stage.receive(receipt_as_proof(), now=at(2))
    await stage.change(NUMBER, bot_enabled=True, now=at(3))
    assert (await stage.look(now=at(4))).brief is None
    assert {row.answer for row in await stage.messages()} == {"held", None}


async def test_tool_of_a_turn_that_was_dropped_is_not_run(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(unknown(whatsapp_id="W1"))
    call = ToolCall(id="call_1", name="tool", arguments="{}")
    step = await stage.say(await stage.open_turn(LID), calls=[call])
    await stage.receive(incoming(whatsapp_id="W1"), incoming())
    await stage.receive(receipt_as_proof())
    assert await stage.turns.fetch_call(step.calls[0]) is None


async def test_chat_that_never_was_is_gone_too(database: Database) -> None:
    stage = await set_stage(database)
    assert (await stage.turns.advance_chat("cht_0", NOW)).state == "gone"
    with pytest.raises(NotFound):
        await stage.chats.fetch_chat(stage.business.id, jid_of(OTHER))
