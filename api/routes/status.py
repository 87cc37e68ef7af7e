"""How the business and its phone number are doing."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from api.bodies import json_body
from api.deps import Caller, Deps, Starting
from api.docs import BODY_ERRORS, CONFLICT, ERRORS, V1, body_of
from api.schemas.status import SlowLane, SlowLaneIn, StatusOut

router = APIRouter(prefix=V1, tags=["Status"], responses=ERRORS)


@router.get("/status", summary="State of the connection and settings of the bot")
async def get_status(caller: Caller, services: Deps) -> StatusOut:
    tally = await services.businesses.fetch_tally(caller.business_id)
    connection = await services.fetch_connection(caller.business_id)
    assistant = await services.assistant.fetch_assistant()
    return StatusOut.at(caller.business, tally, connection, assistant, services.now())


@router.post(
    "/connection/slow-lane",
    summary="Open the slow lane before its time",
    openapi_extra=body_of(SlowLaneIn),
    responses=BODY_ERRORS | CONFLICT,
    dependencies=[Depends(json_body(SlowLaneIn))],
)
async def open_slow_lane(caller: Caller, services: Deps, launcher: Starting) -> SlowLane:
    now = services.now()
    connection = await services.connections.open_slow_lane(caller.business_id, now)
    launcher.wake_sends(await services.sends.wake_waiting_sends(caller.business_id, now))
    return SlowLane.at(connection, now)
