"""One host on SQLite, several on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from boton.errors import Conflict
from boton.settings import Settings
from workers.connections import _only_host

_HOLD = """
import sys
from pathlib import Path
from boton.settings import Settings
from workers.connections import _only_host
with _only_host(Settings(data_dir=Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_host_on_sqlite_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=None)
    first = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(Conflict, match="BOTON_DATABASE_URL"), _only_host(settings):
            pass
        first.kill()
        first.wait(20)
        with _only_host(settings):
            pass
    finally:
        first.kill()
        first.communicate(timeout=20)


def test_hosts_on_postgresql_do_not_exclude_each_other(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://db/boton")
    with _only_host(settings), _only_host(settings):
        pass
