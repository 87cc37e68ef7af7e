import asyncio
from datetime import timedelta

import pytest

from boton.domain.businesses import BotPurpose, BusinessConfig, Tally
from boton.errors import NotFound
from boton.store.businesses import SqlBusinessStore
from boton.store.engine import Database
from boton.store.tables import TokenRow
from tests.store.builders import NOW, a_business, at


@pytest.fixture
def businesses(database: Database) -> SqlBusinessStore:
    return SqlBusinessStore(database)


async def test_new_business_behaves_as_documented_by_default(businesses: SqlBusinessStore) -> None:
    created = await businesses.create_business("Mi Negocio", bot_new_chats=True, now=NOW)
    assert created.config == BusinessConfig(business_name="Mi Negocio", bot_new_chats=True)
    assert await businesses.fetch_business(created.id) == created
    assert await businesses.fetch_tally(created.id) == Tally()


async def test_businesses_are_listed_in_the_order_of_their_creation(businesses: SqlBusinessStore) -> None:
    names = ["Zeta", "Alfa", "Media"]
    for name in names:
        await businesses.create_business(name, bot_new_chats=False, now=NOW)
    assert [one.name for one in await businesses.list_businesses()] == names


async def test_config_changes_only_what_is_named(businesses: SqlBusinessStore) -> None:
    created = await businesses.create_business("Mi Negocio", bot_new_chats=False, now=NOW)
    changes = {
        "bot_purpose": BotPurpose.SELL,
        "quiet_hours": {"start": "21:00", "end": "08:00"},
        "opt_out_words": ("BASTA",),
        "debounce_seconds": 0.5,
    }
    changed = await businesses.update_config(created.id, dict(changes))
    expected = {"business_name": "Mi Negocio", "bot_new_chats": False, **changes}
    assert changed.config == BusinessConfig(**expected)  # type: ignore[arg-type]
    assert await businesses.fetch_business(created.id) == changed
    cleared = await businesses.update_config(created.id, {"quiet_hours": None})
    assert cleared.config.quiet_hours is None
    assert cleared.config.opt_out_words == ("BASTA",)


async def test_concurrent_changes_of_different_fields_are_all_kept(businesses: SqlBusinessStore) -> None:
    created = await businesses.create_business("Mi Negocio", bot_new_chats=False, now=NOW)
    changes = [{"guardrails": "g"}, {"custom_instructions": "c"}, {"language": "es"}, {"takeover_minutes": 5}]
    await asyncio.gather(*(businesses.update_config(created.id, dict(change)) for change in changes))
    config = (await businesses.fetch_business(created.id)).config
    assert (config.guardrails, config.custom_instructions, config.language, config.takeover_minutes) == (
        "g",
        "c",
        "es",
        5,
    )


async def test_field_that_does_not_exist_is_refused(businesses: SqlBusinessStore) -> None:
    created = await businesses.create_business("Mi Negocio", bot_new_chats=False, now=NOW)
    with pytest.raises(ValueError, match="id_of_nothing"):
        await businesses.update_config(created.id, {"id_of_nothing": 1})


async def test_unknown_business_is_not_found(businesses: SqlBusinessStore) -> None:
    with pytest.raises(NotFound):
        await businesses.fetch_business("biz_0")
    with pytest.raises(NotFound):
        await businesses.update_config("biz_0", {"language": "es"})
    with pytest.raises(NotFound):
        await businesses.fetch_tally("biz_0")
    with pytest.raises(NotFound):
        await businesses.create_token("biz_0", "crm", NOW)


async def test_token_opens_its_business(database: Database, businesses: SqlBusinessStore) -> None:
    business, _ = await a_business(database)
    other, _ = await a_business(database)
    created = await businesses.create_token(business.id, "crm", NOW)
    await businesses.create_token(other.id, "crm", NOW)
    found = await businesses.authenticate(created.secret, NOW)
    assert found is not None
    assert (found.token.id, found.business) == (created.token.id, business)
    assert [one.id for one in await businesses.list_tokens(business.id)] == [created.token.id]
    assert len(await businesses.list_tokens()) == 2


async def test_secret_is_nowhere_in_the_store(database: Database, businesses: SqlBusinessStore) -> None:
    business, _ = await a_business(database)
    created = await businesses.create_token(business.id, "crm", NOW)
    row = await database.read(lambda session: session.get_one(TokenRow, created.token.id).model_dump())
    assert created.secret.startswith("boton_")
    assert created.token.hint == created.secret[-4:]
    assert created.secret not in repr(row) + repr(created)
    assert len(row["secret_hash"]) == 64


async def test_wrong_secret_opens_nothing(database: Database, businesses: SqlBusinessStore) -> None:
    business, _ = await a_business(database)
    created = await businesses.create_token(business.id, "crm", NOW)
    for secret in ("", created.secret[:-1], created.secret + "x", created.token.id):
        assert await businesses.authenticate(secret, NOW) is None


async def test_revoked_token_opens_nothing(database: Database, businesses: SqlBusinessStore) -> None:
    business, _ = await a_business(database)
    created = await businesses.create_token(business.id, "crm", NOW)
    revoked = await businesses.revoke_token(created.token.id, at(1))
    again = await businesses.revoke_token(created.token.id, at(2))
    assert revoked.revoked_at == again.revoked_at == at(1)
    assert await businesses.authenticate(created.secret, at(3)) is None
    with pytest.raises(NotFound):
        await businesses.revoke_token("tok_0", NOW)


async def test_use_of_a_token_is_recorded_once_a_minute(database: Database, businesses: SqlBusinessStore) -> None:
    business, _ = await a_business(database)
    secret = (await businesses.create_token(business.id, "crm", NOW)).secret
    recorded = []
    for seconds in (0, 30, 59, 60, 90):
        await businesses.authenticate(secret, at(seconds))
        recorded.append((await businesses.list_tokens(business.id))[0].last_used_at)
    minute = NOW + timedelta(minutes=1)
    assert recorded == [NOW, NOW, NOW, minute, minute]
