"""The rules of the house are really enforced."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOTS = ("boton", "activities", "workflows", "workers", "api")
LINT = Path(sys.executable).with_name("lint-imports")


def test_five_roots_are_in_the_build_and_under_every_tool() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert project["hatch"]["build"]["targets"]["wheel"]["packages"] == list(ROOTS)
    assert project["mypy"]["packages"] == [*ROOTS, "bench"]
    assert project["mypy"]["strict"] is True
    assert project["importlinter"]["root_packages"] == list(ROOTS)


@pytest.mark.parametrize("root", ROOTS)
def test_every_package_has_an_init(root: str) -> None:
    folders = {file.parent for file in (ROOT / root).rglob("*.py")}
    assert folders
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize(
    ("file", "offence", "contract"),
    [
        ("workflows/chat.py", "import httpx", "Workflows and the domain reach no adapter library"),
        ("boton/domain/jid.py", "from boton.store import engine", "Workflows and the domain reach no adapter library"),
        ("activities/courier.py", "import workflows.chat", "Entry points, then workflows"),
        ("boton/llm/offline.py", "import boton.whatsapp.simulator", "Adapters know only ports and domain"),
        ("boton/store/engine.py", "import boton.settings", "Only entry points know settings"),
        ("boton/whatsapp/session.py", "import neonize.exc", "One file imports neonize"),
    ],
)
def test_forbidden_import_breaks_its_contract(tmp_path: Path, file: str, offence: str, contract: str) -> None:
    linted = lint_with(tmp_path, file, offence)
    assert linted.returncode == 1, linted.stdout + linted.stderr
    broken = [line for line in linted.stdout.splitlines() if " BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), linted.stdout


def lint_with(folder: Path, file: str, offence: str) -> subprocess.CompletedProcess[str]:
    """Runs the project's own contracts over a copy of it with one import more."""
    for root in ROOTS:
        shutil.copytree(ROOT / root, folder / root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    with (folder / file).open("a") as offending:
        offending.write(f"\n{offence}\n")
    return subprocess.run([LINT, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120)
