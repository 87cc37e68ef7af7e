"""Scenarios from their files. What is wrong with one is told in one line that names the file and the place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from bench.dialogues.scenario import Scenario

FOLDER = Path(__file__).parent / "scenarios"


class BadScenario(Exception):
    """A scenario's file does not say what a scenario says."""


def load_all(folder: Path = FOLDER) -> list[Scenario]:
    """By name. Raises BadScenario."""
    return [load_scenario(file) for file in sorted(folder.glob("*.yaml"))]


def load_scenario(file: Path) -> Scenario:
    """Raises BadScenario."""
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
        scenario = Scenario.model_validate(read)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadScenario(f"{file.name}: is no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise BadScenario(f"{file.name}: {_tell(error)}") from None
    if scenario.name != file.stem:
        raise BadScenario(f"{file.name}: name: should be {file.stem}, as the file's is")
    return scenario


def choose(scenarios: Sequence[Scenario], names: Iterable[str]) -> list[Scenario]:
    """Those of these names; all without a name. Raises BadScenario for a name that there is not."""
    wanted = set(names)
    if unknown := sorted(wanted - {scenario.name for scenario in scenarios}):
        raise BadScenario(f"there is no scenario {', '.join(unknown)}; --list tells those there are")
    return [scenario for scenario in scenarios if not wanted or scenario.name in wanted]


def _tell(error: ValidationError) -> str:
    return "; ".join(_tell_fault(fault) for fault in error.errors(include_url=False))


def _tell_fault(fault: Any) -> str:
    """An unquoted yes, no or number is a classic of YAML."""
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in fault["loc"]) or "the file"
    told = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    unquoted = fault["type"] == "string_type" and isinstance(fault["input"], bool | int | float)
    return f"{place}: {told}{' (put it in quotes)' if unquoted else ''}"
