"""A lock lives as long as the process that has it, and not a moment longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from boton.cli.embedded import lock_temporal
from boton.cli.locks import lock_data_dir, take_lock
from boton.cli.obstacles import Obstacle
from tests.cli.conftest import SECONDS


def test_a_second_taker_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    lock = lock_data_dir(tmp_path / "new" / "folder")
    with pytest.raises(Obstacle) as caught:
        lock_data_dir(tmp_path / "new" / "folder")
    assert f"process {os.getpid()}" in caught.value.line
    assert "BOTON_DATA_DIR" in caught.value.line
    lock.close()
    lock_data_dir(tmp_path / "new" / "folder").close()


def test_an_unusable_folder_is_an_obstacle() -> None:
    with pytest.raises(Obstacle, match=r"cannot be written .* BOTON_DATA_DIR"):
        lock_data_dir(Path("/dev/null/data"))


def test_an_inherited_lock_lives_until_the_child_is_killed(tmp_path: Path) -> None:
    lock = lock_temporal(tmp_path, 0)
    command = [sys.executable, "-c", "input()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[lock.descriptor])
    lock.name_holder(child.pid)
    lock.close()
    try:
        with pytest.raises(Obstacle, match=f"process {child.pid}"):
            lock_temporal(tmp_path, 0.2)
    finally:
        child.kill()
        child.communicate()
    lock_temporal(tmp_path, SECONDS).close()


def test_waiting_gets_the_lock_when_its_holder_ends(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from boton.cli.locks import take_lock;"
        "take_lock(Path(sys.argv[1])); print('held', flush=True); input()"
    )
    path = tmp_path / "x.lock"
    command = [sys.executable, "-c", code, str(path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    assert take_lock(path) is None
    child.kill()
    lock = take_lock(path, wait=SECONDS)
    child.communicate()
    assert lock is not None
    lock.close()
