"""Generated requests: never a 500, and every answer is as the OpenAPI document says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, BaseSchema, Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.main import create_app
from boton.store.engine import Database, open_database
from tests.api.conftest import JUAN, Clock, FakeStarter, make_services, open_business


@pytest.fixture
def api(sqlite_url: str) -> Iterator[BaseSchema]:
    database = open_database(sqlite_url)
    clock = Clock()
    app = create_app(replace(make_services(database, clock, FakeStarter(), {}), public=True))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    schema.config.update(headers={"Authorization": f"Bearer {asyncio.run(_prepare(database, clock))}"})
    yield schema
    asyncio.run(database.close())


async def _prepare(database: Database, clock: Clock) -> str:
    """A business with something in it; its token."""
    tenant = await open_business(database, clock, httpx.AsyncClient(), "Mi Negocio", "5491138620812")
    await tenant.hear("hola", number=JUAN, name="Juan")
    return tenant.token


CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_are_as_documented(api: BaseSchema, mode: GenerationMode) -> None:
    operations = [result.ok() for result in api.include(path_regex="^/(api|health)").get_all_operations()]
    assert len(operations) >= 15
    seen = Counter[int]()
    for operation in operations:
        _try(operation, mode, seen)
    # The generated requests must get past the door, or they would tell nothing.
    assert {200, 422} <= set(seen)
    assert 401 not in seen


def _try(operation: APIOperation, mode: GenerationMode, seen: Counter[int]) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def check(case: Case) -> None:
        case.query.pop("wait", None)  # nobody wants to wait for a long poll here
        seen[case.call_and_validate(checks=CHECKS).status_code] += 1

    with suppress(Unsatisfiable):  # what takes no input has no wrong input
        check()
