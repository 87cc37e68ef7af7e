"""`boton up`: what it tells, what it makes on the first run, what stands in its way."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.acceptance.fetching import fetch
from tests.acceptance.ports import LOOPBACK
from tests.acceptance.stack import Stack, boton_command
from tests.acceptance.talk import ANSWER_SECONDS
from tests.acceptance.waiting import wait_for

DEMO_PHONE = "5491138620812"
PARTS = {"temporal", "api", "worker", "connections", "simulator"}


def test_up_json_tells_where_everything_is(shared: Stack) -> None:
    document = shared.up()
    ports = shared.ports
    api = f"http://127.0.0.1:{ports['API_PORT']}"
    assert {key: document[key] for key in document if key not in {"business", "token", "pids"}} == {
        "api": api,
        "dashboard": f"{api}/",
        "temporal": f"127.0.0.1:{ports['TEMPORAL_PORT']}",
        "temporalUi": f"http://127.0.0.1:{ports['TEMPORAL_UI_PORT']}",
        "simulator": f"http://127.0.0.1:{ports['SIMULATOR_PORT']}",
        "metrics": f"http://127.0.0.1:{ports['METRICS_PORT']}/metrics",
    }
    for key in ("dashboard", "temporalUi", "simulator", "metrics"):
        assert fetch(document[key], follow_redirects=True).status_code == 200, key


def test_up_json_names_every_process(shared: Stack) -> None:
    pids = shared.up()["pids"]
    assert set(pids) == PARTS | {"link"}
    told = [*(pids[name] for name in PARTS), *pids["link"], shared.process.pid]
    (link,) = pids["link"]
    nursery = psutil.Process(link).ppid()  # ends with the connections, which start it
    assert sorted([*told, nursery]) == sorted(shared.processes())


def test_what_is_secret_is_readable_by_the_owner_alone(shared: Stack) -> None:
    assert shared.up_file.stat().st_mode & 0o777 == 0o600
    assert (shared.data_dir / "demo-token").stat().st_mode & 0o777 == 0o600
    others = [path for path in shared.data_dir.rglob("*") if path.stat().st_mode & 0o077]
    assert others == []


def test_first_run_makes_a_business_that_answers_new_chats(shared: Stack) -> None:
    business, status = shared.up()["business"], shared.api.get("/status")
    assert (business["name"], business["phone"]) == ("Mi Negocio", DEMO_PHONE)
    assert (status["business"], status["phone"], status["connected"]) == ("Mi Negocio", DEMO_PHONE, True)
    assert status["botNewChats"] is True
    assert (shared.data_dir / "demo-token").read_text().strip() == shared.up()["token"]


def test_the_printed_curl_line_works_when_pasted(shared: Stack) -> None:
    [line] = wait_for(lambda: re.findall(r"^\s*(curl .+)$", shared.terminal, re.MULTILINE), ANSWER_SECONDS, "the line")
    body = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=True).stdout
    assert '"status":"queued"' in body.replace(" ", "")
    text = re.search(r'"message": "([^"]+)"', line)
    assert text is not None
    wait_for(lambda: text[1] in shared.simulator.received("5491112345678"), ANSWER_SECONDS, "the pasted message")


def test_second_up_on_the_same_folder_is_refused_in_one_line(shared: Stack) -> None:
    refused = shared.run("up")
    assert refused.returncode == 2
    assert_one_line(refused, str(shared.data_dir), str(shared.process.pid))
    assert shared.api.get("/status")["connected"] is True


@pytest.mark.parametrize("name", ["API_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "SIMULATOR_PORT", "METRICS_PORT"])
def test_port_in_use_is_refused_in_one_line(resting: Stack, name: str) -> None:
    with socket.socket() as squatter:
        squatter.bind((LOOPBACK, resting.ports[name]))
        squatter.listen()
        refused = resting.run("up")
    assert refused.returncode == 2
    assert_one_line(refused, str(resting.ports[name]), f"BOTON_{name}")
    assert resting.processes() == {}


def test_unusable_folder_is_refused_in_one_line(resting: Stack) -> None:
    resting.data_dir.write_text("not a folder")
    refused = resting.run("up")
    assert refused.returncode == 2
    assert_one_line(refused, "BOTON_DATA_DIR")


def test_nothing_is_written_outside_the_data_folder(shared: Stack) -> None:
    assert {path.name for path in shared.folder.iterdir()} == {"data", "terminal.log"}


def test_every_command_has_help_with_an_example(tmp_path: Path) -> None:
    commands = ["up", "api", "worker", "connections", "simulator", "migrate", "doctor", "find", "business", "token"]
    for command in commands:
        shown = subprocess.run(
            boton_command(command, "--help"),
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        assert command in {"business", "token"} or f"boton {command}" in shown.split("Examples")[-1], shown


def assert_one_line(refused: subprocess.CompletedProcess[str], *told: str) -> None:
    """The refusal is one line, nothing of a traceback, and names these."""
    line = (refused.stdout + refused.stderr).strip()
    assert len(line.splitlines()) == 1, line
    for part in told:
        assert part in line, shlex.quote(line)
