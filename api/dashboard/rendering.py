"""The page's HTML: templates that escape everything, and headers that let nothing else in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from api.schemas.base import to_timestamp
from api.services import Services
from boton.domain.businesses import Business, NewToken, Tally, Token
from boton.domain.connections import Connection

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_STATUS_WORDS = {
    "linking": "Vinculando",
    "connecting": "Conectando",
    "connected": "Conectado",
    "disconnected": "Desconectado",
    "logged_out": "Sesión cerrada",
    "replaced": "Reemplazado por otra sesión",
    "banned": "Bloqueado por WhatsApp",
    "outdated": "Versión desactualizada",
    "stopped": "Detenido",
}


@dataclass(frozen=True, slots=True)
class Section:
    """What the page shows of one business."""

    business: Business
    tally: Tally
    connection: Connection | None
    tokens: tuple[Token, ...]


async def render_businesses(services: Services, session: str, new: NewToken | None = None) -> HTMLResponse:
    """The page; `new` is shown with its secret, this once."""
    sections = [await _fetch_section(services, business) for business in await services.businesses.list_businesses()]
    form_token = await services.admin.make_form_token(session)
    return _render("page.html", sections=sections, links=services.links, form_token=form_token, new=new)


async def _fetch_section(services: Services, business: Business) -> Section:
    tokens = await services.businesses.list_tokens(business.id)
    return Section(
        business=business,
        tally=await services.businesses.fetch_tally(business.id),
        connection=await services.fetch_connection(business.id),
        tokens=tuple(token for token in tokens if token.revoked_at is None),
    )


def render_login(error: str | None = None, status: int = 200, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    """The form for the password, with what was wrong."""
    return _render("login.html", status=status, headers=headers, error=error)


def _render(
    template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> HTMLResponse:
    html = _load_templates().get_template(template).render(**values)
    return HTMLResponse(html, status_code=status, headers={**_HEADERS, **(headers or {})})


@cache
def _load_templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["timestamp"] = to_timestamp
    templates.filters["status_words"] = lambda status: _STATUS_WORDS.get(status, status)
    return templates
