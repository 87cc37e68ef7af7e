"""Reminders from the outside: they fire once, whatever is stopped or killed on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.acceptance.api import Api, jid
from tests.acceptance.days import AWAY_DAYS, days_pass
from tests.acceptance.histories import assert_clean, fetch_runs, run_status
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, answers, let_pass
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

PENDING_SECONDS = 120.0


def in_(**time: float) -> str:
    return (datetime.now(UTC) + timedelta(**time)).isoformat()


def remind(api: Api, to: str, text: str, **more: Any) -> dict[str, Any]:
    return _body(api.request("POST", "/reminders", json={"to": to, "message": text, **more}))


def remind_soon(api: Api, to: str, **more: Any) -> dict[str, Any]:
    """Should it be past when it gets there, it is due at once."""
    return _body(api.request("POST", "/reminders", json={"to": to, "at": in_(seconds=1), **more}))


def _body(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def firings(api: Api, reminder: dict[str, Any]) -> list[str]:
    return statuses(api.get(f"/reminders/{reminder['id']}"))


def statuses(reminder: dict[str, Any]) -> list[str]:
    return [firing["status"] for firing in reminder["firings"]]


def await_received(simulator: Simulator, number: str, text: str, seconds: float = ANSWER_SECONDS) -> None:
    wait_for(lambda: text in simulator.received(number), seconds, f"{text!r}")


def test_reminder_reaches_the_phone_at_its_time(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    reminder = remind_soon(api, number, message="Tu turno es a las 15", reference="turno-17")
    assert (reminder["status"], statuses(reminder)) == ("scheduled", ["scheduled"])
    await_received(simulator, number, "Tu turno es a las 15")
    (delivery,) = [one for one in simulator.ledger() if one["to"] == number]
    due = datetime.fromisoformat(reminder["nextAt"])
    assert datetime.fromisoformat(delivery["timestamp"]) >= due - timedelta(seconds=1)
    told = api.get(f"/reminders/{reminder['id']}")
    assert (told["status"], told["nextAt"], firings(api, reminder)) == ("finished", None, ["fired"])
    (message,) = api.messages(number)
    assert message["id"] == told["firings"][0]["messageId"]


def test_firing_is_an_event(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    before = api.last_seq()
    reminder = remind_soon(api, numbers.next(), message="¿Venís?", reference="turno-18")

    def fired() -> list[dict[str, Any]]:
        events = api.get("/events", after=before, limit=1000)["events"]
        ours = [one["data"] for one in events if one["type"] == "reminder.fired"]
        return [data for data in ours if data["reminderId"] == reminder["id"]]

    (data,) = wait_for(fired, ANSWER_SECONDS, "reminder.fired")
    assert (data["reference"], data["jid"], data["at"]) == ("turno-18", reminder["jid"], reminder["nextAt"])
    wait_for(lambda: api.is_finished(data["sendId"]), ANSWER_SECONDS, "the end of its send")
    assert api.recipients(data["sendId"])[0]["messageId"] == data["messageId"]


def test_instruction_is_written_by_the_bot_when_it_is_due(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    reminder = remind_soon(api, number, instruction="Pregunta si viene el jueves")
    wait_for(lambda: answers(simulator, number, "Pregunta si viene el jueves"), ANSWER_SECONDS, "the opening")
    assert firings(api, reminder) == ["fired"]


def test_recurrence_goes_on(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    start = (datetime.now(UTC) + timedelta(seconds=8)).replace(tzinfo=None, microsecond=0)
    reminder = remind(api, number, "Cada hora", every="FREQ=HOURLY", timezone="UTC", at=start.isoformat())
    await_received(simulator, number, "Cada hora")
    told = api.get(f"/reminders/{reminder['id']}")
    assert told["status"] == "scheduled"
    assert datetime.fromisoformat(told["nextAt"]) == (start + timedelta(hours=1)).replace(tzinfo=UTC)
    assert firings(api, reminder) == ["fired", "scheduled"]


def test_it_can_be_moved_and_cancelled_until_it_fires(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    moved_to, cancelled_for = numbers.take(2)
    moved = remind(api, moved_to, "Movido", at=in_(hours=1))
    cancelled = remind(api, cancelled_for, "Cancelado", at=in_(seconds=8))
    answer = api.request("DELETE", f"/reminders/{cancelled['id']}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    after = datetime.fromisoformat(cancelled["nextAt"]) + timedelta(seconds=1)
    answer = api.request("PATCH", f"/reminders/{moved['id']}", json={"at": after.isoformat()})
    assert answer.status_code == 200, answer.text
    await_received(simulator, moved_to, "Movido")
    assert simulator.received(cancelled_for) == []
    assert api.request("DELETE", f"/reminders/{moved['id']}").status_code == 409
    assert api.request("PATCH", f"/reminders/{moved['id']}", json={"message": "x"}).status_code == 409


def test_reply_cancels_it(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    reminder = remind(api, number, "¿Seguís ahí?", at=in_(hours=1), cancelOnReply=True)
    simulator.write(number, "ya estoy")
    wait_for(lambda: firings(api, reminder) == ["cancelled"], ANSWER_SECONDS, "the cancellation")
    (listed,) = api.get("/reminders", jid=jid(number), status="cancelled")["reminders"]
    assert listed["id"] == reminder["id"]


def test_same_key_makes_one_reminder(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    number = numbers.next()
    body = {"to": number, "message": "Una sola vez", "at": in_(seconds=6)}
    headers = {"Idempotency-Key": f"reminder-{number}"}
    first = api.request("POST", "/reminders", json=body, headers=headers)
    await_received(simulator, number, "Una sola vez")
    again = api.request("POST", "/reminders", json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    let_pass(simulator, numbers.next())
    assert simulator.copies("Una sola vez") == {"Una sola vez": 1}


def test_temporal_holds_neither_text_nor_number(
    shared: Stack, api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    fired, pending = numbers.take(2)
    done = remind_soon(api, fired, message="su análisis está listo")
    waiting = remind(api, pending, "su receta vence", at=in_(days=2))
    await_received(simulator, fired, "su análisis está listo")
    wait_for(lambda: run_status(shared, f"reminder/{waiting['id']}"), PENDING_SECONDS, "the waiting one's run")
    runs = {run.id: run for run in fetch_runs(shared)}
    assert_clean(list(runs.values()), simulator)
    rest = runs[f"reminder/{waiting['id']}"]
    assert rest.summary
    assert rest.attributes["BotonStatus"] == "scheduled"
    assert rest.attributes["BotonBusiness"] == shared.up()["business"]["id"]
    assert "activityTaskScheduledEventAttributes" not in str(rest.events)
    wait_for(lambda: run_status(shared, f"reminder/{done['id']}") == "COMPLETED", ANSWER_SECONDS, "the end of its run")


def test_kills_do_not_make_it_fire_twice(rough: Stack, numbers: Numbers) -> None:
    people = numbers.take(30)
    texts = [f"Turno número {place}" for place in range(30)]
    for place, (number, text) in enumerate(zip(people, texts, strict=True)):
        remind(rough.api, number, text, at=in_(seconds=8 + place / 5))
    for _ in range(2):
        wait_for(lambda: rough.simulator.copies(*texts).total() > 0, PENDING_SECONDS, "the first of them")
        pid = rough.kill("worker")
        rough.wait_replaced("worker", pid)
    wait_for(lambda: rough.simulator.copies(*texts).total() >= 30, PENDING_SECONDS, "all of them")
    let_pass(rough.simulator, numbers.next())
    assert rough.simulator.copies(*texts) == dict.fromkeys(texts, 1)


def test_what_fell_due_while_everything_was_off_fires_once_or_expires(own: Stack, numbers: Numbers) -> None:
    """Temporal's file is gone as well."""
    missed, stale, later, moved = numbers.take(4)
    due = remind(own.api, missed, "Se cayó pero llega", at=in_(days=1), expireAfterMinutes=7 * 24 * 60)
    expired = remind(own.api, stale, "Ya no importa", at=in_(days=1))
    pending = remind(own.api, later, "Sigue pendiente", at=in_(days=AWAY_DAYS + 1))
    shifted = remind(own.api, moved, "Adelantado", at=in_(days=AWAY_DAYS + 1))
    assert own.stop() == 0
    for file in own.data_dir.glob("temporal.db*"):
        file.unlink()
    days_pass(own)
    own.start()
    await_received(own.simulator, missed, "Se cayó pero llega", PENDING_SECONDS)
    wait_for(lambda: firings(own.api, expired) == ["expired"], PENDING_SECONDS, "the stale one's end")
    assert firings(own.api, due) == ["fired"]
    running = f"reminder/{pending['id']}"
    wait_for(lambda: run_status(own, running) == "RUNNING", PENDING_SECONDS, "the pending one's new run")
    answer = own.api.request("PATCH", f"/reminders/{shifted['id']}", json={"at": in_(seconds=6)})
    assert answer.status_code == 200, answer.text
    await_received(own.simulator, moved, "Adelantado", PENDING_SECONDS)
    let_pass(own.simulator, numbers.next())
    assert firings(own.api, pending) == ["scheduled"]
    copies = own.simulator.copies("Se cayó pero llega", "Ya no importa", "Adelantado", "Sigue pendiente")
    assert copies == {"Se cayó pero llega": 1, "Ya no importa": 0, "Adelantado": 1, "Sigue pendiente": 0}
