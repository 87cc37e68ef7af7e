"""Processes that run by the dozen import what they need and no more: what one of them imports is memory for each."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"alembic", "mako", "pygments", "rich", "typer", "fastapi", "uvicorn", "openai", "httpx", "neonize"}


@pytest.mark.parametrize("module", ["workers.link", "workers.connections"])
def test_link_and_host_import_nothing_heavy_that_they_do_not_use(module: str) -> None:
    program = f"import sys, {module}\nprint(*(name.partition('.')[0] for name in sys.modules))"
    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert HEAVY & set(imported.stdout.split()) == set()
