"""How the assistant behaves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.bodies import json_body
from api.deps import Caller, Deps
from api.docs import BODY_ERRORS, ERRORS, V1, body_of
from api.schemas.config import ConfigIn, ConfigOut

router = APIRouter(prefix=V1, tags=["Config"], responses=ERRORS)


@router.get("/config", summary="The whole configuration")
async def get_config(caller: Caller, services: Deps) -> ConfigOut:
    business = await services.businesses.fetch_business(caller.business_id)
    return ConfigOut.of(business.config)


@router.post(
    "/config",
    summary="Set some of the configuration; answers all of it",
    openapi_extra=body_of(ConfigIn),
    responses=BODY_ERRORS,
)
async def update_config(
    caller: Caller, services: Deps, body: Annotated[ConfigIn, Depends(json_body(ConfigIn))]
) -> ConfigOut:
    business = await services.businesses.update_config(caller.business_id, body.to_changes())
    return ConfigOut.of(business.config)
