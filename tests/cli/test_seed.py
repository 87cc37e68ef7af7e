"""The first run's business, connection, token and password: made once, whatever interrupted it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from boton.cli.prepare import DEMO_PHONE, PASSWORD_KEY, seed
from boton.domain.connections import ConnectionStatus
from boton.errors import StaleEpoch
from boton.passwords import verify_password
from boton.settings import Settings
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.meta import SqlMetaStore
from boton.store.migrate import migrate


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("BOTON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Settings(data_dir=tmp_path, simulator=True)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    migrate(settings.store_url)
    database = open_database(settings.store_url)
    yield database
    await database.close()


async def test_the_first_run_seeds_a_business_that_answers_new_chats(database: Database, settings: Settings) -> None:
    made = await seed(database, settings)
    business = await SqlBusinessStore(database).fetch_business(made.business_id)
    assert (business.name, business.config.bot_new_chats) == ("Mi Negocio", True)
    connection = await SqlConnectionStore(database).fetch_active_connection(business.id)
    assert connection is not None
    assert connection.phone == made.phone == DEMO_PHONE
    file = settings.data_dir / "demo-token"
    assert file.read_text().strip() == made.token
    assert file.stat().st_mode & 0o777 == 0o600
    token = await SqlBusinessStore(database).authenticate(made.token or "", datetime.now(UTC))
    assert token is not None
    assert token.business_id == business.id


async def test_the_password_is_told_once_and_kept_as_a_hash(database: Database, settings: Settings) -> None:
    made = await seed(database, settings)
    hashed = await SqlMetaStore(database).get(PASSWORD_KEY)
    assert made.admin_password is not None
    assert hashed is not None
    assert made.admin_password not in hashed
    assert verify_password(made.admin_password, hashed)
    assert (await seed(database, settings)).admin_password is None
    assert made.admin_password not in repr(made)


async def test_a_password_in_the_settings_leaves_none_to_generate(database: Database, settings: Settings) -> None:
    chosen = settings.model_copy(update={"admin_password": "chosen"})
    assert (await seed(database, chosen)).admin_password is None
    assert await SqlMetaStore(database).get(PASSWORD_KEY) is None


async def test_a_second_run_changes_nothing(database: Database, settings: Settings) -> None:
    first = await seed(database, settings)
    second = await seed(database, settings)
    assert (second.business_id, second.token, second.phone) == (first.business_id, first.token, first.phone)
    assert len(await SqlBusinessStore(database).list_businesses()) == 1
    assert len(await SqlBusinessStore(database).list_tokens()) == 1
    assert len(await SqlConnectionStore(database).list_active_connections()) == 1


async def test_a_renamed_demo_business_is_not_made_again(database: Database, settings: Settings) -> None:
    first = await seed(database, settings)
    await SqlBusinessStore(database).update_config(first.business_id, {"business_name": "Kiosco"})
    second = await seed(database, settings)
    assert (second.business_id, second.business_name) == (first.business_id, "Kiosco")


async def test_a_run_that_was_cut_off_goes_on_where_it_was(database: Database, settings: Settings) -> None:
    cut_off = await SqlBusinessStore(database).create_business("Mi Negocio", bot_new_chats=True, now=datetime.now(UTC))
    assert (await seed(database, settings)).business_id == cut_off.id
    assert len(await SqlBusinessStore(database).list_businesses()) == 1


async def test_a_revoked_demo_token_stays_revoked(database: Database, settings: Settings) -> None:
    await seed(database, settings)
    businesses = SqlBusinessStore(database)
    token = (await businesses.list_tokens())[0]
    await businesses.revoke_token(token.id, datetime.now(UTC))
    assert (await seed(database, settings)).token is None
    (settings.data_dir / "demo-token").unlink()
    assert (await seed(database, settings)).token is not None


async def test_without_the_simulator_there_is_no_connection_until_it_is_on(
    database: Database, settings: Settings
) -> None:
    without = await seed(database, settings.model_copy(update={"simulator": False}))
    assert without.phone is None
    assert (await seed(database, settings)).phone == DEMO_PHONE


async def test_what_an_earlier_life_left_connected_is_not(database: Database, settings: Settings) -> None:
    business_id = (await seed(database, settings)).business_id
    connections = SqlConnectionStore(database)
    connection = await connections.fetch_active_connection(business_id)
    assert connection is not None
    now = datetime.now(UTC)
    epoch = await connections.raise_epoch(connection.id, now)
    await connections.record_status(connection.id, epoch, ConnectionStatus.CONNECTED, None, now)
    await seed(database, settings)
    assert (await connections.fetch_connection(connection.id)).status is ConnectionStatus.CONNECTING
    with pytest.raises(StaleEpoch):
        await connections.record_status(connection.id, epoch, ConnectionStatus.CONNECTED, None, now)
