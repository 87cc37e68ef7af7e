"""Numbers linked, switched and logged out, from outside: nothing queued for one leaves through another by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.api import Api
from tests.acceptance.fetching import fetch
from tests.acceptance.histories import run_status
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack, running
from tests.acceptance.talk import Numbers, await_answer, await_delivered
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

FIRST, SECOND = "5491138620812", "5491138620777"
SECONDS = 120.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from running(Stack(tmp_path_factory.mktemp("linking")))


@pytest.fixture
def api(stack: Stack) -> Api:
    """On the first number, connected, with nothing held, before each test."""
    api = stack.api
    link(api, FIRST)
    post(api, "/held/cancel", {})
    stack.simulator.clear_faults()
    return api


def post(api: Api, path: str, body: Any) -> Any:
    answer = api.request("POST", path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def link(api: Api, phone: str) -> None:
    """To a simulated number, until it is connected."""
    post(api, "/connection", {"gateway": "simulator", "phone": phone})
    await_status(api, "connected")


def await_status(api: Api, *wanted: str) -> Any:
    return wait_for(lambda: (now := api.get("/connection"))["status"] in wanted and now, SECONDS, f"{wanted}")


def senders(simulator: Simulator, *texts: str) -> Counter[tuple[str, str]]:
    """Through which number each of these texts left, and how often."""
    return Counter((one["text"], one["from"]) for one in simulator.ledger() if one["text"] in texts)


def test_queue_is_held_and_leaves_through_the_new_number_only_when_resumed(
    stack: Stack, api: Api, numbers: Numbers
) -> None:
    stack.simulator.set_faults(offline=True)
    wait_for(lambda: api.get("/status")["connected"] is False, SECONDS, "the loss to be noticed")
    kept, dropped, bulk = "para retomar", "para cancelar", [f"masivo {n}" for n in range(20)]
    first = api.send(numbers.next(), message=kept)
    second = api.send(numbers.next(), message=dropped)
    many = api.send(numbers.take(20), message="masivo {{n}}", variables={"n": "x"})
    post(api, "/connection", {"gateway": "simulator", "phone": SECOND})
    stack.simulator.clear_faults()
    await_status(api, "connected")
    new = api.send(numbers.next(), message="por el nuevo")
    await_delivered(api, new["id"])
    assert {one["id"] for one in api.get("/held")["held"]} == {first["id"], second["id"], many["id"]}
    assert senders(stack.simulator, kept, dropped, "masivo x", *bulk) == {}
    assert senders(stack.simulator, "por el nuevo") == {("por el nuevo", SECOND): 1}
    assert api.request("POST", f"/sends/{second['id']}/cancel").json()["status"] == "cancelled"
    assert api.request("POST", f"/sends/{first['id']}/resume").status_code == 200
    await_delivered(api, first["id"])
    done = stack.run("held", "resume", many["id"])
    assert "Resumed: 1 sends" in done.stdout, done.stderr
    await_delivered(api, many["id"], SECONDS)
    assert senders(stack.simulator, kept, dropped, "masivo x") == {(kept, SECOND): 1, ("masivo x", SECOND): 20}
    assert api.get("/held")["total"] == 0


def test_send_under_way_is_split_and_nobody_gets_two(stack: Stack, api: Api, numbers: Numbers) -> None:
    stack.simulator.set_faults(latencyMs=500)  # ten at a time: some twenty seconds for all of them
    send = api.send(numbers.take(400), message="a todos")
    wait_for(lambda: senders(stack.simulator, "a todos").total() >= 10, SECONDS, "the first ten")
    link(api, SECOND)
    stack.simulator.clear_faults()
    before = wait_for(lambda: settled(api, send["id"]), SECONDS, "what was on its way")
    assert before["counts"].get("queued", 0) > 0
    assert api.request("POST", f"/sends/{send['id']}/resume").status_code == 200
    wait_for(lambda: api.is_finished(send["id"]), SECONDS, "the end of the send")
    left = senders(stack.simulator, "a todos")
    assert left.total() == 400
    assert set(left) == {("a todos", FIRST), ("a todos", SECOND)}
    assert api.statuses(send["id"]) <= {"sent", "delivered", "read"}, (
        "receipts of the first number come when it is back"
    )


def settled(api: Api, send_id: str) -> Any:
    send = api.get(f"/sends/{send_id}")
    return not (send["counts"]["sending"] or send["counts"]["unconfirmed"]) and send


def test_bot_goes_on_over_the_new_number_and_chats_stay(stack: Stack, api: Api, numbers: Numbers) -> None:
    customer = numbers.next()
    stack.simulator.write(customer, "por el primero")
    await_answer(stack.simulator, customer, "por el primero")
    api.patch_chat(customer, optedOut=True)
    link(api, SECOND)
    assert api.get(f"/chats/{customer}@s.whatsapp.net")["optedOut"] is True
    second = Simulator(stack.simulator.url, SECOND)
    second.write(customer, "por el segundo")
    answer = await_answer(second, customer, "por el segundo")
    assert senders(second, answer) == {(answer, SECOND): 1}
    assert len(api.messages(customer)) >= 4
    wait_for(lambda: len(stack.up()["pids"]["link"]) == 1, SECONDS, "one link, in up.json")


def test_phone_that_cannot_be_linked_says_why_and_the_simulator_comes_back(stack: Stack, api: Api) -> None:
    """There is no WhatsApp to be reached from here; what is queued meanwhile waits for whichever number is next."""
    answer = post(api, "/connection", {"gateway": "whatsapp", "method": "qr"})
    assert (answer["status"], answer["gateway"], answer["phone"]) == ("linking", "whatsapp", None)
    failed = await_status(api, "stopped")
    assert "POST /api/v1/connection" in failed["reason"] or "try again" in failed["reason"]
    assert api.get("/status")["connected"] is False
    wait_for(lambda: 'status="stopped"} 1.0' in metrics(stack), SECONDS, "the metric that alerts")
    assert post(api, "/connection", {"gateway": "simulator"})["phone"] == FIRST
    await_status(api, "connected")


def test_logged_out_business_has_no_number_until_it_links_one(stack: Stack, api: Api, numbers: Numbers) -> None:
    pid = wait_for(lambda: stack.living("link"), SECONDS, "the link in up.json")
    assert api.request("DELETE", "/connection").json()["status"] == "none"
    wait_for(lambda: pid not in stack.processes(), SECONDS, "the end of the link")
    assert api.request("POST", "/send", json={"to": numbers.next(), "message": "hola"}).status_code == 409
    link(api, FIRST)
    await_delivered(api, api.send(numbers.next(), message="hola de nuevo")["id"])


def test_send_that_is_cancelled_while_there_is_no_number_leaves_no_workflow(
    stack: Stack, api: Api, numbers: Numbers
) -> None:
    stack.simulator.set_faults(offline=True)
    send = api.send(numbers.next(), message="no va más")
    wait_for(lambda: run_status(stack, f"send/{send['id']}"), SECONDS, "its workflow")
    assert api.request("DELETE", "/connection").json()["status"] == "none"
    stack.simulator.clear_faults()
    assert api.request("POST", f"/sends/{send['id']}/cancel").json()["status"] == "cancelled"
    wait_for(lambda: run_status(stack, f"send/{send['id']}") == "COMPLETED", SECONDS, "the end of its workflow")


def test_operator_reads_what_a_number_waits_for(stack: Stack, api: Api) -> None:
    before = api.last_seq()
    link(api, SECOND)
    events = api.get("/events", after=before, limit=100)["events"]
    told = [(one["data"]["status"], one["data"]["gateway"]) for one in events if one["type"] == "connection.changed"]
    assert told[:2] == [("stopped", "simulator"), ("connecting", "simulator")]


def metrics(stack: Stack) -> str:
    return fetch(stack.up()["metrics"]).text
