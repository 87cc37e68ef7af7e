from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.simulator.process import SimulatorProcess


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """One process for all tests of a module that do not disturb each other: each uses numbers of its own."""
    process = SimulatorProcess(tmp_path_factory.mktemp("simulator"))
    yield process
    process.stop()


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[SimulatorProcess]:
    """A process of one's own."""
    process = SimulatorProcess(tmp_path)
    yield process
    process.stop()


@pytest.fixture
def http(shared: SimulatorProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared.url, trust_env=False, timeout=60) as client:
        yield client
        client.delete("/faults")
