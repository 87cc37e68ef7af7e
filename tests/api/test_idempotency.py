"""Idempotency-Key of POST /send."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from api.idempotency import to_idempotency
from api.schemas.sends import SendRequest
from tests.api.conftest import JUAN, Clock, FakeStarter, Tenant, check_problem

BODY = {"to": JUAN, "message": "Hola"}


async def send(tenant: Tenant, body: dict[str, Any], key: str) -> dict[str, Any]:
    answer = await tenant.http.post("/api/v1/send", json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 202, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def count(tenant: Tenant) -> int:
    total: int = (await tenant.get("/sends")).json()["total"]
    return total


async def test_the_same_again_gives_the_first_answer_and_does_nothing_twice(
    tenant: Tenant, starter: FakeStarter
) -> None:
    first = await send(tenant, BODY, "k1")
    assert await send(tenant, dict(reversed(BODY.items())), "k1") == first
    assert await count(tenant) == 1
    assert len(starter.sends) == 1
    assert (await send(tenant, BODY, "k2"))["id"] != first["id"]


async def test_it_is_looked_up_before_anything_is_too_late(tenant: Tenant, clock: Clock) -> None:
    body = {**BODY, "sendAt": "2026-11-20T19:00:00Z"}
    first = await send(tenant, body, "k1")
    clock.advance(days=3)
    assert await send(tenant, body, "k1") == first
    check_problem(await tenant.post("/send", body), 422)


async def test_another_body_with_the_same_key(tenant: Tenant) -> None:
    await send(tenant, BODY, "k1")
    answer = await tenant.http.post("/api/v1/send", json={**BODY, "message": "Chau"}, headers={"Idempotency-Key": "k1"})
    assert [error["path"] for error in check_problem(answer, 422)["errors"]] == ["Idempotency-Key"]
    assert await count(tenant) == 1


class LaterRequest(SendRequest):
    """What a later version may make of a request."""

    urgent: bool = False


def test_what_is_left_out_means_the_same_and_a_later_versions_fields_change_no_key() -> None:
    full = {**BODY, "sendAt": None, "variables": None, "category": "transactional", "respectQuietHours": False}
    hashes = {
        key.body_hash
        for model in (SendRequest, LaterRequest)
        for body in (BODY, full)
        if (key := to_idempotency("k1", "/api/v1/send", model.model_validate_json(json.dumps(body)))) is not None
    }
    assert len(hashes) == 1


async def test_twins_at_once_are_one_send(tenant: Tenant) -> None:
    answers = await asyncio.gather(*(send(tenant, BODY, "k1") for _ in range(8)))
    assert len({answer["id"] for answer in answers}) == 1
    assert await count(tenant) == 1


async def test_a_key_that_is_none(tenant: Tenant) -> None:
    for key in ("", "with space", "x" * 256):
        check_problem(await tenant.http.post("/api/v1/send", json=BODY, headers={"Idempotency-Key": key}), 422)
    assert await count(tenant) == 0
