"""The simulator's process: what it acknowledged survives it, and it ends cleanly."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from tests.simulator.process import SimulatorProcess, free_port, spawn

BUSINESS, PHONE = "5491138620812", "5491112345678"


def open_session(http: httpx.Client, epoch: int = 1) -> httpx.Response:
    return http.put(f"/gateway/{BUSINESS}/session", json={"epoch": epoch})


def send(http: httpx.Client, attempt: str, epoch: int = 1) -> httpx.Response:
    body = {"epoch": epoch, "attempt": attempt, "to": PHONE, "text": attempt}
    return http.post(f"/gateway/{BUSINESS}/send", json=body)


def outcome(http: httpx.Client, attempt: str, epoch: int = 1) -> str:
    answer = http.post(f"/gateway/{BUSINESS}/outcome", json={"epoch": epoch, "attempt": attempt})
    return str(answer.raise_for_status().json()["outcome"])


@pytest.fixture
def http(simulator: SimulatorProcess) -> httpx.Client:
    return httpx.Client(base_url=simulator.url, trust_env=False, timeout=60)


def test_everything_acknowledged_survives_kill_9(simulator: SimulatorProcess, http: httpx.Client) -> None:
    open_session(http, 3)
    http.put(f"/phones/{PHONE}", json={"name": "Juan", "readAfterMs": 86_400_000})
    http.post(f"/phones/{PHONE}/messages", json={"to": BUSINESS, "text": "hola"}).raise_for_status()
    send(http, "sent", 3).raise_for_status()
    assert outcome(http, "barred", 3) == "not_sent"
    http.put("/faults", json={"latencyMs": 1, "seed": 9})
    paths = ("/ledger", f"/phones/{PHONE}/messages", f"/phones/{PHONE}", "/faults", "/businesses",
             f"/gateway/{BUSINESS}/events?epoch=3")  # fmt: skip
    before = [http.get(path).raise_for_status().json() for path in paths]

    simulator.kill()
    simulator.start()

    assert [http.get(path).json() for path in paths] == before
    assert open_session(http, 2).status_code == 409
    assert outcome(http, "sent", 3) == "sent"
    assert send(http, "barred", 3).status_code == 503
    send(http, "next", 3).raise_for_status()
    assert [each["seq"] for each in http.get("/ledger").json()["deliveries"]] == [1, 2]


def test_kill_9_in_the_midst_of_sends_loses_no_answered_one(simulator: SimulatorProcess, http: httpx.Client) -> None:
    open_session(http)
    answered: list[str] = []
    under_load = threading.Event()

    def keep_sending() -> None:
        with httpx.Client(base_url=simulator.url, trust_env=False, timeout=60) as own:
            for number in range(100_000):
                try:
                    send(own, f"a{number}").raise_for_status()
                except httpx.HTTPError:
                    return
                answered.append(f"a{number}")
                if number > 100:
                    under_load.set()

    sender = threading.Thread(target=keep_sending)
    sender.start()
    assert under_load.wait(60)
    simulator.kill()
    sender.join(60)
    simulator.start()

    reached = [each["text"] for each in http.get("/ledger?limit=10000").json()["deliveries"]]
    assert reached[: len(answered)] == answered
    assert len(reached) - len(answered) <= 1  # the one whose answer the kill cut off
    open_session(http)
    last = f"a{len(answered)}"
    assert outcome(http, last) == ("sent" if last in reached else "not_sent")


def test_due_reads_are_made_after_a_restart(simulator: SimulatorProcess, http: httpx.Client) -> None:
    open_session(http)
    http.put(f"/phones/{PHONE}", json={"readAfterMs": 1000})
    send(http, "a").raise_for_status()
    simulator.kill()
    simulator.start()

    cursor = http.get(f"/gateway/{BUSINESS}/events?epoch=1").json()["events"][0]["cursor"]
    answer = http.get(f"/gateway/{BUSINESS}/events?epoch=1&after={cursor}&wait=20", timeout=60)

    assert [each["body"]["receipt"] for each in answer.json()["events"]] == ["read"]


def test_sigterm_ends_it_cleanly_while_others_wait(simulator: SimulatorProcess, http: httpx.Client) -> None:
    open_session(http)
    http.post(f"/phones/{PHONE}/messages", json={"to": BUSINESS, "text": "hola"}).raise_for_status()
    (event,) = http.get(f"/gateway/{BUSINESS}/events?epoch=1").json()["events"]
    http.put("/faults", json={"latencyMs": 60_000})
    statuses: list[int] = []

    def ask(path: str, **how: object) -> None:
        with httpx.Client(base_url=simulator.url, trust_env=False, timeout=60) as own:
            statuses.append(own.request("POST" if how else "GET", path, **how).status_code)  # type: ignore[arg-type]

    body = {"epoch": 1, "attempt": "a", "to": PHONE, "text": "x"}
    waiting = [
        threading.Thread(target=ask, args=(f"/gateway/{BUSINESS}/events?epoch=1&after={event['cursor']}&wait=60",)),
        threading.Thread(target=ask, args=(f"/gateway/{BUSINESS}/send",), kwargs={"json": body}),
    ]
    for each in waiting:
        each.start()
    while http.get(f"/phones/{PHONE}/messages").json()["messages"][0]["status"] != "delivered":
        pass  # whoever waits for events has told by it that they have this one
    while "boton_simulator_under_way 1.0" not in http.get("/metrics").text:
        pass

    assert simulator.stop() == 0

    for each in waiting:
        each.join(60)
    assert statuses == [503, 503]
    simulator.start()
    assert http.get("/ledger").json() == {"deliveries": []}


def test_file_is_for_its_owner_only(simulator: SimulatorProcess, http: httpx.Client) -> None:
    open_session(http)

    files = list(simulator.path.parent.glob("simulator.db*"))

    assert len(files) >= 2
    assert {each.stat().st_mode & 0o777 for each in files} == {0o600}


def test_port_in_use_is_one_clear_line(simulator: SimulatorProcess, tmp_path: Path) -> None:
    second = spawn(simulator.port, tmp_path / "other.db")
    _, complaint = second.communicate(timeout=60)

    assert second.returncode == 2
    assert complaint.decode().count("\n") == 1
    assert f"Port {simulator.port} is in use" in complaint.decode()


def test_second_simulator_on_the_file_is_one_clear_line(simulator: SimulatorProcess) -> None:
    second = spawn(free_port(), simulator.path)
    _, complaint = second.communicate(timeout=60)

    assert second.returncode == 2
    assert complaint.decode().count("\n") == 1
    assert "another simulator" in complaint.decode()


def test_metrics_have_a_port_of_their_own(tmp_path: Path) -> None:
    port, metrics_port = free_port(), free_port()
    process = spawn(port, tmp_path / "simulator.db", str(metrics_port))
    try:
        transport = httpx.HTTPTransport(retries=8)
        with httpx.Client(transport=transport, timeout=60) as client:
            exposition = client.get(f"http://127.0.0.1:{metrics_port}/metrics").text
        assert "boton_simulator_deliveries_total 0.0" in exposition
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_cursors_of_a_new_file_lie_beyond_the_deleted_ones(simulator: SimulatorProcess, http: httpx.Client) -> None:
    def next_cursor() -> int:
        open_session(http)
        http.post(f"/phones/{PHONE}/messages", json={"to": BUSINESS, "text": "hola"}).raise_for_status()
        return int(http.get(f"/gateway/{BUSINESS}/events?epoch=1").json()["events"][-1]["cursor"])

    before = next_cursor()
    simulator.stop()
    for each in simulator.path.parent.glob("simulator.db*"):
        each.unlink()
    simulator.start()

    assert next_cursor() > before
