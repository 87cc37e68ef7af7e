from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack, running
from tests.acceptance.talk import Numbers

_stacks = count(1)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running stack for all tests that leave it as they found it; each uses phone numbers of its own."""
    yield from running(Stack(tmp_path_factory.mktemp("shared")))


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running stack for a module whose tests kill or freeze parts of it."""
    yield from running(Stack(tmp_path_factory.mktemp("rough")))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """A running stack of one's own, for tests that stop it."""
    yield from running(Stack(tmp_path))


@pytest.fixture
def resting(tmp_path: Path) -> Iterator[Stack]:
    """A stack that was not started yet."""
    stack = Stack(tmp_path)
    try:
        yield stack
    finally:
        stack.clean_up()


@pytest.fixture
def api(shared: Stack) -> Api:
    return shared.api


@pytest.fixture
def simulator(shared: Stack) -> Iterator[Simulator]:
    """Its faults are gone after the test, and so is what a refusal has closed."""
    simulator = shared.simulator
    yield simulator
    simulator.clear_faults()
    shared.api.request("POST", "/connection/slow-lane", json={"open": True})


@pytest.fixture
def numbers() -> Numbers:
    """Phone numbers that no other test uses."""
    return Numbers(next(_stacks))
