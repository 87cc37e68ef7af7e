"""`boton up` on a Temporal and a PostgreSQL of one's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.ports import LOOPBACK, free_ports, is_listening
from tests.acceptance.stack import START_SECONDS, STOP_SECONDS, Stack, running
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_answer, await_delivered, let_pass
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def temporal(tmp_path: Path) -> Iterator[str]:
    """host:port of a Temporal server that BOTON did not start."""
    port, ui_port = free_ports(2)
    command = [str(Path(sys.executable).with_name("temporal")), "server", "start-dev", "--ip", LOOPBACK]
    command += ["--port", str(port), "--ui-port", str(ui_port), "--log-level", "error"]
    with (tmp_path / "temporal.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: is_listening(port), START_SECONDS, "Temporal")
        yield f"{LOOPBACK}:{port}"
    finally:
        server.terminate()
        server.wait(STOP_SECONDS)


def test_temporal_of_ones_own(temporal: str, tmp_path: Path, numbers: Numbers) -> None:
    with contextmanager(running)(Stack(tmp_path, TEMPORAL_ADDRESS=temporal)) as stack:
        assert "temporal" not in stack.up()["pids"]
        assert stack.up()["temporal"] == temporal
        assert not (stack.data_dir / "temporal.db").exists()
        assert_it_talks(stack, numbers)
        assert stack.stop() == 0


def test_postgresql(empty_postgres_url: str, tmp_path: Path, numbers: Numbers) -> None:
    with contextmanager(running)(Stack(tmp_path, DATABASE_URL=empty_postgres_url)) as stack:
        assert not (stack.data_dir / "boton.db").exists()
        assert_it_talks(stack, numbers)
        recipients = numbers.take(60)
        stack.simulator.set_faults(latencyMs=50, loseAckRate=0.2)
        accepted = stack.api.send(recipients, message="por PostgreSQL")
        wait_for(
            lambda: stack.simulator.copies("por PostgreSQL").total() >= 15, ANSWER_SECONDS, "the middle of the batch"
        )
        stack.wait_replaced("link", stack.kill("link"))
        await_delivered(stack.api, accepted["id"], 120)
        assert [stack.simulator.received(number) for number in recipients] == [["por PostgreSQL"]] * 60
        assert stack.stop() == 0


def assert_it_talks(stack: Stack, numbers: Numbers) -> None:
    recipient, customer = numbers.take(2)
    await_delivered(stack.api, stack.api.send(recipient, message="hola")["id"])
    stack.simulator.write(customer, "¿funciona?")
    await_answer(stack.simulator, customer, "¿funciona?")
    let_pass(stack.simulator, numbers.next())
    assert stack.simulator.received(recipient) == ["hola"]
    assert len(stack.simulator.received(customer)) == 1
