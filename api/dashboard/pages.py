"""The page at `/`: the businesses with their connection and API access. Server-rendered, behind a password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, RedirectResponse, Response

from api.dashboard.admin import SESSION_SECONDS, GuessBrake
from api.dashboard.forms import COOKIE, Form, read_fields, read_signed_form, refuse_foreign
from api.dashboard.rendering import render_login, render_page
from api.deps import Deps
from api.services import Services
from boton.domain.businesses import Business, NewToken, Tally, Token
from boton.domain.connections import Connection

_STATIC = Path(__file__).parent / "static"
_LONGEST_NAME = 100

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Section:
    """What the page shows of one business."""

    business: Business
    tally: Tally
    connection: Connection | None
    tokens: tuple[Token, ...]


@router.get("/")
async def show_page(request: Request, services: Deps) -> Response:
    session = await services.admin.find_session(request.cookies.get(COOKIE))
    return render_login() if session is None else await _show_businesses(services, session)


async def _show_businesses(services: Services, session: str, new: NewToken | None = None) -> Response:
    """`new` is shown with its secret, this once."""
    sections = [await _fetch_section(services, business) for business in await services.businesses.list_businesses()]
    return await render_page(services, session, "page.html", sections=sections, new=new)


async def _fetch_section(services: Services, business: Business) -> Section:
    tokens = await services.businesses.list_tokens(business.id)
    return Section(
        business=business,
        tally=await services.businesses.fetch_tally(business.id),
        connection=await services.fetch_connection(business.id),
        tokens=tuple(token for token in tokens if token.revoked_at is None),
    )


@router.post("/dashboard/login")
async def log_in(request: Request, services: Deps) -> Response:
    refuse_foreign(request)
    brake: GuessBrake = request.app.state.guess_brake
    client = request.client.host if request.client else ""
    if wait := brake.wait_seconds(client):
        return render_login("Demasiados intentos. Esperá un minuto.", 429, {"Retry-After": str(int(wait) + 1)})
    fields = await read_fields(request)
    brake.note_attempt(client)
    if not await services.admin.verify(fields.get("password", "")):
        return render_login("La contraseña no es correcta.", 401)
    brake.forget(client)
    return await _let_in(request, services)


async def _let_in(request: Request, services: Deps) -> Response:
    answer = RedirectResponse("/", status_code=303)
    cookie = await services.admin.open_session()
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/dashboard/logout", dependencies=[Depends(read_signed_form)])
async def log_out() -> Response:
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


@router.post("/dashboard/tokens")
async def create_token(form: Form, services: Deps) -> Response:
    """The page with the new secret: it is shown this once, so there is no redirect."""
    name = " ".join(form.fields.get("name", "").split())[:_LONGEST_NAME] or "API"
    new = await services.businesses.create_token(form.fields.get("business", ""), name, services.now())
    return await _show_businesses(services, form.session, new)


@router.post("/dashboard/tokens/revoke")
async def revoke_token(form: Form, services: Deps) -> Response:
    await services.businesses.revoke_token(form.fields.get("token", ""), services.now())
    return RedirectResponse("/", status_code=303)


@router.get("/dashboard/{name}")
async def send_asset(name: str) -> FileResponse:
    if name not in {"page.css", "page.js"}:
        raise HTTPException(404)
    return FileResponse(_STATIC / name, headers={"X-Content-Type-Options": "nosniff"})
