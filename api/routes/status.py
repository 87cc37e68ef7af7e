"""How the business and its phone number are doing."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import Caller, Deps
from api.docs import ERRORS, V1
from api.schemas.status import ConnectionOut, StatusOut

router = APIRouter(prefix=V1, tags=["Status"], responses=ERRORS)


@router.get("/status", summary="State of the connection and settings of the bot")
async def get_status(caller: Caller, services: Deps) -> StatusOut:
    business = await services.businesses.fetch_business(caller.business_id)
    tally = await services.businesses.fetch_tally(caller.business_id)
    connection = await services.fetch_connection(caller.business_id)
    return StatusOut.of(business, tally, connection)


@router.get("/connection", summary="The linked phone number")
async def get_connection(caller: Caller, services: Deps) -> ConnectionOut:
    return ConnectionOut.of(await services.fetch_connection(caller.business_id))
