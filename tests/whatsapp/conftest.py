"""One number on the real Python side of the library, with a played Go part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contracts.gateways import NeonizeNetwork, NeonizeWorld


@pytest.fixture
def played(tmp_path: Path) -> Iterator[NeonizeNetwork]:
    network = NeonizeNetwork(tmp_path)
    yield network
    network.stop()


@pytest.fixture
async def world(played: NeonizeNetwork) -> AsyncIterator[NeonizeWorld]:
    world = played.new_world()
    yield world
    await world.close()


@pytest.fixture(autouse=True)
def _phone_without_chats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what a played phone does not hand over."""
    monkeypatch.setattr("boton.whatsapp.neonize_pairing._HISTORY_SECONDS", 0.0)
