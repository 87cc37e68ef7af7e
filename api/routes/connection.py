"""The business's number: linked, switched, logged out; and what is held since."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from api import linking
from api.bodies import json_body
from api.deps import Caller, Deps, Paging, Starting, read_page
from api.docs import BODY_ERRORS, CONFLICT, ERRORS, V1, body_of
from api.idempotency import KEY, to_idempotency
from api.schemas.connection import ConnectionIn, ConnectionOut, HeldIn, HeldList

PATH = f"{V1}/connection"
_NEVER_KEPT = {"Cache-Control": "no-store"}

router = APIRouter(prefix=V1, tags=["Connection"], responses=ERRORS)


def _picture(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {}}, "description": "The QR code"}}


@router.get("/connection", summary="The business's number, and how its phone is linked")
async def get_connection(caller: Caller, services: Deps, response: Response) -> ConnectionOut:
    response.headers.update(_NEVER_KEPT)  # it holds the code that links the phone
    return await linking.fetch_state(services, caller.business_id)


@router.post(
    "/connection",
    response_model=ConnectionOut,
    summary="Link a phone, or go to another number",
    openapi_extra=body_of(ConnectionIn),
    responses=BODY_ERRORS | CONFLICT,
)
async def link_number(
    caller: Caller,
    services: Deps,
    launcher: Starting,
    body: Annotated[ConnectionIn, Depends(json_body(ConnectionIn))],
    key: Annotated[str | None, KEY] = None,
) -> JSONResponse:
    """Safe to repeat: a number that is well stays as it is. What was queued for another number is held (see /held)."""
    idempotency = to_idempotency(key, PATH, body)
    answer = await services.linking.find_answer(caller.business_id, idempotency) if idempotency else None
    if answer is None:
        wanted = linking.to_request(body, services)
        answer = await linking.link(services, launcher, caller.business_id, wanted, idempotency)
    return JSONResponse(answer)


@router.delete("/connection", summary="Log the number out; what was queued for it is held")
async def log_out(caller: Caller, services: Deps, launcher: Starting) -> ConnectionOut:
    await linking.log_out(services, launcher, caller.business_id)
    return await linking.fetch_state(services, caller.business_id)


@router.get(
    "/connection/qr.png", summary="The QR code as a picture", response_class=Response, responses=_picture("image/png")
)
async def get_qr_png(caller: Caller, services: Deps) -> Response:
    code = await linking.fetch_qr(services, caller.business_id)
    return Response(linking.to_png(code), media_type="image/png", headers=_NEVER_KEPT)


@router.get(
    "/connection/qr.svg",
    summary="The QR code as a picture",
    response_class=Response,
    responses=_picture("image/svg+xml"),
)
async def get_qr_svg(caller: Caller, services: Deps) -> Response:
    code = await linking.fetch_qr(services, caller.business_id)
    return Response(linking.to_svg(code), media_type="image/svg+xml", headers=_NEVER_KEPT)


# ---------------------------------------------------------------- what is held


@router.get("/held", summary="What goes on only when it is told to")
async def list_held(caller: Caller, services: Deps, page: Paging) -> HeldList:
    """What was queued for a number that the business has left, or unfinished when a backup was restored."""
    return await linking.list_held(services, caller.business_id, page)


@router.post(
    "/held/resume",
    summary="Let what is held go on, over the present number",
    openapi_extra=body_of(HeldIn),
    responses=BODY_ERRORS | CONFLICT,
)
async def resume_held(caller: Caller, services: Deps, body: Annotated[HeldIn, Depends(json_body(HeldIn))]) -> HeldList:
    """Answers with what is held then: its first page."""
    held = await linking.find_held(services, caller.business_id, body.ids)
    await services.holds.resume(held, services.now())
    return await linking.list_held(services, caller.business_id, await read_page())


@router.post(
    "/held/cancel",
    summary="Give up what is held: it is never sent, fired or answered",
    openapi_extra=body_of(HeldIn),
    responses=BODY_ERRORS | CONFLICT,
)
async def cancel_held(caller: Caller, services: Deps, body: Annotated[HeldIn, Depends(json_body(HeldIn))]) -> HeldList:
    """Answers with what is held then: its first page."""
    held = await linking.find_held(services, caller.business_id, body.ids)
    await services.holds.cancel(held, services.now())
    return await linking.list_held(services, caller.business_id, await read_page())
