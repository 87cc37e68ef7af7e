"""One store for all dialogues: each is played by a business of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from boton.store.engine import Database, open_database


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def store(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    file = tmp_path_factory.mktemp("dialogues") / "boton.db"
    shutil.copy(sqlite_template, file)
    database = open_database(f"sqlite:///{file}")
    yield database
    await database.close()
