"""Reminders in the store: accepted, fired once, moved, cancelled, whatever happens at the same time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from boton.domain.events import EventType
from boton.domain.planning import plan
from boton.domain.reminders import FiringStatus, NewReminder, Reminder, ReminderStatus, Timing
from boton.domain.sends import NewRecipient, SendKind, SendStatus
from boton.errors import Conflict, Invalid, NotFound
from boton.ports import Advanced, IdempotencyKey, Idle, Page, ReminderPatch
from boton.store.engine import Database
from boton.store.reminders import SqlReminderStore
from boton.store.tables import ChatRow, ConnectionRow, ConversationRow, FiringRow, MessageRow, ReminderRow, SendRow
from tests.store.builders import NOW, a_business, at
from tests.store.stage import JID, NUMBER, OTHER, Stage, incoming, jid_of, minutes, sent, set_stage, typed

KEY = IdempotencyKey(key="k1", path="/api/v1/reminders", body_hash="a" * 64)
ONCE = Timing(starts_at=minutes(60))
BEFORE = Timing(event_at=minutes(24 * 60), minutes=(720, 60))
HOURLY = Timing(starts_at=minutes(60), every="FREQ=HOURLY", timezone="UTC")


class Reminders:
    """The reminders of one business on the stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.store = SqlReminderStore(stage.database)

    def new(self, timing: Timing = ONCE, *, number: str = NUMBER, known: bool = False, **changes: Any) -> NewReminder:
        expire_after = timedelta(minutes=changes.get("expire_after_minutes", 360))
        recipient = NewRecipient(to=number, jid=jid_of(number), text="Tu turno", reference="t-17", known=known)
        values: dict[str, Any] = {
            "business_id": self.stage.business.id,
            "recipient": recipient,
            "kind": SendKind.MESSAGE,
            "timing": timing,
            "plan": plan(timing, None, expire_after, NOW),
            "accepted_at": NOW,
        }
        return NewReminder(**{**values, **changes})

    async def accept(self, timing: Timing = ONCE, **changes: Any) -> Reminder:
        accepted = await self.store.accept_reminder(self.new(timing, **changes), to_answer)
        assert accepted.reminder is not None
        return accepted.reminder

    async def fetch(self, reminder: Reminder) -> Reminder:
        return await self.store.fetch_reminder(self.stage.business.id, reminder.id)

    async def statuses(self, reminder: Reminder) -> list[str]:
        return [firing.status.value for firing in (await self.fetch(reminder)).firings]

    async def advance(self, reminder: Reminder, after: float) -> Advanced:
        """`after`: minutes."""
        return await self.store.advance_reminder(reminder.id, minutes(after))

    async def change(
        self, reminder: Reminder, timing: Timing | None = None, *, after: float = 1, **values: Any
    ) -> Reminder:
        planned = None if timing is None else plan(timing, None, timedelta(hours=6), NOW)
        patch = ReminderPatch(values=values, timing=timing, plan=planned)
        return await self.store.change_reminder(self.stage.business.id, reminder.id, patch, minutes(after))

    async def cancel(self, reminder: Reminder, after: float = 1) -> tuple[str, ...]:
        cancelled = await self.store.cancel_reminder(self.stage.business.id, reminder.id, minutes(after))
        return cancelled.queued_sends

    async def next_step_at(self, reminder: Reminder) -> datetime | None:
        (row,) = [one for one in await self.stage.all(ReminderRow) if one.id == reminder.id]
        return row.next_step_at

    async def hold(self, reminder: Reminder) -> None:
        await self.write(update(ReminderRow).where(col(ReminderRow.id) == reminder.id).values(hold="restored"))

    async def disconnect(self, *, active: bool = False) -> None:
        await self.write(update(ConnectionRow).values(active=active))

    async def write(self, statement: Any) -> None:
        await self.stage.database.write(lambda session: session.execute(statement) and None)


def to_answer(reminder: Reminder) -> dict[str, Any]:
    return {"id": reminder.id, "status": reminder.status.value, "text": reminder.message}


@pytest.fixture
async def reminders(database: Database) -> Reminders:
    return Reminders(await set_stage(database))


# ---------------------------------------------------------------- accepting


async def test_reminder_is_told_as_it_was_accepted(reminders: Reminders) -> None:
    reminder = await reminders.accept(BEFORE, cancel_on_reply=True)
    assert await reminders.fetch(reminder) == reminder
    assert (reminder.status, reminder.message, reminder.instruction) == (ReminderStatus.SCHEDULED, "Tu turno", None)
    assert (reminder.to, reminder.jid, reminder.reference) == (NUMBER, JID, "t-17")
    assert (reminder.next_at, await reminders.next_step_at(reminder)) == (minutes(12 * 60), NOW)
    assert [firing.at for firing in reminder.firings] == [minutes(12 * 60), minutes(23 * 60)]


async def test_chat_is_there_at_once_and_known_when_the_client_says_so(reminders: Reminders) -> None:
    await reminders.accept()
    await reminders.accept(number=OTHER, known=True)
    assert [(await reminders.stage.chat(number)).known for number in (NUMBER, OTHER)] == [False, True]


async def test_other_spelling_of_a_number_is_the_same_chat(reminders: Reminders) -> None:
    first = await reminders.accept()
    second = await reminders.accept(number="541112345678")
    assert (second.chat_id, second.jid, second.to) == (first.chat_id, JID, "541112345678")


async def test_business_without_a_connection_is_told(reminders: Reminders) -> None:
    await reminders.disconnect()
    with pytest.raises(Conflict, match="connection"):
        await reminders.accept()
    assert await reminders.stage.all(ReminderRow) == await reminders.stage.all(ChatRow) == []


async def test_reminders_are_listed_newest_first_and_filtered(reminders: Reminders) -> None:
    business_id = reminders.stage.business.id
    first = await reminders.accept()
    second = await reminders.accept(number=OTHER, accepted_at=minutes(1))
    third = await reminders.accept(accepted_at=minutes(2))
    await reminders.cancel(third)

    async def listed(page: Page = Page(page=0, page_size=9), **wanted: Any) -> tuple[list[str], int]:  # noqa: B008
        found, total = await reminders.store.list_reminders(business_id, page, **wanted)
        return [one.id for one in found], total

    assert await listed() == ([third.id, second.id, first.id], 3)
    assert await listed(Page(page=1, page_size=2)) == ([first.id], 3)
    assert await listed(status=ReminderStatus.SCHEDULED) == ([second.id, first.id], 2)
    assert await listed(jid=jid_of("541112345678")) == ([third.id, first.id], 2)
    assert await listed(jid=jid_of("5491100000000")) == ([], 0)


async def test_another_business_sees_nothing(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    stranger, _ = await a_business(reminders.stage.database)
    patch = ReminderPatch(values={})
    assert await reminders.store.list_reminders(stranger.id, Page(page=0, page_size=9)) == ([], 0)
    for asking in (
        reminders.store.fetch_reminder(stranger.id, reminder.id),
        reminders.store.change_reminder(stranger.id, reminder.id, patch, NOW),
        reminders.store.cancel_reminder(stranger.id, reminder.id, NOW),
    ):
        with pytest.raises(NotFound):
            await asking


# ---------------------------------------------------------------- the same key again


async def test_same_key_gives_the_first_answer_also_after_a_change(reminders: Reminders) -> None:
    first = await reminders.store.accept_reminder(reminders.new(), to_answer, idempotency=KEY)
    assert first.reminder is not None
    await reminders.change(first.reminder, message="Otro texto")
    again = await reminders.store.accept_reminder(reminders.new(), to_answer, idempotency=KEY)
    assert (again.answer, again.reminder) == (first.answer, None)
    assert await reminders.store.find_accepted(reminders.stage.business.id, KEY) == first.answer
    assert len(await reminders.stage.all(ReminderRow)) == 1


async def test_concurrent_twins_make_one_reminder(reminders: Reminders) -> None:
    new = reminders.new()
    accepted = await asyncio.gather(
        *(reminders.store.accept_reminder(new, to_answer, idempotency=KEY) for _ in range(8))
    )
    assert all(one.answer == accepted[0].answer for one in accepted)
    assert [one.reminder is not None for one in accepted].count(True) == 1
    assert len(await reminders.stage.all(FiringRow)) == 1


async def test_same_key_with_another_body_is_refused(reminders: Reminders) -> None:
    await reminders.store.accept_reminder(reminders.new(), to_answer, idempotency=KEY)
    other = IdempotencyKey(key=KEY.key, path=KEY.path, body_hash="b" * 64)
    with pytest.raises(Invalid, match="Idempotency-Key"):
        await reminders.store.accept_reminder(reminders.new(), to_answer, idempotency=other)
    with pytest.raises(Invalid, match="Idempotency-Key"):
        await reminders.store.find_accepted(reminders.stage.business.id, other)


# ---------------------------------------------------------------- firing


async def test_nothing_fires_before_its_time(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    assert await reminders.advance(reminder, 59.9) == Advanced(state="wait", until=minutes(60))
    assert await reminders.stage.all(SendRow) == []


async def test_it_fires_as_a_send_of_its_own(reminders: Reminders) -> None:
    reminder = await reminders.accept(respect_quiet_hours=True)
    advanced = await reminders.advance(reminder, 61)
    (send,), (message,) = await reminders.stage.all(SendRow), await reminders.stage.messages()
    assert (advanced.state, advanced.until) == ("done", None)
    assert advanced.send is not None
    assert (send.id, send.reminder_id, send.status, send.total) == (advanced.send.id, reminder.id, "queued", 1)
    assert (send.respect_quiet_hours, send.expires_at, send.ttl_seconds) == (True, minutes(60 + 360), None)
    assert (message.kind, message.sender, message.text, message.reference) == ("reminder", "api", "Tu turno", "t-17")
    assert (message.send_id, message.status, message.expires_at) == (send.id, "queued", minutes(60 + 360))
    fired = await reminders.fetch(reminder)
    (firing,) = fired.firings
    assert (fired.status, fired.next_at, fired.ended_at) == (ReminderStatus.FINISHED, None, minutes(61))
    assert (firing.status, firing.message_id, firing.send_id) == (FiringStatus.FIRED, message.id, send.id)
    assert await reminders.next_step_at(reminder) is None


async def test_firing_is_told(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    advanced = await reminders.advance(reminder, 61)
    assert advanced.send is not None
    (event,) = await reminders.stage.told(EventType.REMINDER_FIRED)
    (message,) = await reminders.stage.messages()
    assert event.at == minutes(61)
    assert event.data == {
        "reminderId": reminder.id,
        "jid": JID,
        "reference": "t-17",
        "messageId": message.id,
        "sendId": advanced.send.id,
        "at": "2026-03-02T16:00:00.000Z",
    }


@pytest.mark.parametrize(("known", "lane"), [(True, "fast"), (False, "slow")])
async def test_known_contacts_are_reminded_in_the_fast_lane(reminders: Reminders, known: bool, lane: str) -> None:
    reminder = await reminders.accept(known=known)
    await reminders.advance(reminder, 61)
    assert [message.lane for message in await reminders.stage.messages()] == [lane]


async def test_instruction_opens_a_conversation(reminders: Reminders) -> None:
    reminder = await reminders.accept(kind=SendKind.INSTRUCTION)
    assert (reminder.message, reminder.instruction) == (None, "Tu turno")
    await reminders.advance(reminder, 61)
    (message,), (conversation,) = await reminders.stage.messages(), await reminders.stage.all(ConversationRow)
    assert (message.kind, message.text, message.conversation_id) == ("opening", None, conversation.id)
    assert (conversation.instruction, conversation.reference) == ("Tu turno", "t-17")


async def test_it_fires_once_however_often_it_is_asked(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    advanced = await asyncio.gather(*(reminders.advance(reminder, 61) for _ in range(6)))
    assert [one.send is not None for one in advanced].count(True) == 1
    assert {one.state for one in advanced} == {"done"}
    assert len(await reminders.stage.messages()) == len(await reminders.stage.told(EventType.REMINDER_FIRED)) == 1


async def test_what_is_too_late_expires(reminders: Reminders) -> None:
    reminder = await reminders.accept(expire_after_minutes=30)
    assert await reminders.advance(reminder, 90) == Advanced(state="done")
    assert await reminders.statuses(reminder) == ["expired"]
    assert await reminders.stage.messages() == []
    assert await reminders.stage.told() == []


async def test_each_offset_before_the_event_fires_and_ends_with_it(reminders: Reminders) -> None:
    reminder = await reminders.accept(BEFORE)
    assert (await reminders.advance(reminder, 12 * 60)).until == minutes(23 * 60)
    assert await reminders.statuses(reminder) == ["fired", "scheduled"]
    assert (await reminders.fetch(reminder)).status is ReminderStatus.SCHEDULED
    assert (await reminders.advance(reminder, 23 * 60)).state == "done"
    assert [send.expires_at for send in await reminders.stage.all(SendRow)] == [minutes(24 * 60)] * 2


async def test_of_several_that_were_missed_only_the_newest_fires(reminders: Reminders) -> None:
    reminder = await reminders.accept(BEFORE)
    assert (await reminders.advance(reminder, 23 * 60 + 1)).state == "done"
    assert await reminders.statuses(reminder) == ["expired", "fired"]
    assert len(await reminders.stage.messages()) == 1


async def test_recurrence_plans_its_next_time_when_it_fires(reminders: Reminders) -> None:
    reminder = await reminders.accept(HOURLY)
    assert [firing.at for firing in reminder.firings] == [minutes(60)]
    for hour in (1, 2, 3):
        advanced = await reminders.advance(reminder, 60 * hour)
        assert (advanced.state, advanced.until) == ("wait", minutes(60 * (hour + 1)))
        assert await reminders.next_step_at(reminder) == minutes(60 * (hour + 1))
    assert await reminders.statuses(reminder) == ["fired", "fired", "fired", "scheduled"]
    assert len({message.send_id for message in await reminders.stage.messages()}) == 3


async def test_recurrence_fires_once_after_an_outage(reminders: Reminders) -> None:
    reminder = await reminders.accept(HOURLY)
    advanced = await reminders.advance(reminder, 60 * 4 + 5)
    assert advanced.until == minutes(60 * 5)
    assert await reminders.statuses(reminder) == ["expired"] * 3 + ["fired", "scheduled"]
    assert len(await reminders.stage.messages()) == 1


async def test_recurrence_ends_with_its_rule(reminders: Reminders) -> None:
    reminder = await reminders.accept(Timing(starts_at=minutes(60), every="FREQ=DAILY;COUNT=2", timezone="UTC"))
    assert (await reminders.advance(reminder, 60)).state == "wait"
    assert (await reminders.advance(reminder, 60 + 1440)).state == "done"
    assert (await reminders.fetch(reminder)).status is ReminderStatus.FINISHED


async def test_old_firings_of_a_recurrence_are_left_out_of_the_document(reminders: Reminders) -> None:
    reminder = await reminders.accept(HOURLY)
    await reminders.advance(reminder, 60 * 40)
    await reminders.advance(reminder, 60 * 80)
    firings = (await reminders.fetch(reminder)).firings
    assert len(firings) == 51
    assert [firing.at for firing in firings[-2:]] == [minutes(60 * 80), minutes(60 * 81)]


async def test_without_a_connection_it_is_tried_again_until_it_expires(reminders: Reminders) -> None:
    reminder = await reminders.accept(HOURLY, expire_after_minutes=30)
    await reminders.disconnect()
    assert await reminders.advance(reminder, 60) == Advanced(state="wait", until=minutes(61))
    assert await reminders.next_step_at(reminder) == minutes(61)
    assert (await reminders.fetch(reminder)).next_at == minutes(60)
    assert (await reminders.advance(reminder, 91)).until == minutes(120)
    assert await reminders.statuses(reminder) == ["expired", "scheduled"]
    await reminders.disconnect(active=True)
    assert (await reminders.advance(reminder, 121)).send is not None


async def test_it_goes_out_over_the_connection_of_that_time(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    _, connection = await a_business(reminders.stage.database)
    await reminders.disconnect()
    moved = update(ConnectionRow).where(col(ConnectionRow.id) == connection.id)
    await reminders.write(moved.values(active=True, business_id=reminders.stage.business.id))
    await reminders.advance(reminder, 61)
    assert [send.connection_id for send in await reminders.stage.all(SendRow)] == [connection.id]


async def test_held_reminder_does_not_fire_until_it_is_resumed(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    await reminders.hold(reminder)
    assert await reminders.advance(reminder, 61) == Advanced(state="held")
    assert await reminders.next_step_at(reminder) is None
    assert (await reminders.fetch(reminder)).hold == "restored"
    await reminders.write(update(ReminderRow).values(hold=None, next_step_at=minutes(90)))
    assert (await reminders.advance(reminder, 90)).send is not None


async def test_message_that_expired_makes_its_firing_expired(reminders: Reminders) -> None:
    reminder = await reminders.accept(known=True)
    advanced = await reminders.advance(reminder, 61)
    assert advanced.send is not None
    await reminders.stage.advance(advanced.send.id, now=minutes(60 + 361))
    assert await reminders.statuses(reminder) == ["expired"]


async def test_unknown_reminder_is_told(reminders: Reminders) -> None:
    with pytest.raises(NotFound):
        await reminders.store.advance_reminder("rem_0", NOW)


# ---------------------------------------------------------------- moving


async def test_it_can_be_moved_until_it_fires(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    moved = await reminders.change(reminder, Timing(starts_at=minutes(120)), message="Más tarde")
    assert (moved.next_at, moved.message) == (minutes(120), "Más tarde")
    assert [firing.at for firing in moved.firings] == [minutes(120)]
    assert await reminders.advance(reminder, 61) == Advanced(state="wait", until=minutes(120))
    assert (await reminders.advance(reminder, 120)).send is not None
    assert [message.text for message in await reminders.stage.messages()] == ["Más tarde"]
    with pytest.raises(Conflict, match="finished"):
        await reminders.change(reminder, Timing(starts_at=minutes(180)))


async def test_moving_leaves_what_has_fired(reminders: Reminders) -> None:
    reminder = await reminders.accept(BEFORE)
    await reminders.advance(reminder, 12 * 60)
    moved = await reminders.change(reminder, Timing(event_at=minutes(48 * 60), minutes=(120,)))
    assert [(firing.at, firing.status.value) for firing in moved.firings] == [
        (minutes(12 * 60), "fired"),
        (minutes(46 * 60), "scheduled"),
    ]


async def test_plan_that_is_older_than_a_firing_does_not_fire_it_again(reminders: Reminders) -> None:
    reminder = await reminders.accept(HOURLY)
    await reminders.advance(reminder, 60)
    await reminders.change(reminder, HOURLY)  # planned before it fired: its first time again
    advanced = await reminders.advance(reminder, 61)
    assert (advanced.send, advanced.until) == (None, minutes(120))
    assert len(await reminders.stage.messages()) == 1


async def test_end_moves_with_expire_after(reminders: Reminders) -> None:
    once, before = await reminders.accept(), await reminders.accept(BEFORE)
    for reminder in (once, before):
        await reminders.change(reminder, expire_after_minutes=90)
    rows = sorted(await reminders.stage.all(FiringRow), key=lambda row: row.at)
    assert [row.expires_at for row in rows] == [minutes(60 + 90), minutes(24 * 60), minutes(24 * 60)]


async def test_held_reminder_stays_held_when_it_is_moved(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    await reminders.hold(reminder)
    await reminders.advance(reminder, 1)
    await reminders.change(reminder, Timing(starts_at=minutes(120)))
    assert await reminders.next_step_at(reminder) is None


# ---------------------------------------------------------------- cancelling


async def test_cancelled_reminder_fires_no_more(reminders: Reminders) -> None:
    reminder = await reminders.accept(BEFORE)
    await reminders.advance(reminder, 12 * 60)
    await reminders.stage.sends.cancel_send(
        reminders.stage.business.id, (await reminders.stage.all(SendRow))[0].id, minutes(12 * 60)
    )
    assert await reminders.cancel(reminder, 13 * 60) == ()
    assert await reminders.statuses(reminder) == ["cancelled", "cancelled"]
    told = await reminders.fetch(reminder)
    assert (told.status, told.next_at, told.ended_at) == (ReminderStatus.CANCELLED, None, minutes(13 * 60))
    assert await reminders.next_step_at(reminder) == minutes(13 * 60)  # its workflow is to end
    assert await reminders.advance(reminder, 24 * 60) == Advanced(state="done")
    assert await reminders.next_step_at(reminder) is None
    await reminders.cancel(reminder, 14 * 60)
    assert await reminders.fetch(reminder) == told
    with pytest.raises(Conflict, match="cancelled"):
        await reminders.change(reminder, ONCE)


async def test_cancelling_names_what_has_not_left_yet(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    advanced = await reminders.advance(reminder, 61)
    assert advanced.send is not None
    assert await reminders.cancel(reminder, 62) == (advanced.send.id,)
    cancelled = await reminders.stage.sends.cancel_send(reminders.stage.business.id, advanced.send.id, minutes(62))
    assert cancelled.status is SendStatus.CANCELLED
    assert await reminders.statuses(reminder) == ["cancelled"]
    assert await reminders.cancel(reminder, 63) == ()


async def test_finished_reminder_cannot_be_cancelled(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    advanced = await reminders.advance(reminder, 61)
    assert advanced.send is not None
    await reminders.stage.record(sent(await reminders.stage.claim(advanced.send.id, now=minutes(61))))
    with pytest.raises(Conflict, match="finished"):
        await reminders.cancel(reminder)
    assert await reminders.statuses(reminder) == ["fired"]


async def test_reply_cancels_what_waits_for_none(reminders: Reminders) -> None:
    asking = await reminders.accept(BEFORE, cancel_on_reply=True)
    patient = await reminders.accept(BEFORE)
    other = await reminders.accept(BEFORE, number=OTHER, cancel_on_reply=True)
    await reminders.advance(asking, 12 * 60)
    await reminders.stage.receive(incoming(when=minutes(13 * 60)), now=minutes(13 * 60 + 1))
    assert await reminders.statuses(asking) == ["fired", "cancelled"]
    assert (await reminders.fetch(asking)).status is ReminderStatus.CANCELLED
    assert await reminders.next_step_at(asking) == minutes(13 * 60 + 1)
    assert await reminders.statuses(patient) == await reminders.statuses(other) == ["scheduled", "scheduled"]


@pytest.mark.parametrize("changes", [{"when": minutes(-1)}, {"when": minutes(1), "history": True}])
async def test_what_was_written_before_or_is_history_is_no_reply(reminders: Reminders, changes: dict[str, Any]) -> None:
    reminder = await reminders.accept(cancel_on_reply=True)
    await reminders.stage.receive(incoming(**changes), now=minutes(1))
    assert await reminders.statuses(reminder) == ["scheduled"]


@pytest.mark.parametrize("kind", [SendKind.MESSAGE, SendKind.INSTRUCTION])
async def test_reply_cancels_what_has_fired_and_not_left_yet(reminders: Reminders, kind: SendKind) -> None:
    reminder = await reminders.accept(cancel_on_reply=True, kind=kind)
    send = (await reminders.advance(reminder, 61)).send
    assert send is not None
    await reminders.stage.receive(incoming(when=minutes(62)), now=minutes(62))
    assert await reminders.stage.step(send.id, now=minutes(63)) == Idle(why="done")
    (message,) = [one for one in await reminders.stage.messages() if one.send_id is not None]
    assert (message.status, message.error_code) == ("cancelled", "reminder_cancelled")
    assert await reminders.statuses(reminder) == ["cancelled"]
    assert all(one.status == "cancelled" for one in await reminders.stage.all(ConversationRow))


async def test_message_of_a_cancelled_reminder_does_not_leave(reminders: Reminders) -> None:
    """As when the API is killed between the two."""
    reminder = await reminders.accept()
    send = (await reminders.advance(reminder, 61)).send
    assert send is not None
    await reminders.cancel(reminder, 62)
    assert await reminders.stage.step(send.id, now=minutes(63)) == Idle(why="done")
    assert await reminders.statuses(reminder) == ["cancelled"]


async def test_reply_before_a_firing_does_not_hold_it_back(reminders: Reminders) -> None:
    await reminders.stage.receive(incoming(when=minutes(-1)), now=minutes(-1))
    reminder = await reminders.accept(cancel_on_reply=True)
    send = (await reminders.advance(reminder, 61)).send
    assert send is not None
    await reminders.stage.claim(send.id, now=minutes(61))


@pytest.mark.parametrize(("taken_over", "leaves"), [(-1, True), (59, False), (62, False)])
async def test_opening_of_a_reminder_leaves_a_chat_to_the_human_who_took_it_after_the_request(
    reminders: Reminders, taken_over: float, leaves: bool
) -> None:
    """Not after the firing: nobody is to be talked over by what was asked for days ago."""
    reminder = await reminders.accept(kind=SendKind.INSTRUCTION)
    if taken_over < 61:
        await reminders.stage.receive(typed(when=minutes(taken_over)), now=minutes(taken_over))
    send = (await reminders.advance(reminder, 61)).send
    assert send is not None
    if taken_over > 61:
        await reminders.stage.receive(typed(when=minutes(taken_over)), now=minutes(taken_over))
    step = await reminders.stage.step(send.id, now=minutes(63))
    assert isinstance(step, Idle)
    assert step.why == ("compose" if leaves else "done")


# ---------------------------------------------------------------- the sweeper


async def test_started_reminder_is_overdue_only_after_its_time(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    await reminders.store.note_started(reminder.id)
    work = reminders.stage.work
    grace = timedelta(seconds=30)

    async def overdue(after: float) -> list[str]:
        return [one.id for one in await work.list_overdue(minutes(after), grace, 10) if one.kind == "reminder"]

    assert await overdue(60.4) == []
    assert await overdue(60.6) == [reminder.id]
    await work.note_namespace("one", NOW)
    await work.note_namespace("two", NOW)
    assert await overdue(0) == [reminder.id]
    await reminders.advance(reminder, 0)
    assert await overdue(1) == []


async def test_reminder_whose_start_failed_is_overdue_long_before_its_time(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    (one,) = [
        one
        for one in await reminders.stage.work.list_overdue(at(31), timedelta(seconds=30), 10)
        if one.kind == "reminder"
    ]
    assert one.id == reminder.id
    await reminders.advance(reminder, 1)  # as its workflow looks, once the sweeper has woken it
    assert await reminders.next_step_at(reminder) == minutes(60)


async def test_moved_reminder_is_looked_at_by_its_workflow_or_the_sweeper(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    await reminders.store.note_started(reminder.id)
    await reminders.change(reminder, Timing(starts_at=minutes(120)), after=7)
    assert await reminders.next_step_at(reminder) == minutes(7)
    await reminders.store.note_started(reminder.id)
    assert await reminders.next_step_at(reminder) == minutes(7)


async def test_start_is_noted_too_late_for_what_has_moved_on(reminders: Reminders) -> None:
    fired, held, cancelled = await reminders.accept(HOURLY), await reminders.accept(), await reminders.accept()
    await reminders.advance(fired, 60)
    await reminders.hold(held)
    await reminders.advance(held, 1)
    await reminders.cancel(cancelled)
    for reminder in (fired, held, cancelled):
        await reminders.store.note_started(reminder.id)
    steps = [await reminders.next_step_at(one) for one in (fired, held, cancelled)]
    assert steps == [minutes(120), None, minutes(1)]


async def test_ended_reminder_is_never_overdue(reminders: Reminders) -> None:
    reminder = await reminders.accept()
    await reminders.advance(reminder, 61)
    await reminders.stage.work.note_namespace("one", NOW)
    await reminders.stage.work.note_namespace("two", NOW)
    listed = await reminders.stage.work.list_overdue(minutes(600), timedelta(0), 10)
    assert [one for one in listed if one.kind == "reminder"] == []


# ---------------------------------------------------------------- at the same time


async def test_cancelling_and_firing_at_once_end_in_one_of_both(reminders: Reminders) -> None:
    for place in range(8):
        reminder = await reminders.accept(number=str(14155550000 + place))
        advanced, queued = await asyncio.gather(reminders.advance(reminder, 61), reminders.cancel(reminder, 61))
        told = await reminders.fetch(reminder)
        assert told.status is ReminderStatus.CANCELLED
        assert queued == ((advanced.send.id,) if advanced.send else ())
        assert [one.status for one in told.firings] == [FiringStatus.FIRED if advanced.send else FiringStatus.CANCELLED]


async def test_reply_and_firing_at_once_do_not_dead_lock(reminders: Reminders) -> None:
    for place in range(8):
        number = str(14155550000 + place)
        reminder = await reminders.accept(number=number, cancel_on_reply=True, kind=SendKind.INSTRUCTION)
        reply = incoming(number=number, when=minutes(61))
        await asyncio.gather(reminders.advance(reminder, 61), reminders.stage.receive(reply, now=minutes(61)))
        assert await reminders.statuses(reminder) in (["fired"], ["cancelled"])


async def test_moving_and_firing_at_once_fire_once(reminders: Reminders) -> None:
    for place in range(8):
        reminder = await reminders.accept(number=str(14155550000 + place))
        before = len(await reminders.stage.all(MessageRow))
        moving = reminders.change(reminder, Timing(starts_at=minutes(120)))
        advanced, moved = await asyncio.gather(reminders.advance(reminder, 61), moving, return_exceptions=True)
        assert isinstance(advanced, Advanced)
        assert isinstance(moved, Conflict) == (advanced.send is not None)
        assert len(await reminders.stage.all(MessageRow)) - before == int(advanced.send is not None)
