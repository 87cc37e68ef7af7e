"""What an operator sees in Temporal: every run explained, and nothing that customers said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.api import Api
from tests.acceptance.histories import Run, assert_clean, decoded, fetch_runs
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack
from tests.acceptance.talk import ANSWER_SECONDS, Numbers, await_answer, await_delivered
from tests.acceptance.waiting import wait_for


@pytest.fixture
def runs(shared: Stack, api: Api, simulator: Simulator, numbers: Numbers) -> list[Run]:
    """After something of each kind has happened, failures among them."""
    customer, recipient, absent, opened = numbers.take(4)
    simulator.change_phone(customer, name="Wenceslao Ñandubay")
    simulator.change_phone(absent, registered=False)
    simulator.write(customer, "tengo un secreto médico")
    await_answer(simulator, customer, "tengo un secreto médico")
    failing = api.send([absent], message="su análisis está listo")
    wait_for(lambda: api.is_finished(failing["id"]), ANSWER_SECONDS, "the failing send")
    await_delivered(api, api.send([recipient], message="su receta está lista")["id"])
    await_delivered(api, api.send([opened], instruction="pregúntale por su rodilla")["id"])
    simulator.write(absent + "0", "registrado")  # a phone that is not the absent one
    await_answer(simulator, absent + "0", "registrado")
    return fetch_runs(shared)


def test_histories_hold_no_text_no_number_and_no_name(runs: list[Run], simulator: Simulator) -> None:
    assert {run.id.split("/")[0] for run in runs} >= {"send", "chat", "connection"}
    assert_clean(runs, simulator)
    told = "\n".join(text for run in runs for text in decoded([run.listed, run.events]))
    assert "rodilla" not in told
    assert "Wenceslao" not in told


def test_every_run_has_a_summary_and_search_attributes(shared: Stack, runs: list[Run]) -> None:
    listed = shared.run("business", "list").stdout
    for run in runs:
        assert run.summary, run.id
        assert run.attributes["BotonBusiness"] in listed, run.id
        assert run.attributes["BotonStatus"], run.id
    ours = [run for run in runs if run.attributes["BotonBusiness"] == shared.up()["business"]["id"]]
    assert {run.id.split("/")[0] for run in ours} >= {"send", "chat", "connection"}


def test_runs_can_be_filtered_by_business_and_status(shared: Stack, runs: list[Run]) -> None:
    business = shared.up()["business"]["id"]
    listed = temporal(
        shared, "workflow", "list", "--query", f"BotonBusiness='{business}' AND BotonStatus='held'", "--limit", "10"
    )
    assert "connection/" in listed
    assert "send/" not in listed


def test_current_details_say_in_words_where_a_run_stands(shared: Stack, runs: list[Run]) -> None:
    business = shared.up()["business"]["id"]
    ours = (run.id for run in runs if run.attributes["BotonBusiness"] == business)
    [connection] = {run_id for run_id in ours if run_id.startswith("connection/")}
    shown = temporal(shared, "workflow", "metadata", "--workflow-id", connection)
    assert "held" in shown
    assert "link process" in shown


def temporal(stack: Stack, *arguments: str) -> str:
    """What the `temporal` command of this virtual environment prints."""
    command = (str(Path(sys.executable).with_name("temporal")), *arguments, "--address", stack.up()["temporal"])
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
