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

_PAUSE = 0.25
"""Seconds between two looks of a long poll: one read by index."""
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
    while not page.events and await _may_wait(request, services, deadline):
        page = await services.events.list_events(caller.business_id, after, limit)
    return EventList.of(page, limit)


async def _may_wait(request: Request, services: Services, deadline: float) -> bool:
    """Whether it is worth another look, after a pause: not when time is up or nobody waits for the answer."""
    left = deadline - asyncio.get_running_loop().time()
    if left <= 0 or services.is_stopping() or await request.is_disconnected():
        return False
    await asyncio.sleep(min(_PAUSE, left))
    return True
