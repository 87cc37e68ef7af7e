"""What happened, in order, for a CRM that asks."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.deps import Caller, Deps
from api.docs import ERRORS, GONE, V1
from api.schemas.events import MAX_EVENTS, MAX_WAIT, EventList
from api.services import Services

router = APIRouter(prefix=V1, tags=["Events"], responses=ERRORS)

_PATIENCE = 1.0
"""Seconds after which a long poll looks whether anybody still waits for its answer."""
_LAST_SEQ = 2**63 - 1


@router.get("/events", summary="Events after a seq; with wait, as soon as there is one", responses=GONE)
async def list_events(
    request: Request,
    caller: Caller,
    services: Deps,
    after: Annotated[int, Query(ge=0, le=_LAST_SEQ, description="lastSeq of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, description="1000 at most")] = 100,
    wait: Annotated[float, Query(ge=0, allow_inf_nan=False, description="seconds, 30 at most")] = 0,
) -> EventList:
    limit = min(limit, MAX_EVENTS)
    deadline = asyncio.get_running_loop().time() + min(wait, MAX_WAIT)
    page = await services.events.list_events(caller.business_id, after, limit)
    if not page.events and await _wait(request, services, caller.business_id, after, deadline):
        page = await services.events.list_events(caller.business_id, after, limit)
    return EventList.of(page, limit)


async def _wait(request: Request, services: Services, business_id: str, after: int, deadline: float) -> bool:
    """Whether an event came; False when time is up or nobody waits for the answer any more."""
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        if services.is_stopping() or await request.is_disconnected():
            return False
        if await services.bell.wait_beyond(business_id, after, min(left, _PATIENCE)):
            return True
    return False
