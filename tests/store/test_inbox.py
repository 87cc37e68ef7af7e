"""What comes in: messages, own messages, receipts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from boton.domain.connections import ConnectionStatus
from boton.domain.events import EventType
from boton.domain.gateway import GatewayEvent, StatusChange
from boton.domain.messages import MessageStatus, MessageType
from boton.errors import NotFound, StaleEpoch
from boton.store.engine import Database
from boton.store.tables import AliasRow, ChatRow, ReceiptRow
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
    unconfirmed,
)

LID = "1029384756@lid"


async def test_incoming_message_is_stored_shown_and_told(database: Database) -> None:
    stage = await set_stage(database)
    assert await stage.receive(incoming("hola", push_name="Juan", when=at(1)), now=at(2)) == []
    (row,) = await stage.messages()
    assert (row.direction, row.status, row.sender, row.text, row.at) == (
        "incoming",
        "received",
        "customer",
        "hola",
        at(1),
    )
    chat = await stage.chat()
    assert (chat.name, chat.message_count, chat.last_text, chat.last_at, chat.known) == ("Juan", 1, "hola", at(1), True)
    (event,) = await stage.told(EventType.MESSAGE_RECEIVED)
    assert event.data == {
        "messageId": row.id,
        "jid": JID,
        "name": "Juan",
        "type": "text",
        "text": "hola",
        "conversationId": None,
    }


async def test_message_is_stored_once_however_often_it_comes(database: Database) -> None:
    stage = await set_stage(database)
    message = incoming(whatsapp_id="W1")
    events = [GatewayEvent(cursor=7, body=message), GatewayEvent(cursor=8, body=message)]
    for _ in range(2):
        await stage.inbox.record_events(stage.connection.id, stage.epoch, events, NOW)
    await stage.receive(message, incoming(whatsapp_id="W1", number=OTHER))
    assert len(await stage.messages()) == 2
    assert (await stage.chat()).message_count == 1
    assert len(await stage.told(EventType.MESSAGE_RECEIVED)) == 2


async def test_cursor_grows_with_what_is_stored(database: Database) -> None:
    stage = await set_stage(database)
    await stage.inbox.record_events(stage.connection.id, stage.epoch, [GatewayEvent(cursor=9, body=incoming())], NOW)
    assert await stage.inbox.fetch_cursor(stage.connection.id) == 9
    await stage.inbox.record_events(stage.connection.id, stage.epoch, [GatewayEvent(cursor=8, body=incoming())], NOW)
    assert await stage.inbox.fetch_cursor(stage.connection.id) == 9
    assert len(await stage.messages()) == 1
    with pytest.raises(NotFound):
        await stage.inbox.fetch_cursor("con_0")


async def test_link_of_an_older_epoch_stores_nothing(database: Database) -> None:
    stage = await set_stage(database)
    await stage.connections.raise_epoch(stage.connection.id, NOW)
    with pytest.raises(StaleEpoch):
        await stage.receive(incoming())
    assert await stage.messages() == []
    assert await stage.inbox.fetch_cursor(stage.connection.id) == 0


async def test_flood_is_stored_in_pieces_and_owes_each_chat_once(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    flood = [incoming(number=number) for number in (NUMBER, OTHER)] * 15
    flood = [replace(one, whatsapp_id=f"W{place}") for place, one in enumerate(flood)]
    assert len(await stage.receive(*flood)) == 2
    assert await stage.inbox.fetch_cursor(stage.connection.id) == 30
    assert [(await stage.chat(number)).message_count for number in (NUMBER, OTHER)] == [15, 15]


@pytest.mark.parametrize("jid", ["123456-654321@g.us", "status@broadcast", "120363000@newsletter"])
async def test_groups_broadcasts_and_channels_are_not_stored(database: Database, jid: str) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    assert await stage.receive(incoming(jid=jid), typed(jid=jid)) == []
    assert await stage.messages() == []
    assert await stage.all(ChatRow) == []
    assert await stage.inbox.fetch_cursor(stage.connection.id) == 2


async def test_text_that_no_store_can_hold_does_not_stop_the_journal(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming("a\x00b\ud800", push_name="Ju\x00an\udfff"))
    (row,) = await stage.messages()
    assert row.text == "ab?"
    assert (await stage.chat()).name == "Juan?"


async def test_same_customer_of_two_businesses_is_two_chats(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    await stage.receive(incoming("uno", whatsapp_id="W1"))
    await other.receive(incoming("dos", whatsapp_id="W1"))
    assert (await stage.chat()).last_text == "uno"
    assert (await other.chat()).last_text == "dos"
    assert len(await stage.told()) == len(await other.told()) == 1


# -------------------------------------------------------------------- one customer, one chat


async def test_lid_and_phone_number_are_one_chat(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming(jid=LID, also_known_as=(JID,)), incoming(), incoming(jid=LID))
    assert len(await stage.all(ChatRow)) == 1
    assert (await stage.chat(LID)).message_count == 3
    assert (await stage.chat(LID)).jid == JID


async def test_chat_known_by_its_lid_alone_is_shown_by_the_number_once_it_is_told(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming(jid=LID))
    assert (await stage.chat(LID)).jid == LID
    await stage.receive(replace(receipt("read", "W1"), also_known_as=(LID,)))
    assert (await stage.chat(LID)).jid == (await stage.chat()).jid == JID


async def test_customer_known_by_number_is_found_by_a_new_lid(database: Database) -> None:
    stage = await set_stage(database)
    await stage.accept(NUMBER)
    await stage.receive(incoming(jid=LID, also_known_as=(JID,)))
    chat = await stage.chat(LID)
    assert chat.id == (await stage.chat()).id
    assert chat.jid == JID
    assert await stage.tally() == (1, 0, 0)


async def test_argentine_spellings_are_one_chat(database: Database) -> None:
    stage = await set_stage(database)
    await stage.accept("541112345678")
    await stage.receive(incoming(jid=JID), incoming(jid="5491112345678:3@s.whatsapp.net"))
    (chat,) = await stage.all(ChatRow)
    assert (chat.jid, chat.message_count) == (jid_of("541112345678"), 2)


async def test_alias_that_names_nobody_joins_no_chats(database: Database) -> None:
    stage = await set_stage(database)
    for number in (NUMBER, OTHER):
        await stage.receive(incoming(number=number, also_known_as=("", "123-456@g.us")))
    assert len(await stage.all(ChatRow)) == 2
    assert {one.jid for one in await stage.all(AliasRow)} == {
        jid_of(one) for one in (NUMBER, "541112345678", OTHER, "541198765432")
    }


# -------------------------------------------------------------------- is it the bot's to answer?


async def _receive_one(stage: Stage, **changes: Any) -> str | None:
    now = changes.pop("now", NOW)
    await stage.receive(incoming(**changes), now=now)
    return (await stage.messages())[-1].answer


async def test_new_chat_is_the_bots_where_the_business_wants_it(database: Database) -> None:
    stage, other = await set_stage(database, bot_new_chats=True), await set_stage(database)
    assert await _receive_one(stage) == "due"
    assert await stage.tally() == (1, 1, 0)
    assert (await stage.chat()).next_step_at == NOW
    assert await _receive_one(other) == "bot_off"
    assert await other.tally() == (1, 0, 0)
    await other.businesses.update_config(other.business.id, {"bot_new_chats": True})
    assert await _receive_one(other) == "bot_off"


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"bot_enabled": False}, "bot_off"),
        ({"bot_enabled": True}, "due"),
        ({"untouchable": True}, "untouchable"),
        ({"name": "Mamá"}, "due"),
    ],
)
async def test_patch_before_the_customer_writes_is_respected(
    database: Database, change: dict[str, Any], answer: str
) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.change(**change)
    assert await _receive_one(stage, push_name="Juan") == answer
    assert (await stage.chat()).name == change.get("name", "Juan")


async def test_customer_who_wrote_in_the_history_is_not_new(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    assert await _receive_one(stage, history=True, when=minutes(-600)) == "history"
    assert await stage.told(EventType.MESSAGE_RECEIVED) == []
    assert await _receive_one(stage) == "bot_off"


async def test_customer_to_whom_the_business_wrote_first_is_new(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.deliver()
    await stage.receive(typed(history=True, when=minutes(-600)))
    assert await _receive_one(stage) == "due"


async def test_message_is_too_old_to_be_answered(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    assert await _receive_one(stage, when=NOW, now=minutes(361)) == "too_old"
    assert await _receive_one(stage, when=NOW, now=minutes(360)) == "due"


async def test_message_of_a_held_chat_is_never_answered_later(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(typed(when=at(0)))
    assert await stage.receive(incoming(when=at(10)), now=at(10)) == []
    await stage.change(bot_enabled=True, now=at(20))
    chat = await stage.chat()
    assert (await stage.look(now=at(30))).brief is None
    assert await stage.receive(incoming(when=at(40)), now=at(40)) == [chat.id]


async def test_takeover_ends_by_itself(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(typed(when=at(0)))
    assert await _receive_one(stage, when=minutes(119), now=minutes(119)) == "held"
    assert await _receive_one(stage, when=minutes(120), now=minutes(120)) == "due"


async def test_owed_chats_are_named_once(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    owed = await stage.receive(incoming(), incoming(number=OTHER), incoming())
    assert owed == [(await stage.chat()).id, (await stage.chat(OTHER)).id]


# -------------------------------------------------------------------- takeover


async def test_typed_message_takes_the_chat_over_and_tells_it_once(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(typed(when=at(0)), typed(when=at(30)), now=at(30))
    chat = await stage.chat()
    assert (chat.taken_over_at, chat.takeover_until) == (at(30), at(30) + timedelta(minutes=120))
    assert len(await stage.told(EventType.CHAT_TAKEN_OVER)) == 1
    rows = await stage.messages()
    assert [(row.sender, row.status, row.direction) for row in rows] == [("human", "received", "outgoing")] * 2


async def test_typed_messages_out_of_order_do_not_shorten_the_takeover(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(typed(when=at(60)), typed(when=at(0)), now=at(60))
    assert (await stage.chat()).takeover_until == at(60) + timedelta(minutes=120)


@pytest.mark.parametrize(
    "own",
    [
        typed(when=at(2)),
        typed("Estamos cerrados", when=at(60)),
        typed(when=at(60), history=True),
        typed(when=minutes(-200)),
        typed("Reacted with 👍", when=at(60), type=MessageType.REACTION),
    ],
    ids=["greeting", "auto reply", "history", "long ago", "reaction"],
)
async def test_what_no_human_types_now_is_no_takeover(database: Database, own: Any) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.businesses.update_config(stage.business.id, {"auto_replies": ("Estamos cerrados",)})
    await stage.receive(incoming(when=at(0)))
    await stage.receive(own, now=at(61))
    chat = await stage.chat()
    assert (chat.takeover_until, chat.message_count) == (None, 2)
    assert await stage.told(EventType.CHAT_TAKEN_OVER) == []


async def test_typed_message_older_than_the_last_turn_is_no_takeover(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming(when=at(0)), now=at(0))
    assert await stage.claim_message(await stage.answer(now=at(60)), now=at(61)) is not None
    await stage.receive(typed(when=at(59)), now=at(61))
    assert (await stage.chat()).takeover_until is None
    await stage.receive(typed(when=at(62)), now=at(62))
    assert (await stage.chat()).takeover_until is not None


async def test_own_attempt_is_no_takeover(database: Database) -> None:
    stage = await set_stage(database)
    _, whatsapp_id = await stage.deliver()
    await stage.receive(typed(whatsapp_id=whatsapp_id))
    attempt = await stage.claim((await stage.accept()).send.id)
    await stage.receive(typed(attempt_id=attempt.id, whatsapp_id="W2", jid=LID, when=at(5)))
    row = await stage.message(attempt.message_id)
    assert (row.status, row.whatsapp_id, row.sent_at) == ("sent", "W2", at(5))
    await stage.record(unconfirmed(attempt))
    await stage.record(not_sent(attempt))
    assert (await stage.message(attempt.message_id)).status == "sent"
    assert (await stage.chat()).takeover_until is None
    assert len(await stage.messages()) == len({row.id for row in await stage.messages()}) == 2
    assert await stage.tally() == (1, 0, 0)


async def test_own_attempt_seen_on_the_phone_settles_what_nobody_could_tell(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id)
    await stage.record(unconfirmed(attempt))
    await stage.receive(receipt("delivered", "W1"), typed(attempt_id=attempt.id, whatsapp_id="W1"))
    assert await stage.status(accepted) is MessageStatus.DELIVERED


# -------------------------------------------------------------------- receipts


async def test_receipts_in_order(database: Database) -> None:
    stage = await set_stage(database)
    accepted, id = await stage.deliver()
    await stage.receive(receipt("delivered", id, when=at(1)), receipt("read", id, when=at(2)))
    assert await stage.status(accepted) is MessageStatus.READ
    assert await stage.statuses_told() == ["delivered", "read"]


async def test_late_and_repeated_receipts_change_nothing(database: Database) -> None:
    stage = await set_stage(database)
    accepted, id = await stage.deliver()
    for kind in ("read", "read", "delivered", "sent", "refused"):
        await stage.receive(receipt(kind, id))
    assert await stage.status(accepted) is MessageStatus.READ
    assert await stage.statuses_told() == ["read"]


async def test_receipts_that_come_before_the_id_is_known_are_matched(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id)
    await stage.receive(receipt("read", "W1"), receipt("delivered", "W1"), receipt("read", "W1"))
    assert await stage.status(accepted) is MessageStatus.SENDING
    await stage.record(sent(attempt, whatsapp_id="W1"))
    assert await stage.status(accepted) is MessageStatus.READ
    assert await stage.statuses_told() == ["delivered", "read"]
    assert await stage.all(ReceiptRow) == []


async def test_refusal_after_sending_fails_the_message_until_a_receipt_proves_it_arrived(database: Database) -> None:
    stage = await set_stage(database)
    accepted, id = await stage.deliver()
    await stage.receive(receipt("refused", id))
    row = await stage.message(accepted.recipients[0].message_id)
    assert (row.status, row.error_code) == ("failed", "refused_later")
    await stage.receive(receipt("delivered", id))
    row = await stage.message(accepted.recipients[0].message_id)
    assert (row.status, row.error_code) == ("delivered", None)


async def test_one_receipt_for_many_messages(database: Database) -> None:
    stage = await set_stage(database)
    (first, one), (second, two) = await stage.deliver(), await stage.deliver()
    await stage.receive(receipt("read", one, two))
    assert [await stage.status(sending) for sending in (first, second)] == [MessageStatus.READ] * 2


async def test_receipt_is_known_by_chat_and_id_never_by_id_alone(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    accepted, id = await stage.deliver()
    await stage.accept(OTHER)
    await other.deliver()
    await stage.receive(receipt("read", id, number=OTHER))
    await other.receive(receipt("read", id))
    assert await stage.status(accepted) is MessageStatus.SENT


async def test_receipt_under_another_jid_of_the_customer_is_matched(database: Database) -> None:
    """The chat is known by its LID alone; the gateway has learnt the phone number meanwhile, or the other way round."""
    stage = await set_stage(database)
    accepted, id = await stage.deliver()
    (known,) = {row.jid for row in await stage.all(ChatRow)}
    await stage.receive(replace(receipt("read", id), jid="777@lid", also_known_as=(known,)))
    assert await stage.status(accepted) is MessageStatus.READ


async def test_receipt_of_an_unknown_chat_is_nobodys(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(receipt("read", "W1", number=OTHER), receipt("read", "W1", number="1@g.us"))
    assert await stage.all(ReceiptRow) == []
    assert await stage.all(ChatRow) == []


async def test_receipt_of_what_a_human_typed_or_a_customer_wrote_changes_nothing(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(typed(whatsapp_id="A"), incoming(whatsapp_id="B"), receipt("read", "A", "B"))
    assert {row.status for row in await stage.messages()} == {"received"}


# -------------------------------------------------------------------- the rest


async def test_answer_of_the_customer_is_seen_at_the_messages_sent_before_it(database: Database) -> None:
    stage = await set_stage(database)
    first, _ = await stage.deliver(now=at(0))
    second, _ = await stage.deliver(now=at(100))
    await stage.receive(incoming(when=at(50)), now=at(101))
    assert (await stage.message(first.recipients[0].message_id)).replied_at == at(50)
    assert (await stage.message(second.recipients[0].message_id)).replied_at is None


async def test_deletion_is_stored_and_is_neither_answered_nor_an_answer(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    sent_before, _ = await stage.deliver(now=at(0))
    assert await stage.receive(incoming("Deleted a message", takes_back=True, when=at(50)), now=at(50)) == []
    (deletion,) = [row for row in await stage.messages() if row.direction == "incoming"]
    assert (deletion.text, deletion.answer) == ("Deleted a message", "not_needed")
    assert (await stage.message(sent_before.recipients[0].message_id)).replied_at is None


async def test_older_message_of_the_history_does_not_become_the_last_one(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming("nuevo", when=at(0)), incoming("viejo", when=at(-90), history=True))
    chat = await stage.chat()
    assert (chat.message_count, chat.last_text, chat.first_incoming_at) == (2, "nuevo", at(-90))


async def test_what_is_not_text_keeps_its_type(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming("[nota de voz]", type=MessageType.AUDIO))
    (row,) = await stage.messages()
    assert (row.type, row.text) == ("audio", "[nota de voz]")


async def test_change_of_the_connection_is_stored_in_its_place(database: Database) -> None:
    stage = await set_stage(database)
    banned = StatusChange(status=ConnectionStatus.BANNED, reason="for a day", at=at(1))
    await stage.receive(banned, banned)
    connection = await stage.connections.fetch_connection(stage.connection.id)
    assert (connection.status, connection.reason, connection.status_at) == (ConnectionStatus.BANNED, "for a day", at(1))
    assert [event.data["status"] for event in await stage.told(EventType.CONNECTION_CHANGED)] == ["banned"]


async def test_message_is_stored_once_where_its_batch_made_the_chat_of_its_first_jid(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("uno", jid=LID))
    told = incoming("tres", jid=JID, also_known_as=(LID,), whatsapp_id="W-3")
    await stage.receive(incoming("dos", jid=JID), told)
    await stage.receive(told)
    assert len([row for row in await stage.messages() if row.text == "tres"]) == 1
