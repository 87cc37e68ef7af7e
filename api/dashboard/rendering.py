"""The pages' HTML: templates that escape everything, and headers that let nothing else in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from api.dashboard import words
from api.schemas.base import to_timestamp
from api.services import Services
from boton.domain.pacing import to_zone

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


async def render_page(
    services: Services, session: str, template: str, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page for who has logged in: with its frame, and the token that its forms carry."""
    form_token = await services.admin.make_form_token(session)
    return _render(template, status=status, links=services.links, form_token=form_token, **values)


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
    templates.globals["words"] = words
    templates.filters |= {"timestamp": to_timestamp, "local": _to_local, "person": _to_person}
    return templates


def _to_local(at: datetime, timezone: str | None) -> str:
    """By the business's clock; where it has no time zone the text says that it is UTC."""
    return f"{at.astimezone(to_zone(timezone)):%d/%m/%Y %H:%M}{'' if timezone else ' UTC'}"


def _to_person(jid: str) -> str:
    """The number as people write it; of who has shown none the JID."""
    user, _, server = jid.partition("@")
    return f"+{user}" if server == "s.whatsapp.net" else jid
