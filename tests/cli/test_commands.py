"""The commands for the store, the help, and the doctor."""

from __future__ import annotations

import socket
import sqlite3

import pytest

from boton.metrics_text import pick_loopback_port
from tests.cli.conftest import SECONDS, Shell

COMMANDS = [
    ("up",),
    ("api",),
    ("worker",),
    ("connections",),
    ("simulator",),
    ("migrate",),
    ("backup",),
    ("restore",),
    ("doctor",),
    ("find",),
    ("link",),
    ("held", "list"),
    ("held", "resume"),
    ("held", "cancel"),
    ("business", "create"),
    ("business", "list"),
    ("token", "create"),
    ("token", "list"),
    ("token", "revoke"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_examples(shell: Shell, command: tuple[str, ...]) -> None:
    done = shell.run(*command, "--help", COLUMNS="120")
    assert done.returncode == 0
    assert "Examples" in done.stdout
    assert f"boton {' '.join(command)}" in done.stdout


def test_the_command_line_starts_without_heavy_libraries(shell: Shell) -> None:
    heavy = "('pydantic', 'sqlalchemy', 'temporalio', 'fastapi', 'httpx', 'prometheus_client')"
    code = f"import sys, boton.cli.main; print([name for name in {heavy} if name in sys.modules])"
    assert shell.python("-c", code).communicate(timeout=SECONDS)[0].strip() == "[]"


def test_the_supervisor_loads_nothing_that_only_its_children_need(shell: Shell) -> None:
    heavy = "('sqlalchemy', 'temporalio', 'fastapi', 'httpx', 'prometheus_client', 'uvicorn', 'alembic')"
    code = f"import sys, boton.cli.up; print([name for name in {heavy} if name in sys.modules])"
    assert shell.python("-c", code).communicate(timeout=SECONDS)[0].strip() == "[]"


def test_businesses_and_tokens_are_kept_by_the_command_line(shell: Shell) -> None:
    assert shell.run("migrate").returncode == 0
    business = shell.run("business", "create", "Kiosco  Sol").stdout.strip()
    assert business.startswith("biz_")
    assert "Kiosco Sol" in shell.run("business", "list").stdout
    secret = shell.run("token", "create", business, "crm").stdout.strip()
    listed = shell.run("token", "list", business).stdout
    assert "crm" in listed
    assert secret not in listed
    token = next(word for word in listed.split() if word.startswith("tok_"))
    assert "revoked" in shell.run("token", "revoke", token).stdout
    assert shell.run("token", "revoke", token).returncode == 0
    assert (shell.data / "boton.db").stat().st_mode & 0o077 == 0


REFUSED = {
    ("token", "create", "biz_none"): "There is no business biz_none.",
    ("token", "list", "biz_none"): "There is no business biz_none.",
    ("token", "revoke", "tok_none"): "There is no token tok_none.",
    ("business", "create", " "): "A business's name has 1 to 200 characters.",
    ("find", "12"): "not a phone number with country code",
}


def test_what_cannot_be_done_is_one_line(shell: Shell) -> None:
    shell.run("migrate")
    for arguments, line in REFUSED.items():
        done = shell.run(*arguments)
        assert (done.returncode, done.stderr) == (2, line + "\n")


@pytest.mark.parametrize("command", ["api", "worker", "connections"])
def test_a_process_on_a_store_that_is_not_migrated_says_what_to_run(shell: Shell, command: str) -> None:
    done = shell.run(command)
    assert done.returncode == 2
    assert "boton migrate" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_find_knows_who_never_wrote(shell: Shell) -> None:
    shell.run("migrate")
    done = shell.run("find", "+54 9 11 3862-0812")
    assert done.returncode == 1
    assert "No business knows this number." in done.stdout


def test_the_doctor_is_content_with_a_fresh_machine(shell: Shell) -> None:
    done = shell.run("doctor")
    assert done.returncode == 0, done.stdout
    levels = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()[:-1]}
    assert {"python", "folder", "disk", "ports", "temporal", "store", "model", "running"} <= levels.keys()
    assert (levels["store"], levels["temporal"], levels["ports"]) == ("warn", "ok", "ok")
    assert not shell.data.exists()


def test_the_doctor_tells_what_will_not_work(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        env = {
            "BOTON_API_PORT": port,
            "BOTON_DATA_DIR": "/dev/null/data",
            "BOTON_DATABASE_URL": f"postgresql://u:hunter2@127.0.0.1:{pick_loopback_port()}/x",
            "BOTON_TEMPORAL_ADDRESS": f"127.0.0.1:{pick_loopback_port()}",
            "BOTON_LLM_BASE_URL": "http://127.0.0.1:1/v1",
        }
        done = shell.run("doctor", **env)
    assert done.returncode == 1
    failed = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("fail")}
    assert failed.keys() == {"ports", "folder", "store", "temporal", "model"}
    assert "BOTON_API_PORT" in failed["ports"]
    assert "BOTON_LLM_MODEL is missing" in failed["model"]
    assert "hunter2" not in done.stdout + done.stderr


def test_the_doctor_tells_bad_settings_and_a_model_that_does_not_answer(shell: Shell) -> None:
    assert "fail  settings" in shell.run("doctor", BOTON_API_PORT="x").stdout
    dead = f"http://127.0.0.1:{pick_loopback_port()}/v1"
    done = shell.run("doctor", BOTON_LLM_BASE_URL=dead, BOTON_LLM_MODEL="m")
    assert done.returncode == 1
    assert "fail  model" in done.stdout


def test_the_doctor_finds_a_store_of_a_newer_version(shell: Shell) -> None:
    shell.run("migrate")
    with sqlite3.connect(shell.data / "boton.db") as store:
        store.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    done = shell.run("doctor")
    assert done.returncode == 1
    assert "newer version" in done.stdout
