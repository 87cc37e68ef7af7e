"""Which number a business has: linked, switched, logged out, and what becomes of what was queued for the old one."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import update
from sqlmodel import col

from boton.domain.chats import AnswerDecision
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.events import EventType
from boton.domain.gateway import Attempt, StatusChange
from boton.domain.holds import HeldKind
from boton.domain.linking import LinkMethod, LinkRequest, Next, Pairing
from boton.domain.messages import MessageStatus
from boton.domain.sends import SendKind, SendStatus
from boton.errors import Conflict, Invalid, NotFound, StaleEpoch
from boton.ports import IdempotencyKey, Idle, Linked, Overdue
from boton.store.engine import Database, Work
from boton.store.holds import SqlHoldStore
from boton.store.linking import SqlLinkingStore
from boton.store.pairing import SqlPairingStore
from boton.store.reminders import SqlReminderStore
from boton.store.tables import ConnectionRow, FollowUpRow, MessageRow, PairingRow, ReminderRow, SendRow
from tests.store.builders import NOW, at
from tests.store.stage import NUMBER, OTHER, Stage, incoming, minutes, not_sent, numbers, sent, set_stage, typed

T = TypeVar("T")

PHONE = "5491150000001"
BY_QR = LinkRequest(gateway=Gateway.WHATSAPP)


def told(connection: Connection, pairing: Pairing | None) -> dict[str, Any]:
    return {"status": connection.status.value, "pairing": pairing is not None}


async def link(stage: Stage, wanted: LinkRequest = BY_QR, *, key: IdempotencyKey | None = None) -> Linked:
    return await SqlLinkingStore(stage.database).link(stage.business.id, wanted, NOW, told, idempotency=key)


async def now_linked(stage: Stage) -> Connection:
    connection = await stage.connections.fetch_active_connection(stage.business.id)
    assert connection is not None
    return connection


async def switched(stage: Stage, phone: str = PHONE) -> Stage:
    """The same business on WhatsApp, unpaced, with its link's epoch."""
    await stage.businesses.update_config(stage.business.id, {"pacing": {"profile": "off"}})
    linked = await link(stage)
    pairing = SqlPairingStore(stage.database)
    epoch, _ = await pairing.begin_pairing(linked.connection_id)
    assert await pairing.finish_pairing(linked.connection_id, epoch, phone, NOW) is None
    epoch = await stage.connections.raise_epoch(linked.connection_id, NOW)
    return Stage(stage.database, stage.business, await now_linked(stage), epoch)


def back(stage: Stage) -> LinkRequest:
    return LinkRequest(gateway=Gateway.SIMULATOR, phone=stage.connection.phone)


# ---------------------------------------------------------------- linking


async def test_phone_is_linked_step_by_step(database: Database) -> None:
    stage = await set_stage(database)
    linked = await link(stage)
    connection = await now_linked(stage)
    assert (connection.id, connection.status, connection.phone) == (
        linked.connection_id,
        ConnectionStatus.LINKING,
        None,
    )
    assert {one.id for one in linked.changed} == {stage.connection.id, connection.id}
    pairing = SqlPairingStore(database)
    assert (await pairing.advance_connection(connection.id, NOW))[0] is Next.PAIR
    epoch, begun = await pairing.begin_pairing(connection.id)
    assert (begun.method, begun.phone) == (LinkMethod.QR, None)
    await pairing.record_step(connection.id, epoch, qr="2@abc", code=None, expires_at=at(60), now=NOW)
    shown = await SqlLinkingStore(database).fetch_pairing(connection.id)
    assert shown is not None
    assert (shown.qr, shown.shown(at(59)), shown.shown(at(60))) == ("2@abc", True, False)
    assert "scan the QR code" in str((await now_linked(stage)).reason)
    assert await pairing.finish_pairing(connection.id, epoch, PHONE, at(5)) is None
    connection = await now_linked(stage)
    assert (connection.status, connection.phone, connection.linked_at) == (ConnectionStatus.CONNECTING, PHONE, at(5))
    assert await stage.all(PairingRow) == []
    assert (await pairing.advance_connection(connection.id, NOW))[0] is Next.HOLD


async def test_secrets_of_linking_are_in_no_event(database: Database) -> None:
    stage = await set_stage(database)
    connection_id = (await link(stage)).connection_id
    pairing = SqlPairingStore(database)
    epoch, _ = await pairing.begin_pairing(connection_id)
    await pairing.record_step(connection_id, epoch, qr="2@secret", code="QG4X-CMR2", expires_at=at(60), now=NOW)
    events = await stage.told(EventType.CONNECTION_CHANGED)
    assert [event.data["status"] for event in events][-2:] == ["linking", "linking"]
    assert "secret" not in str(events)
    assert "QG4X" not in str(events)


@pytest.mark.parametrize("request_again", [True, False], ids=["asked again", "logged out"])
async def test_earlier_pairing_changes_nothing_any_more(database: Database, request_again: bool) -> None:
    stage = await set_stage(database)
    connection_id = (await link(stage)).connection_id
    pairing = SqlPairingStore(database)
    epoch, _ = await pairing.begin_pairing(connection_id)
    await pairing.check_epoch(connection_id, epoch)
    if request_again:
        assert (await link(stage)).connection_id == connection_id
    else:
        await SqlLinkingStore(database).log_out(stage.business.id, NOW)
    for late in (
        pairing.check_epoch(connection_id, epoch),
        pairing.record_step(connection_id, epoch, qr="2@x", code=None, expires_at=at(60), now=NOW),
        pairing.finish_pairing(connection_id, epoch, PHONE, NOW),
        pairing.fail_pairing(connection_id, epoch, "x", NOW),
    ):
        with pytest.raises(StaleEpoch):
            await late


async def test_failed_pairing_says_why_and_waits_for_a_person(database: Database) -> None:
    stage = await set_stage(database)
    connection_id = (await link(stage)).connection_id
    pairing = SqlPairingStore(database)
    epoch, _ = await pairing.begin_pairing(connection_id)
    await pairing.fail_pairing(connection_id, epoch, "Nobody scanned it.", NOW)
    step, connection = await pairing.advance_connection(connection_id, NOW)
    assert (step, connection.status, connection.reason) == (Next.WAIT, ConnectionStatus.STOPPED, "Nobody scanned it.")
    assert (await link(stage)).connection_id == connection_id
    assert (await pairing.advance_connection(connection_id, NOW))[0] is Next.PAIR


async def test_pairing_process_that_keeps_dying_is_given_up(database: Database) -> None:
    stage = await set_stage(database)
    connection_id = (await link(stage)).connection_id
    pairing = SqlPairingStore(database)
    for _ in range(3):
        assert (await pairing.advance_connection(connection_id, NOW))[0] is Next.PAIR
        await pairing.begin_pairing(connection_id)
    step, connection = await pairing.advance_connection(connection_id, NOW)
    assert (step, connection.status) == (Next.WAIT, ConnectionStatus.STOPPED)
    assert "3 times" in str(connection.reason)


async def test_code_wants_a_phone(database: Database) -> None:
    stage = await set_stage(database)
    with pytest.raises(Invalid) as refused:
        await link(stage, LinkRequest(gateway=Gateway.WHATSAPP, method=LinkMethod.CODE))
    assert refused.value.errors[0][0] == "phone"
    assert await now_linked(stage) == await stage.connections.fetch_connection(stage.connection.id)


async def test_other_phone_than_the_expected_one_is_not_taken(database: Database) -> None:
    stage = await set_stage(database)
    wanted = LinkRequest(gateway=Gateway.WHATSAPP, phone=PHONE)
    connection_id = (await link(stage, wanted)).connection_id
    pairing = SqlPairingStore(database)
    epoch, _ = await pairing.begin_pairing(connection_id)
    reason = await pairing.finish_pairing(connection_id, epoch, "5491150009999", NOW)
    assert "Another phone" in str(reason)
    connection = await now_linked(stage)
    assert (connection.status, connection.phone, connection.linked_at) == (ConnectionStatus.STOPPED, None, None)


async def test_spelling_of_the_expected_phone_does_not_matter(database: Database) -> None:
    stage = await set_stage(database)
    connection_id = (await link(stage, LinkRequest(gateway=Gateway.WHATSAPP, phone="541150000001"))).connection_id
    pairing = SqlPairingStore(database)
    epoch, _ = await pairing.begin_pairing(connection_id)
    assert await pairing.finish_pairing(connection_id, epoch, "5491150000001", NOW) is None


async def test_phone_of_another_active_connection_is_refused_at_once_and_after_the_scan(database: Database) -> None:
    stage, other = await set_stage(database), await set_stage(database)
    await switched(stage)
    with pytest.raises(Conflict):
        await link(other, LinkRequest(gateway=Gateway.WHATSAPP, phone="541150000001"))
    connection_id = (await link(other)).connection_id
    pairing = SqlPairingStore(database)
    epoch, _ = await pairing.begin_pairing(connection_id)
    assert "another active connection" in str(await pairing.finish_pairing(connection_id, epoch, PHONE, NOW))


async def test_number_that_is_well_stays_as_it_is(database: Database) -> None:
    stage = await set_stage(database)
    await stage.connections.record_status(stage.connection.id, stage.epoch, ConnectionStatus.CONNECTED, None, NOW)
    before = await now_linked(stage)
    assert (await link(stage, back(stage))).changed == ()
    assert (await link(stage, LinkRequest(gateway=Gateway.SIMULATOR))).changed == ()
    phone = await switched(stage)
    assert (await link(stage, LinkRequest(gateway=Gateway.WHATSAPP, phone=PHONE))).changed == ()
    assert (await now_linked(stage)).id == phone.connection.id
    assert before.id == stage.connection.id


@pytest.mark.parametrize("status", ["replaced", "banned", "outdated"])
async def test_number_that_has_stopped_goes_on_without_being_linked_anew(database: Database, status: str) -> None:
    stage = await switched(await set_stage(database))
    change = StatusChange(status=ConnectionStatus(status), reason="why", at=NOW)
    await stage.receive(change)
    pairing = SqlPairingStore(database)
    step, connection = await pairing.advance_connection(stage.connection.id, NOW)
    assert (step, connection.reason) == (Next.WAIT, "why")
    await link(stage)
    step, connection = await pairing.advance_connection(stage.connection.id, NOW)
    assert (step, connection.status) == (Next.HOLD, ConnectionStatus.CONNECTING)


async def test_logged_out_phone_is_linked_anew_and_its_queue_stays(database: Database) -> None:
    stage = await switched(await set_stage(database))
    accepted = await stage.accept()
    await stage.receive(StatusChange(status=ConnectionStatus.LOGGED_OUT, reason="why", at=NOW))
    assert (await link(stage)).connection_id == stage.connection.id
    assert (await now_linked(stage)).status is ConnectionStatus.LINKING
    assert (await stage.sends.fetch_send(stage.business.id, accepted.send.id)).status is SendStatus.QUEUED
    pairing = SqlPairingStore(database)
    epoch, wanted = await pairing.begin_pairing(stage.connection.id)
    assert wanted.phone == PHONE
    assert await pairing.finish_pairing(stage.connection.id, epoch, PHONE, NOW) is None


@pytest.mark.parametrize("status", ["replaced", "banned", "outdated", "stopped", "disconnected"])
async def test_number_whose_device_turns_out_to_be_gone_is_linked_anew_by_the_same_request(
    database: Database, status: str
) -> None:
    """A ban may have wiped the device, the phone may have removed it meanwhile, a backup does not bring it back."""
    stage = await switched(await set_stage(database))
    await stage.receive(StatusChange(status=ConnectionStatus(status), reason="why", at=NOW))
    await link(stage, LinkRequest(gateway=Gateway.WHATSAPP, method=LinkMethod.CODE))
    epoch = await stage.connections.raise_epoch(stage.connection.id, NOW)
    await lose_device(stage, epoch)
    pairing = SqlPairingStore(database)
    step, connection = await pairing.advance_connection(stage.connection.id, NOW)
    assert (step, connection.status, connection.linked_at) == (Next.PAIR, ConnectionStatus.LINKING, None)
    _, wanted = await pairing.begin_pairing(stage.connection.id)
    assert (wanted.method, wanted.phone, wanted.asked_at) == (LinkMethod.CODE, PHONE, at(30))
    told = [event.data["status"] for event in await stage.told(EventType.CONNECTION_CHANGED)]
    assert told[-2:] == ["logged_out", "linking"]


@pytest.mark.parametrize("status", ["connected", "banned"])
async def test_request_is_over_once_it_is_known_how_the_number_stands(database: Database, status: str) -> None:
    stage = await switched(await set_stage(database))
    await link(stage)
    await stage.connections.record_status(stage.connection.id, stage.epoch, ConnectionStatus(status), None, NOW)
    await lose_device(stage, stage.epoch)
    step, connection = await SqlPairingStore(database).advance_connection(stage.connection.id, NOW)
    assert (step, connection.status) == (Next.WAIT, ConnectionStatus.LOGGED_OUT)


async def test_no_pairing_begins_while_a_link_may_hold_the_number(database: Database) -> None:
    stage = await switched(await set_stage(database))
    await link(stage)
    with pytest.raises(NotFound):
        await SqlPairingStore(database).begin_pairing(stage.connection.id)


async def lose_device(stage: Stage, epoch: int) -> None:
    """What a link says that finds none."""
    logged_out = ConnectionStatus.LOGGED_OUT
    await stage.connections.record_status(stage.connection.id, epoch, logged_out, "No phone is linked.", at(30))


async def test_number_linked_anew_keeps_its_age_and_its_refusals(database: Database) -> None:
    stage = await switched(await set_stage(database))
    closure = await stage.outbox.close_slow_lane(stage.connection.id, stage.epoch, "463", None, NOW)
    old = await now_linked(stage)
    await database.write(
        lambda session: session.execute(
            update(ConnectionRow).where(col(ConnectionRow.id) == old.id).values(created_at=NOW - timedelta(days=30))
        )
    )
    await SqlLinkingStore(database).log_out(stage.business.id, NOW)
    fresh = (await switched(stage)).connection
    assert fresh.id != old.id
    assert (fresh.closure, fresh.created_at) == (closure, NOW - timedelta(days=30))


async def test_same_key_gives_the_first_answer_and_does_nothing_twice(database: Database) -> None:
    stage = await set_stage(database)
    key = IdempotencyKey(key="k", path="/connection", body_hash="h")
    first = await link(stage, key=key)
    epoch = (await now_linked(stage)).epoch
    again = await link(stage, key=key)
    assert (again.answer, again.changed) == (first.answer, ())
    assert (await now_linked(stage)).epoch == epoch
    with pytest.raises(Invalid):
        await link(stage, key=IdempotencyKey(key="k", path="/connection", body_hash="other"))


async def test_logging_out_twice_and_an_unknown_business(database: Database) -> None:
    stage = await set_stage(database)
    store = SqlLinkingStore(database)
    assert (await store.log_out(stage.business.id, NOW)) is not None
    assert await store.log_out(stage.business.id, NOW) is None
    with pytest.raises(NotFound):
        await store.log_out("biz_0", NOW)
    business = await stage.businesses.create_business("Kiosco", bot_new_chats=False, now=NOW)
    with pytest.raises(Invalid, match="number"):
        await store.link(business.id, LinkRequest(gateway=Gateway.SIMULATOR), NOW, told)


async def test_log_out_says_what_to_do_on_the_phone_until_the_phone_was_told(database: Database) -> None:
    phone = await switched(await set_stage(database))
    store = SqlLinkingStore(database)
    await store.log_out(phone.business.id, NOW)
    reason = (await phone.connections.fetch_connection(phone.connection.id)).reason
    assert "Linked devices" in str(reason)
    await store.finish_unlinking(phone.connection.id, NOW, told=True)
    reason = (await phone.connections.fetch_connection(phone.connection.id)).reason
    assert "Linked devices" not in str(reason)
    assert str(reason).startswith("Logged out.")


@pytest.mark.parametrize("told", [True, False], ids=["told", "no device here"])
async def test_phone_is_told_of_the_log_out_until_it_was(database: Database, told: bool) -> None:
    phone = await switched(await set_stage(database))
    store, steps = SqlLinkingStore(database), SqlPairingStore(database)
    await store.log_out(phone.business.id, NOW)
    assert (await steps.advance_connection(phone.connection.id, at(5)))[0] is Next.UNLINK
    epochs = [await store.begin_unlinking(phone.connection.id) for _ in range(2)]
    assert phone.epoch < epochs[0] < epochs[1], "each process owns the device store alone"
    assert (await steps.advance_connection(phone.connection.id, NOW + timedelta(days=8)))[0] is Next.DONE
    await store.finish_unlinking(phone.connection.id, at(10), told=told)
    step, connection = await steps.advance_connection(phone.connection.id, at(11))
    assert (step, "Linked devices" in str(connection.reason)) == (Next.DONE, not told)
    with pytest.raises(NotFound):
        await store.begin_unlinking(phone.connection.id)


async def test_nobody_is_told_of_a_number_that_was_never_on_a_phone_or_is_linked_again(database: Database) -> None:
    stage = await set_stage(database)
    store, steps = SqlLinkingStore(database), SqlPairingStore(database)
    phone = await switched(stage)
    assert (await steps.advance_connection(stage.connection.id, NOW))[0] is Next.DONE, "it was switched away"
    await store.log_out(phone.business.id, NOW)
    await link(phone, LinkRequest(gateway=Gateway.WHATSAPP, phone=PHONE))
    assert (await steps.advance_connection(phone.connection.id, NOW))[0] is Next.PAIR
    with pytest.raises(NotFound):
        await store.begin_unlinking(phone.connection.id)


async def test_confirmation_that_comes_late_changes_nothing(database: Database) -> None:
    phone = await switched(await set_stage(database))
    store = SqlLinkingStore(database)
    await store.log_out(phone.business.id, NOW)
    await link(phone, LinkRequest(gateway=Gateway.WHATSAPP, phone=PHONE))
    before = await now_linked(phone)
    await store.finish_unlinking(phone.connection.id, NOW, told=True)
    assert await now_linked(phone) == before
    assert before.status is ConnectionStatus.LINKING


# ---------------------------------------------------------------- what was queued for the old number


async def test_queue_of_the_old_number_is_held_and_new_sends_go_to_the_new_one(database: Database) -> None:
    stage = await set_stage(database)
    old = await stage.accept(*numbers(3))
    phone = await switched(stage)
    send = await stage.sends.fetch_send(stage.business.id, old.send.id)
    assert (send.status, send.hold, send.connection_id) == (SendStatus.PAUSED, "switched", stage.connection.id)
    with pytest.raises(StaleEpoch):
        await stage.claim_message(old.recipients[0].message_id)
    with pytest.raises(NotFound):
        await phone.claim(old.send.id)
    new = await phone.accept(OTHER)
    assert new.send.connection_id == phone.connection.id
    await phone.record(sent(await phone.claim(new.send.id)))
    assert await phone.status(new) is MessageStatus.SENT
    assert {await phone.status(old, place) for place in range(3)} == {MessageStatus.QUEUED}


async def test_resumed_send_leaves_through_the_new_number(database: Database) -> None:
    stage = await set_stage(database)
    old = await stage.accept(*numbers(3))
    await stage.record(sent(await stage.claim(old.send.id)))
    phone = await switched(stage)
    resumed = await stage.sends.resume_send(stage.business.id, old.send.id, NOW)
    assert (resumed.status, resumed.hold, resumed.connection_id) == (SendStatus.RUNNING, None, phone.connection.id)
    for _ in range(2):
        await phone.record(sent(await phone.claim(old.send.id)))
    step = await phone.advance(old.send.id)
    assert isinstance(step, Idle)
    assert step.why == "done"
    rows = [row.connection_id for row in await stage.messages() if row.send_id == old.send.id]
    assert sorted(rows) == sorted([stage.connection.id, phone.connection.id, phone.connection.id])


async def test_more_than_one_piece_is_moved(database: Database) -> None:
    stage = await set_stage(database)
    old = await stage.accept(*numbers(1001))
    phone = await switched(stage)
    await stage.sends.resume_send(stage.business.id, old.send.id, NOW)
    assert {row.connection_id for row in await stage.messages()} == {phone.connection.id}


async def test_cancelled_send_never_leaves_and_needs_no_number(database: Database) -> None:
    stage = await set_stage(database)
    kept, gone = await stage.accept(), await stage.accept(OTHER)
    await SqlLinkingStore(database).log_out(stage.business.id, NOW)
    with pytest.raises(Conflict):
        await stage.sends.resume_send(stage.business.id, kept.send.id, NOW)
    assert (await stage.sends.cancel_send(stage.business.id, gone.send.id, NOW)).status is SendStatus.CANCELLED
    assert await stage.status(gone) is MessageStatus.CANCELLED
    await switched(stage)
    assert (await stage.sends.cancel_send(stage.business.id, kept.send.id, NOW)).status is SendStatus.CANCELLED
    over = {(one.id, one.is_over) for one in await overdue_sends(stage)}
    assert over == {(kept.send.id, True), (gone.send.id, True)}, "their workflows wait for a link that is gone"
    assert await stage.work.fetch_queue_age(at(60)) == 0
    await stage.work.postpone(await overdue_sends(stage), at(60), at(180))
    assert await overdue_sends(stage) == []


async def overdue_sends(stage: Stage) -> list[Overdue]:
    return [one for one in await stage.work.list_overdue(minutes(60), timedelta(0), 10) if one.kind == "send"]


async def test_number_that_comes_back_finds_its_queue_held(database: Database) -> None:
    stage = await set_stage(database)
    old = await stage.accept()
    await switched(stage)
    linked = await link(stage, back(stage))
    assert linked.connection_id == stage.connection.id
    assert (await stage.sends.fetch_send(stage.business.id, old.send.id)).status is SendStatus.PAUSED
    stage.epoch = await stage.connections.raise_epoch(stage.connection.id, NOW)
    await stage.sends.resume_send(stage.business.id, old.send.id, NOW)
    assert (await stage.claim(old.send.id)).epoch == stage.epoch


async def test_message_on_its_way_is_its_links_to_record(database: Database) -> None:
    stage = await set_stage(database)
    left, came_back = await stage.accept(), await stage.accept(OTHER)
    first, second = await stage.claim(left.send.id), await stage.claim(came_back.send.id)
    phone = await switched(stage)
    assert await stage.status(left) is MessageStatus.SENDING
    await stage.record(sent(first))
    assert await stage.status(left) is MessageStatus.SENT
    await stage.sends.resume_send(stage.business.id, came_back.send.id, NOW)
    await stage.record(not_sent(second))
    await phone.record(sent(await phone.claim(came_back.send.id)))
    assert (await stage.message(came_back.recipients[0].message_id)).connection_id == phone.connection.id


@pytest.mark.parametrize("swept", [False, True], ids=["recorded after the switch", "recorded at that moment"])
async def test_reply_that_comes_back_after_the_switch_is_held(database: Database, swept: bool) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("hola"))
    draft = await stage.answer()
    attempt = await stage.claim_message(draft)
    phone = await switched(stage)
    if swept:
        came_back = update(MessageRow).where(col(MessageRow.id) == draft).values(status="queued", attempt_id=None)
        await database.write(lambda session: session.execute(came_back))
        await stage.work.settle_left_behind(at(1))
    else:
        await stage.record(not_sent(attempt))
    assert (await stage.message(draft)).status == MessageStatus.CANCELLED
    holds = SqlHoldStore(database)
    held = await holds.list_held()
    assert [(one.kind, one.reason) for one in held] == [(HeldKind.CHAT, "switched")]
    await holds.resume(held, NOW)
    assert (await stage.message(await phone.answer())).connection_id == phone.connection.id


async def test_what_a_dead_link_has_never_recorded_is_unconfirmed_after_a_while(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    attempt = await stage.claim(accepted.send.id)
    await switched(stage)
    await stage.work.settle_left_behind(minutes(2))
    assert await stage.status(accepted) is MessageStatus.SENDING
    await stage.work.settle_left_behind(minutes(4))
    assert await stage.status(accepted) is MessageStatus.UNCONFIRMED
    await stage.record(sent(attempt))
    assert await stage.status(accepted) is MessageStatus.SENT


async def test_what_the_bot_owes_is_held_and_resumed_over_the_new_number(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("hola"), incoming("buenas", number=OTHER))
    draft = await stage.answer(OTHER)
    phone = await switched(stage)
    assert (await stage.message(draft)).status == MessageStatus.CANCELLED
    holds = SqlHoldStore(database)
    held = await holds.list_held()
    assert {(one.kind, one.reason) for one in held} == {(HeldKind.CHAT, "switched")}
    assert len(held) == 2
    assert (await phone.look()).state == (await phone.look(OTHER)).state == "rest"
    await holds.resume(held, NOW)
    for number in (NUMBER, OTHER):
        draft = await phone.answer(number)
        assert (await phone.message(draft)).connection_id == phone.connection.id
        assert (await phone.undelivered(number))[0] == phone.connection.id


async def test_what_a_human_has_answered_over_the_new_number_is_held_no_more(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿cuánto sale?"))
    phone = await switched(stage)
    await phone.receive(typed("Sale 100.", when=at(60)), now=at(60))
    assert await SqlHoldStore(database).list_held() == []
    assert (await stage.messages())[0].answer == AnswerDecision.HELD.value


@pytest.mark.parametrize("written", [False, True], ids=["unanswered", "draft"])
async def test_what_the_bot_has_answered_with_a_newer_message_is_held_no_more(
    database: Database, written: bool
) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿cuánto sale?"))
    if written:
        await stage.answer()
    phone = await switched(stage)
    holds = SqlHoldStore(database)
    held = await holds.list_held()
    await phone.receive(incoming("¿hola?", when=at(60)), now=at(60))
    brief = await phone.open_turn(now=at(61))
    assert [line.text for line in brief.history] == ["¿cuánto sale?", "¿hola?"]
    (draft,) = await phone.close_turn(brief, "¡Hola! Sale 100.", now=at(62))
    await phone.record(sent(await claimed(phone, draft, 63)), now=at(63))
    assert await holds.list_held() == []
    await holds.resume(held, at(70))
    assert (await phone.look(now=at(71))).state == "rest"


async def test_what_the_bot_could_not_answer_with_a_newer_message_is_left_to_the_human(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿cuánto sale?"))
    phone = await switched(stage)
    await phone.receive(incoming("¿hola?", when=at(60)), now=at(60))
    await phone.turns.fail_turn((await phone.open_turn(now=at(61))).turn_id, "llm_error", "no answer", at(62))
    assert await SqlHoldStore(database).list_held() == []
    assert {row.answer for row in await phone.messages()} == {AnswerDecision.FAILED.value}


@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "answered anew with what came over the next one"])
async def test_what_came_over_an_earlier_number_is_held_again_with_the_next_one(
    database: Database, resumed: bool
) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("¿cuánto sale?"))
    phone = await switched(stage)
    holds = SqlHoldStore(database)
    if resumed:
        await holds.resume(await holds.list_held(), at(60))
    else:
        await phone.receive(incoming("¿hola?", when=at(60)), now=at(60))
        await phone.answer(now=at(61))
        await phone.receive(incoming("¿están?", when=at(62)), now=at(62))
    assert (await phone.look(now=at(63))).state == "think"
    await link(stage, back(stage))
    assert (await stage.look(now=at(100))).state == "rest"
    assert {row.answer for row in await stage.messages() if row.answer} == {AnswerDecision.SUSPENDED.value}


async def claimed(stage: Stage, message_id: str, seconds: float) -> Attempt:
    attempt = await stage.claim_message(message_id, now=at(seconds))
    assert attempt is not None
    return attempt


class Counted(Database):
    """A store that counts the transactions that it writes, and does no more than `most` of them."""

    def __init__(self, database: Database, most: int) -> None:
        self._database, self._most = database, most
        self.written = 0

    async def write(self, work: Work[T]) -> T:
        if self.written == self._most:
            raise ConnectionError("the process has died")
        self.written += 1
        return await self._database.write(work)

    async def read(self, work: Work[T]) -> T:
        return await self._database.read(work)


async def test_many_held_sends_are_resumed_in_few_transactions(database: Database) -> None:
    stage = await set_stage(database)
    small = [await stage.accept(number) for number in numbers(40)]
    bulk = await stage.accept(*numbers(1100))
    begun = await stage.accept(*numbers(2))
    await stage.record(sent(await stage.claim(begun.send.id)))
    phone = await switched(stage)
    counted = Counted(database, most=10)
    await SqlHoldStore(counted).resume(await SqlHoldStore(database).list_held(), at(60))
    rows = {row.id: row for row in await stage.all(SendRow)}
    assert {row.connection_id for row in rows.values()} == {phone.connection.id}
    assert {(row.hold, row.resumed_at, row.next_step_at) for row in rows.values()} == {(None, at(60), at(0))}
    assert {rows[one.send.id].status for one in [*small, bulk]} == {SendStatus.QUEUED.value}
    assert rows[begun.send.id].status == SendStatus.RUNNING.value
    queued = [row for row in await stage.messages() if row.status == MessageStatus.QUEUED]
    assert {row.connection_id for row in queued} == {phone.connection.id}
    assert len(queued) == 40 + 1100 + 1


async def test_each_business_is_resumed_over_its_own_number(database: Database) -> None:
    """An operator resumes everybody's at once, in whatever order it was accepted."""
    stages = [await set_stage(database) for _ in range(2)]
    sends = [await stage.accept(number) for number in numbers(2) for stage in stages]
    phones = [await switched(stage, phone) for stage, phone in zip(stages, (PHONE, "5491150000002"), strict=True)]
    await SqlHoldStore(database).resume(await SqlHoldStore(database).list_held(), at(60))
    own = {phone.business.id: phone.connection.id for phone in phones}
    rows = [*await phones[0].all(SendRow), *await phones[0].messages()]
    assert len(rows) == 2 * len(sends)
    assert all(row.connection_id == own[row.business_id] for row in rows)


@pytest.mark.parametrize("dies_after", range(1, 5))
async def test_resuming_that_was_interrupted_is_done_again_and_repeats_nothing(
    database: Database, dies_after: int
) -> None:
    stage = await set_stage(database)
    sends = [await stage.accept(*numbers(count)) for count in (1, 700, 2)]
    phone = await switched(stage)
    holds = SqlHoldStore(database)
    held = await holds.list_held()
    with suppress(ConnectionError):
        await SqlHoldStore(Counted(database, most=dies_after)).resume(held, at(60))
    resumed = [one.send.id for one in sends if one.send.id not in {still.id for still in await holds.list_held()}]
    for send_id in resumed:
        await stage.sends.pause_send(stage.business.id, send_id)
    await holds.resume(held, at(90))
    assert await holds.list_held() == []
    rows = {row.id: row for row in await stage.all(SendRow)}
    assert {row.connection_id for row in rows.values()} == {phone.connection.id}
    assert {id for id, row in rows.items() if row.status == SendStatus.PAUSED} == set(resumed), "paused since"
    assert {row.connection_id for row in await stage.messages()} == {phone.connection.id}


async def test_many_held_sends_are_cancelled_in_few_transactions(database: Database) -> None:
    stage = await set_stage(database)
    small = [await stage.accept(number) for number in numbers(40)]
    opening = await stage.accept(kind=SendKind.INSTRUCTION)
    bulk = await stage.accept(*numbers(1100))
    begun, leaving = await stage.accept(*numbers(2)), await stage.accept(*numbers(2))
    await stage.record(sent(await stage.claim(begun.send.id)))
    attempt = await stage.claim(leaving.send.id)
    await switched(stage)
    counted = Counted(database, most=8)
    await SqlHoldStore(counted).cancel(await SqlHoldStore(database).list_held(), at(60))
    rows = {row.id: row for row in await stage.all(SendRow)}
    assert {(row.status, row.hold) for row in rows.values()} == {(SendStatus.CANCELLED.value, None)}
    left = rows.pop(leaving.send.id)
    assert (left.finished_at, left.next_step_at) == (None, at(60)), "its link records the attempt"
    assert {(row.finished_at, row.next_step_at) for row in rows.values()} == {(at(60), at(60))}
    cancelled = [(one.send.id, {"cancelled": 1}) for one in (*small, opening)]
    cancelled += [(bulk.send.id, {"cancelled": 1100}), (begun.send.id, {"sent": 1, "cancelled": 1})]
    finished = await stage.told(EventType.SEND_FINISHED)
    assert [(event.data["sendId"], event.data["counts"]) for event in finished] == cancelled
    (dialogue,) = await stage.told(EventType.CONVERSATION_ENDED)
    assert dialogue.data["conversationId"] == opening.recipients[0].conversation_id
    await stage.record(sent(attempt), now=at(70))
    last = (await stage.told(EventType.SEND_FINISHED))[-1]
    assert (last.data["sendId"], last.data["counts"]) == (leaving.send.id, {"sent": 1, "cancelled": 1})


@pytest.mark.parametrize("dies_after", range(1, 6))
async def test_cancelling_that_was_interrupted_is_done_again_and_tells_nothing_twice(
    database: Database, dies_after: int
) -> None:
    stage = await set_stage(database)
    sends = [await stage.accept(*numbers(count)) for count in (1, 700, 1)]
    await switched(stage)
    holds = SqlHoldStore(database)
    held = await holds.list_held()
    with suppress(ConnectionError):
        await SqlHoldStore(Counted(database, most=dies_after)).cancel(held, at(60))
    for one in (held, held, await holds.list_held()):
        await holds.cancel(one, at(90))
    assert await holds.list_held() == []
    assert {row.status for row in await stage.messages()} == {MessageStatus.CANCELLED.value}
    finished = await stage.told(EventType.SEND_FINISHED)
    assert [event.data["sendId"] for event in finished] == [one.send.id for one in sends]
    assert [event.data["counts"] for event in finished] == [{"cancelled": count} for count in (1, 700, 1)]


@pytest.mark.parametrize("decide", [SqlHoldStore.resume, SqlHoldStore.cancel], ids=["resumed", "cancelled"])
async def test_what_ended_since_it_was_listed_stops_no_other(database: Database, decide: Any) -> None:
    """Two do it at once, or one again who got no answer."""
    stage = await set_stage(database)
    ended, other = await stage.accept(), await stage.accept(OTHER)
    phone = await switched(stage)
    holds = SqlHoldStore(database)
    held = await holds.list_held()
    await stage.sends.resume_send(stage.business.id, ended.send.id, NOW)
    await phone.record(sent(await phone.claim(ended.send.id)))
    assert await phone.advance(ended.send.id) == Idle(why="done")
    await decide(holds, held, NOW)
    assert await holds.list_held() == []
    assert (await stage.sends.fetch_send(stage.business.id, ended.send.id)).status is SendStatus.FINISHED
    left = await stage.sends.fetch_send(stage.business.id, other.send.id)
    assert left.status is (SendStatus.QUEUED if decide is SqlHoldStore.resume else SendStatus.CANCELLED)


async def test_turn_that_was_being_written_says_nothing(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming("hola"))
    brief = await stage.open_turn()
    phone = await switched(stage)
    await stage.say(brief, "¡Hola!")
    assert (await phone.look()).state == "rest"
    assert [row for row in await stage.messages() if row.direction == "outgoing"] == []
    assert [row.answer for row in await stage.messages()] == [AnswerDecision.SUSPENDED.value]


async def test_dialogue_goes_on_over_the_new_number_when_the_customer_writes(database: Database) -> None:
    stage = await set_stage(database)
    await stage.businesses.update_config(stage.business.id, {"follow_ups": [{"afterHours": 1}]})
    opened = await stage.open_conversation()
    await stage.record(sent(await stage.claim(opened.send.id)))
    phone = await switched(stage)
    assert {row.status for row in await stage.all(FollowUpRow)} <= {"cancelled"}
    await phone.receive(incoming("sí, gracias"))
    draft = await phone.answer()
    assert (await phone.message(draft)).connection_id == phone.connection.id


async def test_queued_opening_is_moved_with_its_conversation(database: Database) -> None:
    stage = await set_stage(database)
    old = await stage.accept(kind=SendKind.INSTRUCTION)
    phone = await switched(stage)
    await stage.sends.resume_send(stage.business.id, old.send.id, NOW)
    briefs = await stage.turns.open_openings([old.recipients[0].message_id], NOW)
    assert [brief.connection_id for brief in briefs] == [phone.connection.id]


async def test_reminder_is_held_until_it_is_resumed(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming("hola"))
    reminder = await _remind(stage)
    phone = await switched(stage)
    reminders, holds = SqlReminderStore(database), SqlHoldStore(database)
    assert (await reminders.advance_reminder(reminder, at(3600))).state == "held"
    held = await holds.list_held()
    assert [(one.kind, one.id, one.reason) for one in held if one.kind is HeldKind.REMINDER] == [
        (HeldKind.REMINDER, reminder, "switched")
    ]
    await holds.resume(held, NOW)
    fired = await reminders.advance_reminder(reminder, at(3600))
    assert fired.send is not None
    assert fired.send.connection_id == phone.connection.id


async def _remind(stage: Stage, id: str = "rem_1") -> str:
    row = ReminderRow(
        id=id,
        business_id=stage.business.id,
        connection_id=stage.connection.id,
        chat_id=(await stage.chat()).id,
        message="mañana a las 15",
        status="scheduled",
        recipient=NUMBER,
        starts_at=at(3600),
        next_at=at(3600),
        next_step_at=at(3600),
        created_at=NOW,
    )
    await stage.database.write(lambda session: session.add(row))
    await stage.database.write(
        lambda session: session.connection().exec_driver_sql(
            "INSERT INTO firing (reminder_id, at, status) SELECT id, next_at, 'scheduled' FROM reminder"
        )
    )
    return id


async def test_send_accepted_while_its_number_was_given_up_is_held_by_the_sweeper(database: Database) -> None:
    stage = await set_stage(database)
    accepted = await stage.accept()
    await switched(stage)
    lost = update(SendRow).values(hold=None, status="queued", next_step_at=NOW)
    await database.write(lambda session: session.execute(lost))
    await stage.work.settle_left_behind(NOW)
    send = await stage.sends.fetch_send(stage.business.id, accepted.send.id)
    assert (send.status, send.hold) == (SendStatus.PAUSED, "switched")


async def test_reminder_accepted_while_its_number_was_given_up_is_held_by_the_sweeper(database: Database) -> None:
    stage = await set_stage(database)
    await stage.receive(incoming("hola"))
    reminder = await _remind(stage)
    phone = await switched(stage)
    await database.write(lambda session: session.execute(update(ReminderRow).values(hold=None, next_step_at=NOW)))
    await stage.work.settle_left_behind(at(1))
    assert (await SqlReminderStore(database).advance_reminder(reminder, at(3600))).state == "held"
    assert phone.connection.id != stage.connection.id


async def test_both_workflows_are_overdue_at_once(database: Database) -> None:
    stage = await set_stage(database)
    pairing = SqlPairingStore(database)
    await pairing.advance_connection(stage.connection.id, NOW)
    new = (await link(stage)).connection_id
    overdue = await stage.work.list_overdue(at(1), timedelta(seconds=30), 10)
    assert {one.id for one in overdue if one.kind == "connection"} == {stage.connection.id, new}
    assert (await pairing.advance_connection(stage.connection.id, NOW))[0] is Next.DONE
    overdue = await stage.work.list_overdue(at(1), timedelta(seconds=30), 10)
    assert {one.id for one in overdue if one.kind == "connection"} == {new}


async def test_message_columns_of_the_old_number_stay(database: Database) -> None:
    """Chats and history stay with the business."""
    stage = await set_stage(database)
    await stage.deliver()
    await switched(stage)
    assert [row.connection_id for row in await stage.all(MessageRow)] == [stage.connection.id]
    assert (await stage.chat()).message_count == 1
