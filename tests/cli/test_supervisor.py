"""The supervisor over small real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from boton.cli.locks import take_lock
from tests.cli.conftest import SECONDS, Shell, is_gone, wait_until

SLEEP = "exec sleep 1000"


def _start(shell: Shell, *commands: str, settled: bool = True, **env: str) -> subprocess.Popen[str]:
    if settled:
        (shell.home / "settled").touch()
    return shell.python("-m", "tests.cli.supervised", str(shell.home), *commands, **env)


def _pids(home: Path) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads((home / "pids.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def _await_pids(shell: Shell, *names: str) -> dict[str, int]:
    wait_until(lambda: _pids(shell.home).keys() >= set(names))
    return _pids(shell.home)


def test_what_dies_is_restarted_and_the_reason_is_one_line(shell: Shell) -> None:
    process = _start(shell, f"a={SLEEP}", f"b=echo 'why it died' >&2; {SLEEP}")
    before = _await_pids(shell, "a", "b")
    wait_until(lambda: "why it died" in (shell.home / "logs" / "b.log").read_text())
    os.kill(before["b"], signal.SIGKILL)
    wait_until(lambda: _pids(shell.home).get("b", before["b"]) != before["b"])
    assert _pids(shell.home)["a"] == before["a"]
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SECONDS)
    assert out.splitlines() == ["b died (signal SIGKILL; last line: why it died); restart in 0.1 s"]


def test_the_wait_before_a_restart_doubles_up_to_its_limit(shell: Shell) -> None:
    process = _start(shell, f"a=echo x >> {shell.home}/lives; exit 7")
    lives = shell.home / "lives"
    wait_until(lambda: lives.exists() and len(lives.read_text().splitlines()) >= 6)  # the fifth death is told by then
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SECONDS)
    assert re.findall(r"exit code 7\); restart in (\S+) s", out)[:5] == ["0.1", "0.2", "0.4", "0.4", "0.4"]


def test_exit_code_2_at_the_start_ends_everything_with_that_line(shell: Shell) -> None:
    process = _start(shell, f"a={SLEEP}", "b=sleep 0.3; echo 'Port 1 is in use.' >&2; exit 2", settled=False)
    pid = _await_pids(shell, "a")["a"]
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert err == "Port 1 is in use.\n"
    assert is_gone(pid)


def test_exit_code_2_later_is_a_death_like_any_other(shell: Shell) -> None:
    once, again = shell.home / "once", shell.home / "again"
    process = _start(shell, f"a=[ -e {once} ] && touch {again} && {SLEEP}; touch {once}; exit 2")
    wait_until(again.exists)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "a died (exit code 2)" in out


def test_a_command_that_does_not_exist_is_an_obstacle(shell: Shell) -> None:
    code = (
        "from pathlib import Path\n"
        "from boton.cli.obstacles import obstacles_told\n"
        "from boton.cli.supervisor import ProcessSpec, Supervisor\n"
        "with obstacles_told(), Supervisor(print) as s:\n"
        "    s.start(ProcessSpec(name='x', command=('/no/such/program',), log=Path('x.log')))\n"
    )
    process = shell.python("-c", code)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert err.startswith("x cannot be started")


def _traps(shell: Shell, name: str, on_term: str) -> str:
    """Does that when it is asked to stop; a file of that name tells that it will."""
    return f"{name}=trap '{on_term}' TERM; touch {shell.home}/{name}; while :; do sleep 0.05; done"


def _await_traps(shell: Shell, *names: str) -> dict[str, int]:
    for name in names:
        wait_until((shell.home / name).exists)
    return _await_pids(shell, *names)


def test_stages_stop_one_after_the_other(shell: Shell) -> None:
    note = shell.home / "order"
    slow = _traps(shell, "first", f"sleep 0.5; echo first >> {note}; exit 0")
    quick = _traps(shell, "last", f"echo last >> {note}; exit 0")
    process = _start(shell, slow, quick, GRACE="1000")
    pids = _await_traps(shell, "first", "last")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert note.read_text().split() == ["first", "last"]
    assert all(is_gone(pid) for pid in pids.values())


def test_the_deaf_are_killed_and_the_next_stage_is_stopped_all_the_same(shell: Shell) -> None:
    process = _start(shell, _traps(shell, "deaf", ""), f"last={SLEEP}")
    _await_traps(shell, "deaf")
    pids = _await_pids(shell, "deaf", "last")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert all(is_gone(pid) for pid in pids.values())


def test_a_second_wish_to_stop_kills_at_once(shell: Shell) -> None:
    asked = shell.home / "asked"
    process = _start(shell, _traps(shell, "deaf", f"touch {asked}"), f"b={SLEEP}", GRACE="1000")
    _await_traps(shell, "deaf")
    pids = _await_pids(shell, "deaf", "b")
    process.send_signal(signal.SIGINT)
    wait_until(asked.exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert all(is_gone(pid) for pid in pids.values())


def test_what_a_child_started_itself_is_gone_too(shell: Shell) -> None:
    process = _start(shell, f"a=sleep 1000 & echo $! > {shell.home}/grandchild; wait")
    grandchild = shell.home / "grandchild"
    wait_until(lambda: grandchild.exists() and grandchild.read_text().strip())
    _await_pids(shell, "a")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert is_gone(int(grandchild.read_text()))


def test_orphans_of_the_killed_are_buried_in_a_container_too(shell: Shell) -> None:
    process = _start(shell, f"a=sleep 1000 & {SLEEP}", "b=sleep 0.3; exit 2", settled=False, ADOPTS="yes")
    process.communicate(timeout=SECONDS)
    assert process.returncode == 2


_LEAVES_A_ZOMBIE = """
import os, pathlib, time
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(1000)
    os.setpgid(0, 0)
    pathlib.Path("parent.new").write_text(str(os.getpid()))
    os.rename("parent.new", "parent")
time.sleep(1000)
"""


def test_all_are_killed_before_one_of_them_is_waited_for(shell: Shell) -> None:
    """A process that `a` had started has a parent elsewhere, which does not bury it."""
    (shell.home / "a.py").write_text(_LEAVES_A_ZOMBIE)
    parent = shell.home / "parent"
    ready = f"until [ -e {parent} ]; do sleep 0.05; done; exit 2"
    python = f"cd {shell.home}; exec {sys.executable} a.py"
    process = _start(shell, f"a={python}", f"b={SLEEP}", f"c={ready}", settled=False, ADOPTS="yes")
    pids = _await_pids(shell, "a", "b")
    wait_until(parent.exists)
    try:
        wait_until(lambda: is_gone(pids["b"]))
        assert process.poll() is None
    finally:
        os.kill(int(parent.read_text()), signal.SIGKILL)
        process.communicate(timeout=SECONDS)


def test_a_killed_supervisor_leaves_no_child_and_no_lock(shell: Shell) -> None:
    process = _start(shell, f"locked={SLEEP}", f"b={SLEEP}")
    pids = _await_pids(shell, "locked", "b")
    assert take_lock(shell.home / "temporal.lock") is None
    process.kill()
    process.communicate()
    wait_until(lambda: all(is_gone(pid) for pid in pids.values()))
    lock = take_lock(shell.home / "temporal.lock", wait=SECONDS)
    assert lock is not None
    lock.close()


def test_a_restarted_process_has_its_lock_again(shell: Shell) -> None:
    _start(shell, f"locked={SLEEP}")
    before = _await_pids(shell, "locked")["locked"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: _pids(shell.home).get("locked", before) != before)
    assert take_lock(shell.home / "temporal.lock") is None
    assert (shell.home / "temporal.lock").read_text().strip() == str(_pids(shell.home)["locked"])


def test_errors_in_a_log_are_shown_as_they_happen(shell: Shell) -> None:
    process = _start(shell, f"a=echo '2026-11-22T20:17:07.763Z ERROR a the disk is full' >&2; {SLEEP}")
    assert process.stdout is not None
    assert process.stdout.readline() == "a: the disk is full\n"
