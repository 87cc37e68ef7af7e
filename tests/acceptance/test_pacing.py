"""How fast a number writes: gaps, turns, limits and refusals, as the ledger and the API tell them.

The pauses are short here; what they have to keep is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack, running
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_answer, await_delivered
from tests.acceptance.waiting import stays, wait_for

pytestmark = pytest.mark.timeout(300)

CLOSED_BY_463 = 15.0
MANY = 25
"""Recipients of a bulk that is to go on for as long as a test looks at it."""

QUICK = {"profile": "careful", "fastGapSeconds": [0.1, 0.2], "typing": False, "dailyLimit": None}


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("paced")
    yield from running(Stack(folder, SLOW_LANE_463_SECONDS=str(CLOSED_BY_463), SLOW_LANE_429_SECONDS="3600"))


@pytest.fixture
def api(paced: Stack) -> Iterator[Api]:
    """Nothing is paced, and the lane is open, after the test."""
    yield paced.api
    paced.simulator.clear_faults()
    paced.api.configure(pacing=None, timezone=None)
    open_lane(paced.api)


@pytest.fixture
def simulator(paced: Stack) -> Simulator:
    return paced.simulator


def pace(api: Api, slow_gap: float | tuple[float, float] = 0.1, **changes: object) -> None:
    gap = slow_gap if isinstance(slow_gap, tuple) else (slow_gap, slow_gap)
    api.configure(pacing={**QUICK, "slowGapSeconds": list(gap), **changes})


def open_lane(api: Api) -> None:
    assert api.request("POST", "/connection/slow-lane", json={"open": True}).status_code == 200


def deliveries(simulator: Simulator, *texts: str) -> list[dict[str, str]]:
    """Those of these texts, in the order in which they reached their phones."""
    return [delivery for delivery in simulator.ledger() if delivery["text"] in texts]


def gaps(simulator: Simulator, *texts: str) -> list[float]:
    """Seconds between one delivery and the next."""
    times = [datetime.fromisoformat(delivery["timestamp"]) for delivery in deliveries(simulator, *texts)]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(times)]


# ---------------------------------------------------------------- gaps and turns


def test_bulk_keeps_its_gaps_and_they_differ(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    pace(api, (0.5, 1.5))
    await_delivered(api, api.send(numbers.take(8), message="con pausas")["id"])
    kept = gaps(simulator, "con pausas")
    assert len(kept) == 7
    assert min(kept) >= 0.5
    assert max(kept) - min(kept) > 0.1


def test_known_contacts_keep_the_gaps_of_the_fast_lane(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    pace(api, 30, fastGapSeconds=[0.4, 0.4])
    known = [{"to": number, "known": True} for number in numbers.take(5)]
    await_delivered(api, api.send(known, message="a conocidos")["id"])  # type: ignore[arg-type]
    kept = gaps(simulator, "a conocidos")
    assert min(kept) >= 0.4
    assert max(kept) < 15


def test_reply_does_not_wait_for_a_running_bulk(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    pace(api, 4)
    customer, *recipients = numbers.take(MANY + 1)
    bulk = api.send(recipients, message="de fondo")
    wait_for(lambda: deliveries(simulator, "de fondo"), ANSWER_SECONDS, "the bulk's first message")
    simulator.write(customer, "¿atienden hoy?")
    await_answer(simulator, customer, "¿atienden hoy?")
    left = MANY - len(deliveries(simulator, "de fondo"))
    assert left >= 2, "the answer waited for the bulk"
    api.request("POST", f"/sends/{bulk['id']}/cancel")


def test_two_bulks_take_turns(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    pace(api, 0.8)
    first = api.send(numbers.take(MANY), message="primera tanda")
    wait_for(lambda: deliveries(simulator, "primera tanda"), ANSWER_SECONDS, "the first bulk")
    await_delivered(api, api.send(numbers.take(4), message="segunda tanda")["id"])
    api.request("POST", f"/sends/{first['id']}/cancel")
    order = [one["text"] for one in deliveries(simulator, "primera tanda", "segunda tanda")]
    shared = order[order.index("segunda tanda") :][:7]
    assert shared == ["segunda tanda", "primera tanda"] * 3 + ["segunda tanda"]


def test_transactional_goes_before_marketing(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    pace(api, 0.8)

    def order() -> list[str]:
        return [one["text"] for one in deliveries(simulator, "¡oferta!", "turno confirmado")]

    offers = api.send(numbers.take(MANY), message="¡oferta!", category="marketing")
    wait_for(order, ANSWER_SECONDS, "the marketing")
    await_delivered(api, api.send(numbers.take(3), message="turno confirmado")["id"])
    wait_for(lambda: order()[-1] == "¡oferta!", ANSWER_SECONDS, "the marketing to go on")
    api.request("POST", f"/sends/{offers['id']}/cancel")
    start = order().index("turno confirmado")
    assert order()[start : start + 3] == ["turno confirmado"] * 3


def test_transactional_goes_before_marketing_however_much_of_it_waits(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    """More than the link takes in at a time."""
    pace(api, 0.8)
    offers = [api.send(number, message="¡rebaja!", category="marketing")["id"] for number in numbers.take(150)]
    wait_for(lambda: deliveries(simulator, "¡rebaja!"), ANSWER_SECONDS, "the marketing")
    before = len(deliveries(simulator, "¡rebaja!"))
    await_delivered(api, api.send(numbers.next(), message="turno de hoy")["id"], 120)
    order = [one["text"] for one in deliveries(simulator, "¡rebaja!", "turno de hoy")]
    for offer in offers:
        api.request("POST", f"/sends/{offer}/cancel")
    assert order.index("turno de hoy") - before < 50


def test_typing_is_shown_before_a_reply(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    pace(api, typing=True)
    for customer in numbers.take(10):  # the link may not have read the new pace for a second
        simulator.write(customer, "¿hay lugar?")
        seen = is_typed_to_first(simulator, customer)
        await_answer(simulator, customer, "¿hay lugar?")
        if seen:
            return
    pytest.fail("nobody was typed to before the answer came")


def is_typed_to_first(simulator: Simulator, customer: str) -> bool:
    """Whether "typing…" is seen before the answer, which is waited for at the longest."""
    seen = []

    def look() -> bool:
        if simulator.is_typed_to(customer) and not simulator.received(customer):
            seen.append(True)
        return bool(seen or simulator.received(customer))

    wait_for(look, ANSWER_SECONDS, "typing…, or the answer")
    return bool(seen)


# ---------------------------------------------------------------- what the slow lane does not take


def test_who_is_not_on_whatsapp_is_never_written_to(api: Api, simulator: Simulator, numbers: Numbers) -> None:
    """An attempt would be refused for the number, and close the lane."""
    pace(api)
    absent = numbers.take(2)
    for number in absent:
        simulator.change_phone(number, registered=False)
    simulator.set_faults(rejectRate=1.0, rejectCode=463)
    send = api.send(absent, message="¿están?")
    wait_for(lambda: api.is_finished(send["id"]), ANSWER_SECONDS, "the send's end")
    assert {one["error"]["code"] for one in api.recipients(send["id"])} == {"not_on_whatsapp"}
    assert api.get("/status")["slowLane"]["open"] is True


def test_full_day_waits_for_the_next_until_the_limit_is_raised(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    zone = a_day_of_its_own()
    api.configure(timezone=zone.key)
    pace(api, dailyLimit=3, warmUpDays=0)
    accepted = api.send(numbers.take(5), message="de a tres por día")
    send = wait_for(
        lambda: (found := api.get(f"/sends/{accepted['id']}"))["waiting"] and found, ANSWER_SECONDS, "the limit"
    )
    tomorrow = (datetime.now(zone) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert send["waiting"]["reason"] == "daily_limit"
    assert datetime.fromisoformat(send["waiting"]["until"]) == tomorrow
    assert send["counts"]["queued"] == 2
    assert len(deliveries(simulator, "de a tres por día")) == 3
    pace(api, dailyLimit=4, warmUpDays=0)
    wait_for(lambda: len(deliveries(simulator, "de a tres por día")) == 4, ANSWER_SECONDS, "one more")
    pace(api)
    await_delivered(api, accepted["id"])


def a_day_of_its_own() -> ZoneInfo:
    """Where it is another day than in UTC, in which the other tests count, and midnight is far."""
    return ZoneInfo("Pacific/Kiritimati" if datetime.now(UTC).hour >= 11 else "Etc/GMT+12")


# ---------------------------------------------------------------- refusals


def test_463_closes_the_slow_lane_for_a_while_and_fails_one_message(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    pace(api)
    simulator.set_faults(rejectRate=1.0, rejectCode=463)
    send = api.send(numbers.take(4), message="a desconocidos")
    lane = wait_for(lambda: is_closed(api), ANSWER_SECONDS, "the lane to close")
    simulator.clear_faults()
    assert lane["code"] == "463"
    assert "463" in lane["reason"]
    reopens = datetime.fromisoformat(lane["reopensAt"])
    waiting = wait_for(lambda: api.get(f"/sends/{send['id']}")["waiting"], ANSWER_SECONDS, "the rest to wait")
    assert waiting["reason"] == "slow_lane_closed"
    wait_for(lambda: api.is_finished(send["id"]), 60, "the rest to go on by itself")
    assert [one["status"] for one in api.recipients(send["id"])].count("failed") == 1
    assert [one["error"]["code"] for one in api.recipients(send["id"]) if one["error"]] == ["number_refused"]
    reached = deliveries(simulator, "a desconocidos")
    assert len(reached) == 3
    assert all(datetime.fromisoformat(one["timestamp"]) >= reopens for one in reached)
    assert api.get("/status")["slowLane"]["open"] is True


def test_closed_lane_leaves_replies_and_known_contacts_open_and_is_opened_by_hand(
    api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    pace(api)
    customer, known, *unknown = numbers.take(5)
    simulator.set_faults(rejectRate=1.0, rejectCode=429)
    bulk = api.send(unknown, message="demasiado rápido")
    wait_for(lambda: is_closed(api), ANSWER_SECONDS, "the lane to close")
    simulator.clear_faults()
    simulator.write(customer, "¿me responden?")
    await_answer(simulator, customer, "¿me responden?")
    await_delivered(api, api.send([{"to": known, "known": True}], message="a una conocida")["id"])  # type: ignore[list-item]
    assert api.statuses(bulk["id"]) == {"queued"}, "what was refused with 429 is due again, later"
    assert is_closed(api)["code"] == "429"
    open_lane(api)
    assert api.get("/status")["slowLane"] == {"open": True, "reason": None, "code": None, "reopensAt": None}
    await_delivered(api, bulk["id"])
    assert Counter(one["to"] for one in deliveries(simulator, "demasiado rápido")) == dict.fromkeys(unknown, 1)


def test_closed_lane_survives_a_kill_of_its_link(
    paced: Stack, api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    pace(api)
    simulator.set_faults(rejectRate=1.0, rejectCode=429)
    bulk = api.send(numbers.take(3), message="todavía no")
    wait_for(lambda: is_closed(api), ANSWER_SECONDS, "the lane to close")
    simulator.clear_faults()
    paced.wait_replaced("link", paced.kill("link"))
    customer = numbers.next()
    simulator.write(customer, "¿siguen ahí?")
    await_answer(simulator, customer, "¿siguen ahí?")
    stays(lambda: api.statuses(bulk["id"]) == {"queued"}, 2, "nothing of it leaves")
    open_lane(api)
    await_delivered(api, bulk["id"])


def is_closed(api: Api) -> dict[str, str]:
    """The lane as /status tells it; nothing while it is open."""
    lane = api.get("/status")["slowLane"]
    return {} if lane["open"] else lane


# ---------------------------------------------------------------- kills


def test_killed_link_keeps_the_gaps_and_repeats_nothing(
    paced: Stack, api: Api, simulator: Simulator, numbers: Numbers
) -> None:
    """The gap is twice what a link may take to be there again. A successor counts from the claim, which may be a while
    before the delivery.
    """
    gap = 12.0
    pace(api, gap)
    recipients = numbers.take(4)
    send = api.send(recipients, message="a pesar de todo")
    for already in (1, 2):
        wait_for(lambda: len(deliveries(simulator, "a pesar de todo")) >= already, ANSWER_SECONDS, f"message {already}")  # noqa: B023
        paced.wait_replaced("link", paced.kill("link"))
    await_delivered(api, send["id"], 120)
    assert min(gaps(simulator, "a pesar de todo")) >= gap / 2
    assert Counter(one["to"] for one in deliveries(simulator, "a pesar de todo")) == dict.fromkeys(recipients, 1)
