"""/reminders: what may be asked for, and what is told. Now is 20 November 2026, 18:04:05 UTC (15:04 in Córdoba)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from boton.domain.messages import MessageStatus
from boton.store.reminders import SqlReminderStore
from tests.api.conftest import JUAN, JUAN_JID, Clock, FakeStarter, Tenant, check_problem
from tests.waiting import until

AT = "2026-11-21T12:00:00.000Z"
ZONE = "America/Argentina/Cordoba"
ONCE = {"to": JUAN, "message": "Tu turno es hoy", "at": AT}
EVERY = {"to": JUAN, "message": "Buen día", "every": "FREQ=DAILY;BYHOUR=9;BYMINUTE=0", "timezone": ZONE}
EVENT = "2026-11-22T15:00:00-03:00"
BEFORE = {"to": JUAN, "message": "Te esperamos", "before": {"event": EVENT, "minutes": [60, 1440]}}


async def create(tenant: Tenant, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = await tenant.http.post("/api/v1/reminders", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def change(tenant: Tenant, id: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await tenant.patch(f"/reminders/{id}", body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def fetch(tenant: Tenant, id: str) -> dict[str, Any]:
    document: dict[str, Any] = (await tenant.get(f"/reminders/{id}")).json()
    return document


async def refused(tenant: Tenant, body: dict[str, Any], path: str) -> str:
    """Its detail, after checking that it names the field."""
    problem = check_problem(await tenant.post("/reminders", body), 422)
    assert path in [error["path"] for error in problem["errors"]], problem
    assert (await tenant.get("/reminders")).json()["total"] == 0
    return str(problem["detail"])


async def configure(tenant: Tenant, **config: Any) -> None:
    assert (await tenant.post("/config", config)).status_code == 200


async def fire(tenant: Tenant, id: str, clock: Clock, **later: float) -> None:
    """As the worker does it, at that time from now."""
    clock.advance(**later)
    await SqlReminderStore(tenant.database).advance_reminder(id, clock())


def times(document: dict[str, Any]) -> list[str]:
    return [firing["at"] for firing in document["firings"]]


# ---------------------------------------------------------------- creating


async def test_one_time(tenant: Tenant, starter: FakeStarter) -> None:
    document = await create(tenant, {**ONCE, "reference": "turno-17"})
    id = document.pop("id")
    assert id.startswith("rem_")
    assert document == {
        "status": "scheduled",
        "to": JUAN,
        "jid": JUAN_JID,
        "message": "Tu turno es hoy",
        "instruction": None,
        "at": AT,
        "every": None,
        "timezone": None,
        "event": None,
        "minutes": None,
        "reference": "turno-17",
        "cancelOnReply": False,
        "expireAfterMinutes": 360,
        "respectQuietHours": False,
        "nextAt": AT,
        "hold": None,
        "createdAt": "2026-11-20T18:04:05.678Z",
        "endedAt": None,
        "firings": [{"at": AT, "status": "scheduled", "messageId": None}],
        "leftOut": [],
    }
    del document["leftOut"]
    assert await fetch(tenant, id) == {"id": id, **document}
    await until(lambda: starter.reminders)
    assert [(started, wake) for started, _, wake in starter.reminders] == [(id, False)]
    assert starter.sends == []


async def test_start_knows_when_it_is_due(tenant: Tenant, starter: FakeStarter) -> None:
    await create(tenant, ONCE)
    await until(lambda: starter.reminders)
    ((_, due_at, _),) = starter.reminders
    assert due_at is not None
    assert due_at.isoformat() == "2026-11-21T12:00:00+00:00"


async def test_temporal_away_is_no_reason_to_refuse(tenant: Tenant, starter: FakeStarter) -> None:
    starter.trouble = TimeoutError("temporal is away")
    assert (await fetch(tenant, (await create(tenant, ONCE))["id"]))["status"] == "scheduled"


async def test_local_time_is_that_of_the_zone_given_or_of_the_business(tenant: Tenant) -> None:
    local = {**ONCE, "at": "2026-11-21T09:00:00"}
    assert "offset" in await refused(tenant, local, "at")
    assert (await create(tenant, {**local, "timezone": ZONE}))["nextAt"] == AT
    await configure(tenant, timezone="America/New_York")
    assert (await create(tenant, local))["nextAt"] == "2026-11-21T14:00:00.000Z"
    assert (await create(tenant, {**local, "at": "2026-11-21T09:00:00-03:00"}))["nextAt"] == AT


async def test_just_past_is_now_and_long_past_is_refused(tenant: Tenant) -> None:
    await refused(tenant, {**ONCE, "at": "2026-11-20T17:59:00Z"}, "at")
    await refused(tenant, {**ONCE, "at": "2033-11-20T18:00:00Z"}, "at")
    assert (await create(tenant, {**ONCE, "at": "2026-11-20T18:00:00Z"}))["nextAt"] == "2026-11-20T18:04:05.678Z"


async def test_recurrence(tenant: Tenant) -> None:
    document = await create(tenant, {**EVERY, "every": "RRULE:freq=daily;byhour=9"})
    assert (document["every"], document["timezone"]) == ("FREQ=DAILY;BYHOUR=9", ZONE)
    assert document["nextAt"] == AT  # 09:00 in Córdoba
    assert times(document) == [AT]


async def test_recurrence_from_a_first_possible_time(tenant: Tenant) -> None:
    document = await create(tenant, {**EVERY, "every": "FREQ=WEEKLY", "at": "2026-11-30T10:30:00"})
    assert document["nextAt"] == document["at"] == "2026-11-30T13:30:00.000Z"
    past = await create(tenant, {**EVERY, "every": "FREQ=WEEKLY;COUNT=3", "at": "2026-11-11T10:30:00"})
    assert past["nextAt"] == "2026-11-25T13:30:00.000Z"


async def test_recurrence_needs_a_zone(tenant: Tenant) -> None:
    body = {**EVERY, "timezone": None}
    await refused(tenant, body, "timezone")
    await configure(tenant, timezone=ZONE)
    assert (await create(tenant, body))["timezone"] == ZONE


@pytest.mark.parametrize(
    "every",
    [
        "FREQ=MINUTELY",
        "FREQ=DAILY;INTERVAL=0",
        "every day",
        "FREQ=DAILY;UNTIL=20200101",
        "FREQ=DAILY;BYMONTHDAY=32",
        "FREQ=MONTHLY;BYDAY=53TU",
    ],
)
async def test_rule_that_cannot_be_is_refused(tenant: Tenant, every: str) -> None:
    await refused(tenant, {**EVERY, "every": every}, "every")


async def test_before_an_event(tenant: Tenant) -> None:
    document = await create(tenant, BEFORE)
    assert (document["event"], document["minutes"]) == ("2026-11-22T18:00:00.000Z", [60, 1440])
    assert times(document) == ["2026-11-21T18:00:00.000Z", "2026-11-22T17:00:00.000Z"]
    assert document["nextAt"] == "2026-11-21T18:00:00.000Z"


async def test_offsets_that_are_past_are_told(tenant: Tenant) -> None:
    soon = {**BEFORE, "before": {"event": "2026-11-20T19:00:00Z", "minutes": [1440, 30]}}
    document = await create(tenant, soon)
    assert times(document) == ["2026-11-20T18:30:00.000Z"]
    assert document["leftOut"] == [{"at": "2026-11-19T19:00:00.000Z", "minutes": 1440, "reason": "past"}]


async def test_all_past_is_refused(tenant: Tenant) -> None:
    past = {**BEFORE, "before": {"event": "2026-11-20T18:05:00Z", "minutes": [60]}}
    assert "Nothing is left" in await refused(tenant, past, "before")


async def test_quiet_hours_are_respected_when_asked_for(tenant: Tenant) -> None:
    await configure(tenant, timezone=ZONE, quietHours={"start": "21:00", "end": "08:00"})
    night = {**ONCE, "at": "2026-11-21T03:00:00"}
    assert (await create(tenant, night))["nextAt"] == "2026-11-21T06:00:00.000Z"
    assert (await create(tenant, {**night, "respectQuietHours": True}))["nextAt"] == "2026-11-21T11:00:00.000Z"


async def test_recipient_with_something_of_its_own(tenant: Tenant) -> None:
    to = {"to": "+54 9 11 1234-5678", "variables": {"name": "Juan"}, "reference": "r-2", "known": True}
    body = {
        "to": to,
        "message": "Hola {{name}}, a las {{hour}}",
        "variables": {"hour": 15},
        "at": AT,
        "reference": "r-1",
    }
    document = await create(tenant, body)
    assert (document["to"], document["message"]) == ("+54 9 11 1234-5678", "Hola Juan, a las 15")
    assert document["reference"] == "r-2"
    assert (await tenant.get(f"/chats/{JUAN_JID}")).json()["known"] is True


async def test_instruction(tenant: Tenant) -> None:
    body = {"to": JUAN, "instruction": "Pregunta como sigue", "at": AT}
    document = await create(tenant, body)
    assert (document["message"], document["instruction"]) == (None, "Pregunta como sigue")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"at": None}, "at"),
        ({"every": "FREQ=DAILY", "before": {"event": EVENT, "minutes": [60]}}, "at"),
        ({"before": {"event": EVENT, "minutes": [60]}}, "at"),
        ({"message": None}, "message"),
        ({"instruction": "x"}, "message"),
        ({"message": "   "}, "message"),
        ({"to": "12"}, "to"),
        ({"to": [JUAN]}, "to"),
        ({"to": {"to": "abc"}}, "to"),
        ({"to": {"number": JUAN}}, "to.to"),
        ({"to": True}, "to"),
        ({"to": "123@g.us"}, "to"),
        ({"message": "Hola {{name}}", "variables": {}}, "to"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"expireAfterMinutes": 0}, "expireAfterMinutes"),
        ({"expireAfterMinutes": 10081}, "expireAfterMinutes"),
        ({"at": "tomorrow"}, "at"),
        ({"at": None, "before": {"event": EVENT, "minutes": []}}, "before.minutes"),
        ({"at": None, "before": {"event": EVENT, "minutes": [0]}}, "before.minutes.0"),
        ({"at": None, "before": {"event": "2026-11-22T15:00:00", "minutes": [5]}}, "before.event"),
        ({"category": "marketing"}, "category"),
    ],
)
async def test_what_is_wrong_is_named(tenant: Tenant, changes: dict[str, Any], path: str) -> None:
    await refused(tenant, {**ONCE, **changes}, path)


async def test_wrong_number_has_its_code(tenant: Tenant) -> None:
    problem = check_problem(await tenant.post("/reminders", {**ONCE, "to": "12"}), 422)
    assert problem["code"] == "invalid_number"


# ---------------------------------------------------------------- the same key again


async def test_same_key_gives_the_first_answer_whatever_became_of_it(
    tenant: Tenant, starter: FakeStarter, clock: Clock
) -> None:
    first = await create(tenant, ONCE, "k1")
    await change(tenant, first["id"], {"message": "Otro"})
    clock.advance(days=3)  # what was right then would be refused now
    assert await create(tenant, dict(reversed(ONCE.items())), "k1") == first
    check_problem(await tenant.post("/reminders", ONCE), 422)
    await until(lambda: [wake for _, _, wake in starter.reminders] == [False, True])


async def test_another_body_with_the_same_key(tenant: Tenant) -> None:
    await create(tenant, ONCE, "k1")
    headers = {"Idempotency-Key": "k1"}
    answer = await tenant.http.post("/api/v1/reminders", json={**ONCE, "message": "Chau"}, headers=headers)
    check_problem(answer, 422)


async def test_twins_at_once_are_one_reminder(tenant: Tenant, starter: FakeStarter) -> None:
    answers = await asyncio.gather(*(create(tenant, ONCE, "k1") for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert (await tenant.get("/reminders")).json()["total"] == 1
    await until(lambda: starter.reminders)
    assert len(starter.reminders) == 1


async def test_same_key_for_a_send_is_another_one(tenant: Tenant) -> None:
    await create(tenant, ONCE, "k1")
    send = {"to": JUAN, "message": "Hola"}
    answer = await tenant.http.post("/api/v1/send", json=send, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 202


# ---------------------------------------------------------------- telling


async def test_list_is_newest_first_by_status_and_chat(tenant: Tenant, clock: Clock) -> None:
    ids = []
    for to in (JUAN, "5491198765432", JUAN):
        ids.insert(0, (await create(tenant, {**ONCE, "to": to}))["id"])
        clock.advance(seconds=1)
    await tenant.http.delete(f"/api/v1/reminders/{ids[0]}")

    async def listed(**query: Any) -> tuple[list[str], int, bool]:
        page = (await tenant.get("/reminders", **query)).json()
        return [one["id"] for one in page["reminders"]], page["total"], page["hasMore"]

    assert await listed() == (ids, 3, False)
    assert await listed(page=0, pageSize=2) == (ids[:2], 3, True)
    assert await listed(status="cancelled") == (ids[:1], 1, False)
    assert await listed(jid="541112345678") == ([ids[0], ids[2]], 2, False)
    assert await listed(jid=JUAN_JID, status="scheduled") == ([ids[2]], 1, False)
    check_problem(await tenant.get("/reminders", jid="nobody"), 422)
    check_problem(await tenant.get("/reminders", status="sleeping"), 422)


async def test_another_business_sees_none_of_it(tenant: Tenant, stranger: Tenant) -> None:
    id = (await create(tenant, ONCE))["id"]
    assert (await stranger.get("/reminders")).json()["total"] == 0
    check_problem(await stranger.get(f"/reminders/{id}"), 404)
    check_problem(await stranger.patch(f"/reminders/{id}", {"message": "x"}), 404)
    check_problem(await stranger.http.delete(f"/api/v1/reminders/{id}"), 404)
    assert (await fetch(tenant, id))["status"] == "scheduled"


async def test_what_is_no_id_is_not_found(tenant: Tenant) -> None:
    for id in ("rem_0", "a%00b", "x" * 70):
        check_problem(await tenant.get(f"/reminders/{id}"), 404)


async def test_fired_reminder_names_its_message(tenant: Tenant, clock: Clock) -> None:
    id = (await create(tenant, BEFORE))["id"]
    await fire(tenant, id, clock, days=1)
    document = await fetch(tenant, id)
    first, second = document["firings"]
    assert (first["status"], second["status"]) == ("fired", "scheduled")
    assert first["messageId"].startswith("msg_")
    assert (document["status"], document["nextAt"]) == ("scheduled", second["at"])
    (event,) = [
        one for one in (await tenant.get("/events", after=0)).json()["events"] if one["type"] == "reminder.fired"
    ]
    assert event["data"]["reminderId"] == id
    assert event["data"]["messageId"] == first["messageId"]
    assert event["data"]["at"] == first["at"]
    sent = (await tenant.get(f"/sends/{event['data']['sendId']}")).json()
    assert sent["reminderId"] == id
    assert (await tenant.get("/sends")).json()["total"] == 0


# ---------------------------------------------------------------- changing


async def test_it_can_be_moved(tenant: Tenant, starter: FakeStarter) -> None:
    id = (await create(tenant, ONCE))["id"]
    moved = await change(tenant, id, {"at": "2026-11-25T12:00:00Z"})
    assert (moved["nextAt"], times(moved)) == ("2026-11-25T12:00:00.000Z", ["2026-11-25T12:00:00.000Z"])
    assert moved["message"] == "Tu turno es hoy"
    await until(lambda: [wake for _, _, wake in starter.reminders] == [False, True])


async def test_other_fields_leave_its_time(tenant: Tenant) -> None:
    first = await create(tenant, {**ONCE, "reference": "r-1"})
    changes = {"instruction": "Pregunta", "reference": None, "cancelOnReply": True, "expireAfterMinutes": 5}
    changed = await change(tenant, first["id"], changes)
    expected = {**first, **changes, "message": None}
    assert changed == expected
    assert await change(tenant, first["id"], {}) == expected


async def test_event_can_be_moved(tenant: Tenant) -> None:
    id = (await create(tenant, BEFORE))["id"]
    moved = await change(tenant, id, {"before": {"event": "2026-11-20T19:00:00Z", "minutes": [60, 15]}})
    assert times(moved) == ["2026-11-20T18:45:00.000Z"]
    assert [one["minutes"] for one in moved["leftOut"]] == [60]


async def test_recurrence_keeps_its_rule_or_its_beginning(tenant: Tenant) -> None:
    id = (await create(tenant, {**EVERY, "at": "2026-12-01T00:00:00"}))["id"]
    assert (await change(tenant, id, {"at": "2026-12-10T00:00:00"}))["nextAt"] == "2026-12-10T12:00:00.000Z"
    rule = await change(tenant, id, {"every": "FREQ=DAILY;BYHOUR=10;BYMINUTE=0"})
    assert rule["nextAt"] == "2026-12-10T13:00:00.000Z"
    zone = await change(tenant, id, {"timezone": "UTC"})
    assert (zone["nextAt"], zone["at"]) == ("2026-12-10T10:00:00.000Z", "2026-12-10T00:00:00.000Z")


async def test_rule_that_stays_as_it_is_keeps_its_rhythm_and_its_count(tenant: Tenant, clock: Clock) -> None:
    rule = {"every": "FREQ=DAILY;INTERVAL=2;COUNT=3;BYHOUR=9;BYMINUTE=0", "timezone": ZONE}
    first = await create(tenant, {**EVERY, **rule})
    clock.advance(hours=30)
    again = await change(tenant, first["id"], {**rule, "respectQuietHours": False})
    assert (again["at"], again["nextAt"], again["firings"]) == (first["at"], first["nextAt"], first["firings"])


async def test_firing_that_quiet_hours_have_put_off_stays_when_nothing_changes(tenant: Tenant, clock: Clock) -> None:
    await configure(tenant, timezone=ZONE, quietHours={"start": "21:00", "end": "08:00"})
    rule = {"every": "FREQ=DAILY;BYHOUR=22;BYMINUTE=0", "respectQuietHours": True}
    first = await create(tenant, {**EVERY, **rule})
    clock.advance(hours=10)
    again = await change(tenant, first["id"], {**rule, "timezone": ZONE, "message": "Hola"})
    assert (again["nextAt"], again["firings"]) == (first["nextAt"], first["firings"])


async def test_another_way_of_time(tenant: Tenant) -> None:
    id = (await create(tenant, ONCE))["id"]
    recurring = await change(tenant, id, {"every": "FREQ=DAILY;BYHOUR=9;BYMINUTE=0", "timezone": ZONE})
    assert (recurring["nextAt"], recurring["event"]) == (AT, None)
    event = await change(tenant, id, {"before": {"event": EVENT, "minutes": [60]}})
    assert (event["every"], event["at"], event["nextAt"]) == (None, None, "2026-11-22T17:00:00.000Z")
    once = await change(tenant, id, {"at": AT})
    assert (once["event"], once["minutes"], once["nextAt"]) == (None, None, AT)


async def test_quiet_hours_can_be_asked_for_later(tenant: Tenant) -> None:
    await configure(tenant, timezone=ZONE, quietHours={"start": "21:00", "end": "08:00"})
    id = (await create(tenant, {**ONCE, "at": "2026-11-21T03:00:00"}))["id"]
    assert (await change(tenant, id, {"respectQuietHours": True}))["nextAt"] == "2026-11-21T11:00:00.000Z"
    assert (await change(tenant, id, {"respectQuietHours": False}))["nextAt"] == "2026-11-21T06:00:00.000Z"


@pytest.mark.parametrize(
    "body",
    [
        {"at": "2026-11-20T12:00:00Z"},
        {"at": AT, "before": {"event": EVENT, "minutes": [60]}},
        {"timezone": ZONE},
        {"message": "a", "instruction": "b"},
        {"message": "  "},
        {"every": "FREQ=SECONDLY"},
        {"before": {"event": "2026-11-20T18:05:00Z", "minutes": [60]}},
        {"to": JUAN},
    ],
)
async def test_change_that_cannot_be_changes_nothing(tenant: Tenant, body: dict[str, Any]) -> None:
    id = (await create(tenant, ONCE))["id"]
    before = await fetch(tenant, id)
    check_problem(await tenant.patch(f"/reminders/{id}", body), 422)
    assert await fetch(tenant, id) == before


async def test_ended_reminder_cannot_be_changed(tenant: Tenant, clock: Clock) -> None:
    done = (await create(tenant, ONCE))["id"]
    await fire(tenant, done, clock, days=1)
    for body in ({"message": "x"}, {"at": "2026-12-01T00:00:00Z"}, {"respectQuietHours": True}):
        check_problem(await tenant.patch(f"/reminders/{done}", body), 409)


# ---------------------------------------------------------------- cancelling


async def cancel(tenant: Tenant, id: str) -> dict[str, Any]:
    answer = await tenant.http.delete(f"/api/v1/reminders/{id}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_cancelling(tenant: Tenant, starter: FakeStarter) -> None:
    id = (await create(tenant, BEFORE))["id"]
    cancelled = await cancel(tenant, id)
    assert (cancelled["status"], cancelled["nextAt"]) == ("cancelled", None)
    assert [firing["status"] for firing in cancelled["firings"]] == ["cancelled", "cancelled"]
    assert await cancel(tenant, id) == cancelled
    await until(lambda: (id, None, True) in starter.reminders)
    check_problem(await tenant.patch(f"/reminders/{id}", {"message": "x"}), 409)


async def test_what_fired_and_has_not_left_is_cancelled_too(tenant: Tenant, starter: FakeStarter, clock: Clock) -> None:
    id = (await create(tenant, ONCE))["id"]
    await fire(tenant, id, clock, hours=18)
    cancelled = await cancel(tenant, id)
    (firing,) = cancelled["firings"]
    assert (cancelled["status"], firing["status"]) == ("cancelled", "cancelled")
    await until(lambda: starter.woken)
    (send_id,) = starter.woken
    recipients = (await tenant.get(f"/sends/{send_id}/recipients")).json()["recipients"]
    assert [(one["messageId"], one["status"]) for one in recipients] == [
        (firing["messageId"], MessageStatus.CANCELLED.value)
    ]
    assert await cancel(tenant, id) == cancelled


async def test_finished_reminder_has_nothing_to_cancel(tenant: Tenant, clock: Clock) -> None:
    id = (await create(tenant, {**ONCE, "expireAfterMinutes": 1}))["id"]
    await fire(tenant, id, clock, days=1)
    check_problem(await tenant.http.delete(f"/api/v1/reminders/{id}"), 409)
    assert (await fetch(tenant, id))["status"] == "finished"


async def test_reply_cancels(tenant: Tenant, clock: Clock) -> None:
    id = (await create(tenant, {**BEFORE, "cancelOnReply": True}))["id"]
    await tenant.hear("ya fui, gracias")
    assert (await fetch(tenant, id))["status"] == "cancelled"
