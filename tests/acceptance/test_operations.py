"""What an operator watches: health, metrics, memory, `boton doctor`, `boton find`."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack
from tests.acceptance.talk import Numbers, await_answer, await_delivered
from tests.acceptance.waiting import wait_for

MOST_MEGABYTES = 600
_LABELS = re.compile(r'(\w+)="')


def fetch_metrics(stack: Stack) -> str:
    answer = httpx.get(stack.up()["metrics"], trust_env=False, timeout=20)
    assert answer.status_code == 200
    return answer.text


def test_metrics_tell_of_every_process(shared: Stack, api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer = numbers.next()
    simulator.change_phone(customer, name="Eleuterio")
    simulator.write(customer, "¿cuánto sale el corte?")
    await_answer(simulator, customer, "¿cuánto sale el corte?")
    await_delivered(api, api.send(customer, message="sale diez")["id"])
    text = fetch_metrics(shared)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    up = {sample.labels["process"].split("/")[0]: sample.value for sample in families["boton_process_up"].samples}
    assert up == dict.fromkeys(("api", "worker", "connections", "link", "simulator"), 1.0)
    for name in ("boton_http_requests", "boton_messages", "boton_llm_calls", "boton_send_seconds"):
        assert sum(sample.value for sample in families[name].samples) > 0, name
    assert any(name.startswith("temporal_") for name in families)


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
    for path in ("live", "ready"):
        assert httpx.get(f"{shared.up()['api']}/health/{path}", trust_env=False).status_code == 200


def test_docs_and_openapi_are_served(shared: Stack) -> None:
    api = shared.up()["api"]
    assert httpx.get(f"{api}/docs", trust_env=False).status_code == 200
    schema = httpx.get(f"{api}/openapi.json", trust_env=False).json()
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
    examined = shared.run("doctor")
    assert examined.returncode == 0, examined.stdout + examined.stderr


def test_logs_hold_no_number_and_no_text(shared: Stack, api: Api, simulator: Simulator, numbers: Numbers) -> None:
    customer, absent = numbers.take(2)
    simulator.change_phone(absent, registered=False)
    simulator.write(customer, "esto no va al registro")
    await_answer(simulator, customer, "esto no va al registro")
    failing = api.send(absent, message="tampoco esto")
    wait_for(lambda: api.is_finished(failing["id"]), 30, "the failing send")
    api.request("POST", "/send", json={"to": "12", "message": "ni esto"})
    for log in (shared.data_dir / "logs").iterdir():
        text = log.read_text(encoding="utf-8", errors="replace")
        for secret in (customer, absent, "va al registro", "tampoco esto", "ni esto", shared.up()["token"]):
            assert secret not in text, log.name


def test_ready_soon_and_idle_in_little_memory(resting: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = resting.start()
    wait_for(lambda: resting.api.get("/status")["connected"], 20, "the connection")
    sizes = {name: sum(map(pss, pids)) for name, pids in by_name(resting).items()}
    with capsys.disabled():
        print(f"\nready after {seconds:.1f} s; PSS in MB: {sizes}; together {sum(sizes.values())}")
    assert sum(sizes.values()) <= MOST_MEGABYTES
    assert seconds < 30, "10 s on a quiet machine; other tests share this one"


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
