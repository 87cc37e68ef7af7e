"""How the assistant behaves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.bodies import json_body
from api.deps import Caller, Deps, Starting
from api.docs import BODY_ERRORS, ERRORS, V1, body_of
from api.schemas.config import ConfigIn, ConfigOut

router = APIRouter(prefix=V1, tags=["Config"], responses=ERRORS)


_PACE = frozenset({"pacing", "quiet_hours", "timezone", "send_ttl_hours"})
"""What decides when a send goes on."""


@router.get("/config", summary="The whole configuration", response_model_exclude_unset=True)
async def get_config(caller: Caller) -> ConfigOut:
    return ConfigOut.of(caller.business.config)


@router.post(
    "/config",
    summary="Set some of the configuration; answers all of it",
    openapi_extra=body_of(ConfigIn),
    responses=BODY_ERRORS,
    response_model_exclude_unset=True,
)
async def update_config(
    caller: Caller, services: Deps, launcher: Starting, body: Annotated[ConfigIn, Depends(json_body(ConfigIn))]
) -> ConfigOut:
    changes = body.to_changes()
    business = await services.businesses.update_config(caller.business_id, changes)
    if changes.keys() & _PACE:
        launcher.wake_sends(await services.sends.wake_waiting_sends(caller.business_id, services.now()))
    return ConfigOut.of(business.config)
