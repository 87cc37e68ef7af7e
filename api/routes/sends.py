"""Sending, and what became of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.bodies import json_body
from api.deps import Caller, Deps, Paging, SendId, Starting
from api.docs import BODY_ERRORS, CONFLICT, ERRORS, V1, body_of
from api.idempotency import KEY, to_idempotency
from api.offload import LARGE_SEND, run
from api.schemas.sends import RecipientList, SendAccepted, SendDetail, SendList, SendRequest
from api.sending import to_new_send
from api.services import Services
from api.starting import Launcher
from boton.domain.sends import AcceptedSend, Send, SendStatus
from boton.ports import IdempotencyKey

PATH = f"{V1}/send"

router = APIRouter(prefix=V1, tags=["Sends"], responses=ERRORS)


@router.post(
    "/send",
    status_code=202,
    response_model=SendAccepted,
    summary="Send a message to one or many, or let the bot open the conversation",
    openapi_extra=body_of(SendRequest),
    responses=BODY_ERRORS | CONFLICT,
)
async def accept_send(
    caller: Caller,
    services: Deps,
    launcher: Starting,
    body: Annotated[SendRequest, Depends(json_body(SendRequest))],
    key: Annotated[str | None, KEY] = None,
) -> Response:
    large = isinstance(body.to, list) and len(body.to) > LARGE_SEND
    idempotency = await run(lambda: to_idempotency(key, PATH, body), in_thread=large)
    accepted = await _find_accepted(services, caller.business_id, idempotency)
    if accepted is None:
        now = services.now()
        new = await run(lambda: to_new_send(body, caller.business, now), in_thread=large)
        accepted = await services.sends.accept_send(new, idempotency=idempotency)
        launcher.start_send(accepted.send)
    answer = await run(lambda: SendAccepted.of(accepted).model_dump_json(), in_thread=large)
    return Response(answer, status_code=202, media_type="application/json")


async def _find_accepted(
    services: Services, business_id: str, idempotency: IdempotencyKey | None
) -> AcceptedSend | None:
    """Looked up before anything is validated: what was right then may be too late now."""
    return None if idempotency is None else await services.sends.find_accepted(business_id, idempotency)


@router.get("/sends", summary="Sends, newest first")
async def list_sends(
    caller: Caller,
    services: Deps,
    page: Paging,
    status: Annotated[SendStatus | None, Query(description="only those that are so")] = None,
) -> SendList:
    sends, total = await services.sends.list_sends(caller.business_id, page, status)
    return SendList.of(sends, total, page)


@router.get("/sends/{id}", summary="One send with its progress")
async def get_send(caller: Caller, services: Deps, send_id: SendId) -> SendDetail:
    return await _tell(services, await services.sends.fetch_send(caller.business_id, send_id))


@router.post("/sends/{id}/pause", summary="Hold a send before its next message", responses=CONFLICT)
async def pause_send(caller: Caller, services: Deps, launcher: Starting, send_id: SendId) -> SendDetail:
    send = await services.sends.pause_send(caller.business_id, send_id)
    return await _wake_and_tell(services, launcher, send)


@router.post("/sends/{id}/resume", summary="Let a paused send go on", responses=CONFLICT)
async def resume_send(caller: Caller, services: Deps, launcher: Starting, send_id: SendId) -> SendDetail:
    send = await services.sends.resume_send(caller.business_id, send_id, services.now())
    return await _wake_and_tell(services, launcher, send)


@router.post("/sends/{id}/cancel", summary="Cancel what was not sent yet", responses=CONFLICT)
async def cancel_send(caller: Caller, services: Deps, launcher: Starting, send_id: SendId) -> SendDetail:
    send = await services.sends.cancel_send(caller.business_id, send_id, services.now())
    return await _wake_and_tell(services, launcher, send)


async def _wake_and_tell(services: Services, launcher: Launcher, send: Send) -> SendDetail:
    if send.finished_at is None:
        launcher.wake_sends([send])
    return await _tell(services, send)


async def _tell(services: Services, send: Send) -> SendDetail:
    now = services.now()
    return SendDetail.at(send, await services.sends.estimate_end(send.business_id, send.id, now), now)


@router.get("/sends/{id}/recipients", summary="What became of each recipient")
async def list_recipients(caller: Caller, services: Deps, send_id: SendId, page: Paging) -> RecipientList:
    recipients, total = await services.sends.list_recipients(caller.business_id, send_id, page)
    return RecipientList.of(recipients, total, page)
