"""For those who run it: health and metrics. Not under /api/v1."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.deps import Deps, require_token
from api.health import NUMBERS, OK, inspect
from api.schemas.base import Document

router = APIRouter(tags=["Operations"])

_optional_bearer = HTTPBearer(auto_error=False)


class Liveness(Document):
    status: Literal["ok"] = "ok"


class Readiness(Document):
    """`parts`: `ok`, or `down: ` and what is wrong."""

    status: Literal["ok", "down"]
    parts: dict[str, str]


@router.get("/health/live", summary="Whether this process answers")
async def get_liveness() -> Liveness:
    return Liveness()


@router.get(
    "/health/ready",
    summary="Whether every part works, and which one does not",
    responses={503: {"model": Readiness, "description": "A part is down"}},
)
async def get_readiness(services: Deps, response: Response) -> Readiness:
    parts = await inspect(services.checks)
    works = all(answer == OK for name, answer in parts.items() if name != NUMBERS)
    response.status_code = 200 if works else 503
    return Readiness(status="ok" if works else "down", parts=parts)


@router.get("/metrics", summary="Prometheus metrics of this process", response_class=PlainTextResponse)
async def get_metrics(
    services: Deps, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_optional_bearer)]
) -> PlainTextResponse:
    if services.public:
        await require_token(services, credentials)
    return PlainTextResponse(services.metrics.exposition(), media_type="text/plain; version=0.0.4")
