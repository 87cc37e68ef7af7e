"""Reminders: what is to be sent later, once or again and again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from api.bodies import json_body
from api.deps import Caller, Deps, OneChat, Paging, ReminderId, Starting
from api.docs import BODY_ERRORS, CONFLICT, ERRORS, V1, body_of
from api.idempotency import KEY, to_idempotency
from api.reminding import to_new_reminder, to_patch
from api.schemas.reminders import ReminderChange, ReminderList, ReminderOut, ReminderPlanned, ReminderRequest
from api.services import Services
from api.starting import Launcher
from boton.domain.reminders import ReminderStatus
from boton.errors import Conflict

PATH = f"{V1}/reminders"

router = APIRouter(prefix=V1, tags=["Reminders"], responses=ERRORS)


@router.post(
    "/reminders",
    status_code=201,
    response_model=ReminderPlanned,
    summary="Send something later: once, again and again, or before an event",
    openapi_extra=body_of(ReminderRequest),
    responses=BODY_ERRORS | CONFLICT,
)
async def create_reminder(
    caller: Caller,
    services: Deps,
    launcher: Starting,
    body: Annotated[ReminderRequest, Depends(json_body(ReminderRequest))],
    key: Annotated[str | None, KEY] = None,
) -> JSONResponse:
    idempotency = to_idempotency(key, PATH, body)
    answer = await services.reminders.find_accepted(caller.business_id, idempotency) if idempotency else None
    if answer is None:
        new = to_new_reminder(body, caller.business, services.now())
        accepted = await services.reminders.accept_reminder(
            new,
            lambda reminder: ReminderPlanned.planned(reminder, new.plan.left_out).model_dump(mode="json"),
            idempotency=idempotency,
        )
        answer = accepted.answer
        if accepted.reminder is not None:
            launcher.start_reminder(accepted.reminder)
    return JSONResponse(answer, status_code=201)


@router.get("/reminders", summary="Reminders, newest first")
async def list_reminders(
    caller: Caller,
    services: Deps,
    page: Paging,
    jid: OneChat,
    status: Annotated[ReminderStatus | None, Query(description="only those that are so")] = None,
) -> ReminderList:
    reminders, total = await services.reminders.list_reminders(caller.business_id, page, status=status, jid=jid)
    return ReminderList.of(reminders, total, page)


@router.get("/reminders/{id}", summary="One reminder with its firings")
async def get_reminder(caller: Caller, services: Deps, reminder_id: ReminderId) -> ReminderOut:
    return ReminderOut.of(await services.reminders.fetch_reminder(caller.business_id, reminder_id))


@router.patch(
    "/reminders/{id}",
    summary="Move or change what has not fired yet",
    openapi_extra=body_of(ReminderChange),
    responses=BODY_ERRORS | CONFLICT,
)
async def change_reminder(
    caller: Caller,
    services: Deps,
    launcher: Starting,
    reminder_id: ReminderId,
    body: Annotated[ReminderChange, Depends(json_body(ReminderChange))],
) -> ReminderPlanned:
    current = await services.reminders.fetch_reminder(caller.business_id, reminder_id)
    now = services.now()
    patch = to_patch(body, current, caller.business, now)
    changed = await services.reminders.change_reminder(caller.business_id, reminder_id, patch, now)
    launcher.start_reminder(changed, wake=True)
    return ReminderPlanned.planned(changed, patch.plan.left_out if patch.plan else ())


@router.delete("/reminders/{id}", summary="Cancel what has not fired, and what has not left yet", responses=CONFLICT)
async def cancel_reminder(caller: Caller, services: Deps, launcher: Starting, reminder_id: ReminderId) -> ReminderOut:
    cancelled = await services.reminders.cancel_reminder(caller.business_id, reminder_id, services.now())
    launcher.start_reminder(cancelled.reminder, wake=True)
    await _cancel_sends(services, launcher, caller.business_id, cancelled.queued_sends)
    return ReminderOut.of(await services.reminders.fetch_reminder(caller.business_id, reminder_id))


async def _cancel_sends(services: Services, launcher: Launcher, business_id: str, send_ids: Sequence[str]) -> None:
    for send_id in send_ids:
        with suppress(Conflict):  # it has left meanwhile
            launcher.wake_sends([await services.sends.cancel_send(business_id, send_id, services.now())])
