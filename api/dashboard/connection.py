"""The number of one business: linked by a QR code or a pairing code, switched, logged out; and what waits since."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from api import linking
from api.dashboard import words
from api.dashboard.forms import Form, LoggedIn, SignedForm
from api.dashboard.rendering import render_page
from api.deps import Deps, Starting
from api.schemas.connection import ConnectionIn, ConnectionOut
from api.services import Services
from boton.domain.connections import Gateway
from boton.domain.holds import HeldKind
from boton.domain.linking import LinkMethod
from boton.errors import Conflict, Invalid

router = APIRouter(prefix="/dashboard/connection", include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How much of each kind is held."""

    sends: int
    reminders: int
    chats: int

    def __bool__(self) -> bool:
        return bool(self.sends or self.reminders or self.chats)


@router.get("")
async def show_number(session: LoggedIn, services: Deps, business: str = "") -> Response:
    return await _show(services, session, business)


@router.get("/state")
async def show_state(session: LoggedIn, services: Deps, business: str = "") -> Response:
    """The part that the page renews by itself."""
    return await _show(services, session, business, template="number.html")


async def _show(
    services: Services, session: str, business_id: str, *, template: str = "connection.html", problem: str | None = None
) -> Response:
    business = await services.businesses.fetch_business(business_id)
    state = await linking.fetch_state(services, business.id)
    values: dict[str, Any] = {"business": business, "state": state, "picture": _draw(state), "problem": problem}
    if template == "connection.html":
        values |= {
            "waiting": await _count_held(services, business.id),
            "simulator": Gateway.SIMULATOR in services.gateways,
        }
    return await render_page(services, session, template, status=200 if problem is None else 409, **values)


def _draw(state: ConnectionOut) -> str | None:
    """The QR code as an address that holds the picture itself."""
    if state.qr is None:
        return None
    return str(linking.draw(state.qr).svg_data_uri(scale=6, border=linking.BORDER, light="#fff"))


async def _count_held(services: Services, business_id: str) -> Waiting:
    kinds = Counter(held.kind for held in await services.holds.list_held(business_id))
    return Waiting(sends=kinds[HeldKind.SEND], reminders=kinds[HeldKind.REMINDER], chats=kinds[HeldKind.CHAT])


@router.post("/link")
async def link(form: Form, services: Deps, launcher: Starting) -> Response:
    """The page says what is wrong with a phone."""
    business_id = form.fields.get("business", "")
    try:
        wanted = linking.to_request(_read(form), services)
        await linking.link(services, launcher, business_id, wanted)
    except Invalid as error:
        wrong_phone = any(path == "phone" for path, _ in error.errors)
        problem = words.PHONE_EXPECTED if wrong_phone else words.OTHER_FORM
        return await _show(services, form.session, business_id, problem=problem)
    except Conflict:
        return await _show(services, form.session, business_id, problem=words.PHONE_TAKEN)
    return _show_again(form)


def _read(form: SignedForm) -> ConnectionIn:
    gateway, method = form.fields.get("gateway", ""), form.fields.get("method", "")
    if gateway not in set(Gateway) or method not in {"", *LinkMethod}:
        raise Invalid("The form is not from this page.")
    return ConnectionIn(
        gateway=Gateway(gateway),
        method=LinkMethod(method or LinkMethod.QR),
        phone=form.fields.get("phone", "").strip() or None,
    )


@router.post("/log-out")
async def log_out(form: Form, services: Deps, launcher: Starting) -> Response:
    await linking.log_out(services, launcher, form.fields.get("business", ""))
    return _show_again(form)


@router.post("/resume")
async def resume(form: Form, services: Deps) -> Response:
    business_id = form.fields.get("business", "")
    try:
        await services.holds.resume(await services.holds.list_held(business_id), services.now())
    except Conflict:
        return await _show(services, form.session, business_id, problem=words.NO_NUMBER)
    return _show_again(form)


@router.post("/cancel")
async def cancel(form: Form, services: Deps) -> Response:
    business_id = form.fields.get("business", "")
    await services.holds.cancel(await services.holds.list_held(business_id), services.now())
    return _show_again(form)


def _show_again(form: SignedForm) -> Response:
    query = urlencode({"business": form.fields.get("business", "")})
    return RedirectResponse(f"/dashboard/connection?{query}", status_code=303)
