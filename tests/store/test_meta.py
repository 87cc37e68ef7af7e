import asyncio

from boton.store.engine import Database
from boton.store.meta import SqlMetaStore


async def test_first_value_stays(database: Database) -> None:
    meta = SqlMetaStore(database)
    assert await meta.get("admin") is None
    assert await meta.put_if_absent("admin", "first") == "first"
    assert await meta.put_if_absent("admin", "second") == "first"
    assert await meta.get("admin") == "first"


async def test_concurrent_writers_agree_on_one_value(database: Database) -> None:
    meta = SqlMetaStore(database)
    answers = await asyncio.gather(*(meta.put_if_absent("admin", str(number)) for number in range(20)))
    assert set(answers) == {await meta.get("admin")}
