"""`boton up`, all of it: started as a user does, used over HTTP, ended in every way."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from boton.cli.locks import take_lock
from tests.cli.conftest import SECONDS, Shell, is_gone, processes_in, wait_until

PROCESSES = {"temporal", "api", "worker", "connections", "link", "simulator"}


def _up(shell: Shell, **env: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    stale = _document(shell)
    process = shell.start("up", **env)
    wait_until(lambda: _document(shell) not in ({}, stale) or process.poll() is not None)
    if process.returncode is not None:
        raise AssertionError(process.communicate())
    return process, _document(shell)


def _document(shell: Shell) -> dict[str, Any]:
    """What up.json says; empty when there is none."""
    try:
        document: dict[str, Any] = json.loads((shell.data / "up.json").read_text())
    except FileNotFoundError:
        return {}
    return document


def _all_pids(document: dict[str, Any]) -> list[int]:
    return [pid for pids in document["pids"].values() for pid in (pids if isinstance(pids, list) else [pids])]


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=SECONDS) as response:
        text: str = response.read().decode()
        return text


def _is_free(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return False
    return True


def _assert_nothing_left(shell: Shell, document: dict[str, Any]) -> None:
    """A killed process is a zombie before its last thread lets go of its ports and locks."""
    wait_until(lambda: all(is_gone(pid) for pid in _all_pids(document)))
    wait_until(lambda: not processes_in(shell.home))
    for url in (document["api"], f"http://{document['temporal']}", document["temporalUi"], document["simulator"]):
        wait_until(partial(_is_free, url))
    for name in ("boton.lock", "temporal.lock"):
        lock = take_lock(shell.data / name, wait=SECONDS)
        assert lock is not None, name
        lock.close()


def test_it_comes_up_serves_restarts_and_leaves_nothing(shell: Shell) -> None:
    process, document = _up(shell)
    assert document["pids"].keys() == PROCESSES
    document = _await_link(shell, [])
    assert document["business"]["name"] == "Mi Negocio"
    assert document["business"]["phone"] == "5491138620812"
    assert (shell.data / "up.json").stat().st_mode & 0o777 == 0o600
    assert (shell.data / "demo-token").read_text().strip() == document["token"]
    _assert_metrics(document)
    _assert_second_up_is_refused(shell)

    before = document["pids"]["api"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: _document(shell)["pids"].get("api", before) != before)
    document = _document(shell)

    link = document["pids"]["link"]
    os.kill(link[0], signal.SIGKILL)
    document = _await_link(shell, link)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, "")
    assert not (shell.data / "up.json").exists()
    _assert_nothing_left(shell, document)
    _assert_told(out, document)
    assert "api died (signal SIGKILL" in out
    assert out.count("died") == 1  # a link is its host's matter


def _await_link(shell: Shell, before: list[int]) -> dict[str, Any]:
    """What up.json says once it names the one link, another than before: one that starts slowly holds nothing up."""
    wait_until(lambda: _document(shell)["pids"]["link"] not in (before, []))
    document = _document(shell)
    assert len(document["pids"]["link"]) == 1
    return document


def _assert_metrics(document: dict[str, Any]) -> None:
    def told() -> tuple[dict[str, float], bool]:
        families = list(text_string_to_metric_families(_get(document["metrics"])))
        samples = [sample for family in families for sample in family.samples]
        up = {s.labels["process"].partition("/")[0]: s.value for s in samples if s.name == "boton_process_up"}
        return up, any(family.name.startswith("temporal_") for family in families)

    wait_until(lambda: told() == (dict.fromkeys(PROCESSES - {"temporal"}, 1.0), True))
    assert document["business"]["phone"] not in _get(document["metrics"])


def _assert_second_up_is_refused(shell: Shell) -> None:
    second = shell.run("up")
    assert second.returncode == 2
    assert "Another `boton up`" in second.stderr
    assert (shell.data / "up.json").exists()


def _assert_told(out: str, document: dict[str, Any]) -> None:
    for url in (document["dashboard"], f"{document['api']}/docs", document["simulator"], document["temporalUi"]):
        assert url in out
    assert len(re.findall(r"Admin password +\S+-\S+", out)) == 1
    assert document["token"] in next(line for line in out.splitlines() if line.startswith("curl "))


def test_the_curl_line_works_when_pasted_and_find_leads_to_its_workflow(shell: Shell) -> None:
    process, document = _up(shell)
    line = _read_curl_line(process)
    answer = json.loads(subprocess.check_output(["/bin/sh", "-c", line + " -s"], text=True))
    assert answer["total"] == 1
    phone = answer["recipients"][0]["to"]
    inbox = f"{document['simulator']}/phones/{phone}/messages"
    wait_until(lambda: json.loads(_get(inbox))["messages"])
    reminder = _remind(document, phone)
    found = shell.run("find", phone).stdout
    for workflow in (f"send%2F{answer['id']}", f"reminder%2F{reminder}"):
        assert f"{document['temporalUi']}/namespaces/default/workflows/{workflow}" in found
    wait_until(lambda: "running" in shell.run("find", phone).stdout)  # Temporal has two seconds to answer


def _remind(document: dict[str, Any], phone: str) -> str:
    """The id of a reminder that waits for its time."""
    body = json.dumps({"to": phone, "message": "Te esperamos", "at": f"{datetime.now(UTC) + timedelta(days=1):%FT%TZ}"})
    headers = {"Authorization": f"Bearer {document['token']}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{document['api']}/api/v1/reminders", body.encode(), headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return str(json.load(answer)["id"])


def _read_curl_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return next(line.strip() for line in process.stdout if line.startswith("curl "))


def test_killed_it_leaves_no_process_and_the_next_start_goes_on(shell: Shell) -> None:
    process, document = _up(shell)
    process.kill()
    process.communicate()
    assert (shell.data / "up.json").exists()
    _assert_nothing_left(shell, document)
    process, again = _up(shell)
    assert again["business"] == document["business"]
    assert again["token"] == document["token"]
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "Admin password" not in out


def test_without_the_simulator_there_is_neither_process_nor_connection(shell: Shell) -> None:
    _, document = _up(shell, BOTON_SIMULATOR="0")
    assert document["simulator"] is None
    assert document["business"]["phone"] is None
    assert "simulator" not in document["pids"]
    assert document["pids"]["link"] == []


def test_asked_to_stop_while_it_starts_it_stops(shell: Shell) -> None:
    process = shell.start("up")
    wait_until(lambda: (shell.data / "logs" / "temporal.log").exists())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert not (shell.data / "up.json").exists()
    assert not processes_in(shell.home)
