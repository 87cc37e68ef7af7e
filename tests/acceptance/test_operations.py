"""What an operator watches: health, metrics, memory, `boton doctor`, `boton find`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.api import Api
from tests.acceptance.fetching import fetch
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_answer, await_delivered
from tests.acceptance.waiting import wait_for

MOST_MEGABYTES = 600
COUNTED = {"boton_http_requests", "boton_messages", "boton_llm_calls", "boton_send_seconds"}
PROCESSES = {"api", "worker", "connections", "link", "simulator"}
_LABELS = re.compile(r'(\w+)="')


def fetch_metrics(stack: Stack) -> str:
    answer = fetch(stack.up()["metrics"])
    assert answer.status_code == 200
    return answer.text


def test_metrics_tell_of_every_process(shared: Stack, api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    simulator.change_phone(customer, name="Eleuterio")
    simulator.write(customer, "¿cuánto sale el corte?")
    await_answer(simulator, customer, "¿cuánto sale el corte?")
    await_delivered(api, api.send(customer, message="sale diez")["id"])
    wait_for(lambda: not untold(fetch_metrics(shared)), ANSWER_SECONDS, lambda: f"{untold(fetch_metrics(shared))}")


def untold(text: str) -> set[str]:
    """Of what the metrics say nothing yet: processes, which have a second to answer, and families."""
    totals, up = {}, set()
    for family in text_string_to_metric_families(text):
        totals[family.name] = sum(sample.value for sample in family.samples)
        if family.name == "boton_process_up":
            up = {sample.labels["process"].split("/")[0] for sample in family.samples if sample.value}
    counted = {name for name, total in totals.items() if total > 0}
    temporals = {name.partition("_")[0] for name in totals}
    return (PROCESSES ^ up) | (COUNTED - counted) | ({"temporal"} - temporals)


def test_metrics_are_well_formed_and_name_nobody(shared: Stack) -> None:
    text = fetch_metrics(shared)
    for line in text.splitlines():
        names = _LABELS.findall(line)
        assert line.startswith("#") or len(names) == len(set(names)), f"a label twice: {line}"
        labels = line[line.find("{") : line.rfind("}") + 1] if "{" in line else ""
        assert not re.search(r"[0-9]{10,15}@|\b[1-9][0-9]{9,14}\b", labels), line
    assert "Eleuterio" not in text
    assert "corte" not in text


def test_health_needs_no_token(shared: Stack) -> None:
    api = shared.up()["api"]
    assert fetch(f"{api}/health/live").status_code == 200
    wait_for(lambda: fetch(f"{api}/health/ready").status_code == 200, ANSWER_SECONDS, "every part to answer in time")


def test_docs_and_openapi_are_served(shared: Stack) -> None:
    api = shared.up()["api"]
    assert fetch(f"{api}/docs").status_code == 200
    schema = fetch(f"{api}/openapi.json").json()
    assert {"/api/v1/send", "/api/v1/status", "/api/v1/chats", "/api/v1/config"} <= set(schema["paths"])


def test_find_shows_a_customers_chat_and_its_workflows(shared: Stack, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    simulator.write(customer, "¿dónde queda?")
    await_answer(simulator, customer, "¿dónde queda?")
    shown = shared.run("find", f"+{customer}")
    assert shown.returncode == 0, shown.stderr
    assert f"{shared.up()['temporalUi']}/namespaces/default/workflows/chat%2F" in shown.stdout
    assert shared.run("find", numbers.next()).returncode == 1


def test_doctor_finds_nothing_wrong_with_a_running_stack(shared: Stack) -> None:
    """Each part has some seconds to answer it."""
    wait_for(lambda: shared.run("doctor").returncode == 0, ANSWER_SECONDS, lambda: shared.run("doctor").stdout)


def test_logs_hold_no_number_and_no_text(shared: Stack, api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, absent = numbers.take(2)
    simulator.change_phone(absent, registered=False)
    simulator.write(customer, "esto no va al registro")
    await_answer(simulator, customer, "esto no va al registro")
    failing = api.send(absent, message="tampoco esto")
    wait_for(lambda: api.is_finished(failing["id"]), ANSWER_SECONDS, "the failing send")
    api.request("POST", "/send", json={"to": "12", "message": "ni esto"})
    for log in (shared.data_dir / "logs").iterdir():
        text = log.read_text(encoding="utf-8", errors="replace")
        for secret in (customer, absent, "va al registro", "tampoco esto", "ni esto", shared.up()["token"]):
            assert secret not in text, log.name


def test_ready_soon_and_idle_in_little_memory(resting: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = resting.start()
    resting.await_link()
    sizes = {name: sum(map(pss, pids)) for name, pids in by_name(resting).items()}
    with capsys.disabled():
        print(f"\nready after {seconds:.1f} s; PSS in MB: {sizes}; together {sum(sizes.values())}")
    assert sum(sizes.values()) <= MOST_MEGABYTES
    assert seconds < 60, "10 s on a quiet machine; other tests share this one"


def by_name(stack: Stack) -> dict[str, list[int]]:
    """Every process of the stack."""
    pids = stack.up()["pids"]
    named = {name: value if isinstance(value, list) else [value] for name, value in pids.items()}
    named["boton up"] = [stack.process.pid]
    told = {pid for those in named.values() for pid in those}
    return {**named, "nursery": sorted(stack.processes().keys() - told)}


def pss(pid: int) -> int:
    """Megabytes of memory that are this process's share."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kilobytes) for kilobytes in re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)) // 1024
