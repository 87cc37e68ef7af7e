"""The real shared library, in a process of its own, with WhatsApp out of reach: clean failure, clean stop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PREPARE = """
import asyncio, os, sys
from pathlib import Path
from boton.errors import ConnectionAway, GatewayAbsent
from boton.whatsapp.device_store import DeviceStore
folder = Path(sys.argv[1])
store = DeviceStore(folder, f"sqlite:///{folder}/boton.db")
"""

_OPEN = """
from boton.whatsapp.neonize_library import migrate
from boton.whatsapp.neonize_gateway import NeonizeGateway
from tests.whatsapp.devices import link_device

async def reach():
    return True

async def main():
    migrate(store, "con_1")
    link_device(store, "con_1", "5491138620812")
    gateway = NeonizeGateway(store, "con_1", reach=reach)
    for _ in range(2):
        try:
            await gateway.open(1)
        except ConnectionAway as away:
            print(away.detail)
    await gateway.show_typing("5491112345678@s.whatsapp.net", 1)
    await gateway.close()
    await gateway.close()

asyncio.run(main())
print("ended in order")
"""

_PAIR = """
from boton.whatsapp.neonize_pairing import PairingFailed, pair

async def tell(step):
    print(step)

try:
    asyncio.run(pair(store, "con_1", phone=None, tell=tell, deadline=20))
except PairingFailed as failed:
    print(failed.reason, flush=True)
os._exit(5)
"""

_WITHOUT_LIBMAGIC = """
sys.modules["magic"] = None
try:
    import boton.whatsapp.neonize_library
except GatewayAbsent as absent:
    print(absent.detail)
"""

_QUIET = """
import logging
logging.basicConfig(level=logging.WARNING, handlers=[logging.NullHandler()])
import boton.whatsapp.neonize_library
root = logging.getLogger()
print(root.level, [type(one).__name__ for one in root.handlers])
"""


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONFAULTHANDLER": "1"}
    command = [sys.executable, "-c", _PREPARE + script, folder]
    root = Path(__file__).parents[2]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=90)


def test_linked_device_fails_cleanly_without_a_network_and_stops(tmp_path: Path) -> None:
    ran = run(_OPEN, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    *failures, last = [line for line in ran.stdout.splitlines() if "Ctrl+C" not in line]
    assert last == "ended in order"
    assert len(failures) == 2
    assert all("is not connected" in line for line in failures)
    assert "5491138620812" not in ran.stdout + ran.stderr


def test_link_without_a_network_does_not_trouble_the_library(tmp_path: Path) -> None:
    """Each connect leaks a handle, also one that fails."""
    ran = run(_OPEN.replace(", reach=reach", ""), tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines() == ["WhatsApp is out of reach."] * 2 + ["ended in order"]


def test_pairing_fails_cleanly_without_a_network(tmp_path: Path) -> None:
    ran = run(_PAIR, tmp_path)
    assert ran.returncode == 5, ran.stdout + ran.stderr
    assert "out of reach" in ran.stdout


def test_missing_libmagic_is_one_clear_line(tmp_path: Path) -> None:
    ran = run(_WITHOUT_LIBMAGIC, tmp_path)
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stdout.splitlines()
    assert "apt-get install libmagic1" in line


def test_import_leaves_the_log_alone(tmp_path: Path) -> None:
    assert run(_QUIET, tmp_path).stdout.splitlines() == ["30 ['NullHandler']"]


@pytest.mark.parametrize("name", ["boton.whatsapp.device_store", "boton.whatsapp.pairing", "workers.link", "api.main"])
def test_nothing_else_loads_the_library(name: str, tmp_path: Path) -> None:
    ran = run(f"import {name}\nprint('neonize' in sys.modules)", tmp_path)
    assert ran.stdout.splitlines() == ["False"], ran.stderr
