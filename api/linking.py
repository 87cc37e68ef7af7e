"""The business's number, linked, switched and logged out: what the route and the page at `/` share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import segno
from starlette.exceptions import HTTPException

from api.schemas.connection import ConnectionIn, ConnectionOut, HeldList
from api.services import Services
from api.starting import Launcher
from boton.domain.connections import Connection
from boton.domain.holds import Held
from boton.domain.jid import parse_phone
from boton.domain.linking import LinkRequest
from boton.errors import Invalid, InvalidRecipient, NotFound
from boton.ports import IdempotencyKey, Page

BORDER = 4
_SCALE = 8
_SIMULATOR_OFF = "the simulator is off here (BOTON_SIMULATOR)"


def to_request(body: ConnectionIn, services: Services) -> LinkRequest:
    """What is wanted. Raises Invalid."""
    if body.gateway not in services.gateways:
        raise Invalid(f"gateway: {_SIMULATOR_OFF}", (("gateway", _SIMULATOR_OFF),))
    try:
        phone = None if body.phone is None else parse_phone(body.phone)
    except InvalidRecipient as error:
        raise Invalid(f"phone: {error.detail}", (("phone", error.detail),)) from None
    return LinkRequest(gateway=body.gateway, phone=phone, method=body.method)


async def link(
    services: Services,
    launcher: Launcher,
    business_id: str,
    wanted: LinkRequest,
    idempotency: IdempotencyKey | None = None,
) -> dict[str, Any]:
    """The number as it stands then; the workflows of those that change look at once."""
    now = services.now()
    linked = await services.linking.link(
        business_id,
        wanted,
        now,
        lambda connection, pairing: ConnectionOut.at(connection.as_seen(now), pairing, now).model_dump(mode="json"),
        idempotency=idempotency,
    )
    _look(launcher, linked.changed)
    return linked.answer


async def log_out(services: Services, launcher: Launcher, business_id: str) -> None:
    """Changes nothing where there is no number."""
    ended = await services.linking.log_out(business_id, services.now())
    _look(launcher, [ended] if ended else [])


def _look(launcher: Launcher, connections: Sequence[Connection]) -> None:
    for connection in connections:
        launcher.look_at_connection(connection.id, connection.business_id)


async def fetch_state(services: Services, business_id: str) -> ConnectionOut:
    """The number as it stands now, with what its phone is to be shown."""
    connection = await services.fetch_connection(business_id)
    pairing = await services.linking.fetch_pairing(connection.id) if connection else None
    return ConnectionOut.at(connection, pairing, services.now())


async def fetch_qr(services: Services, business_id: str) -> segno.QRCode:
    """The QR code that the phone is to scan now. Raises HTTPException 404 while there is none."""
    state = await fetch_state(services, business_id)
    if state.qr is None:
        raise HTTPException(404, f"There is no QR code now: {state.reason or state.status}")
    return draw(state.qr)


def draw(content: str) -> segno.QRCode:
    return segno.make_qr(content, error="l")


def to_png(code: segno.QRCode) -> bytes:
    return _save(code, "png")


def to_svg(code: segno.QRCode) -> bytes:
    """On white, which a page in dark colours needs."""
    return _save(code, "svg")


def _save(code: segno.QRCode, kind: str) -> bytes:
    picture = io.BytesIO()
    code.save(picture, kind=kind, scale=_SCALE, border=BORDER, light="#fff")
    return picture.getvalue()


# ---------------------------------------------------------------- what is held


async def list_held(services: Services, business_id: str, page: Page) -> HeldList:
    """One page of it."""
    held, total = await services.holds.page_held(business_id, page)
    return HeldList.of(held, total, page)


async def find_held(services: Services, business_id: str, ids: Sequence[str] | None) -> list[Held]:
    """Those of the ids; without ids all. Raises NotFound."""
    held = await services.holds.list_held(business_id)
    missing = set(ids or ()) - {one.id for one in held}
    if missing:
        raise NotFound("held send, reminder or chat", min(missing))
    return [one for one in held if ids is None or one.id in ids]
