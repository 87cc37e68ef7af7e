"""Who has logged in, and forms of our own pages, of nobody else's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from api.bodies import read_body
from api.deps import Deps

COOKIE = "boton_session"

_MAX_FORM = 16 * 1024


@dataclass(frozen=True, slots=True)
class SignedForm:
    """A form that was sent from our own page by the session it names."""

    session: str
    fields: Mapping[str, str]


async def require_session(request: Request, services: Deps) -> str:
    """The session of who asks for a page. Raises HTTPException: who has none is sent to log in."""
    session = await services.admin.find_session(request.cookies.get(COOKIE))
    if session is None:
        raise HTTPException(303, "Log in at / first.", headers={"Location": "/"})
    return session


LoggedIn = Annotated[str, Depends(require_session)]


async def read_signed_form(request: Request, services: Deps) -> SignedForm:
    """Raises HTTPException: 401 without a session, 403 when the form is not from our page."""
    refuse_foreign(request)
    session = await services.admin.find_session(request.cookies.get(COOKIE))
    if session is None:
        raise HTTPException(401, "Log in at / first.")
    fields = await read_fields(request)
    if not await services.admin.is_form_token(fields.get("form_token", ""), session):
        raise HTTPException(403, "This form is too old or not from this page. Load the page again.")
    return SignedForm(session, fields)


Form = Annotated[SignedForm, Depends(read_signed_form)]


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a small urlencoded form; of a repeated one the first. Raises HTTPException."""
    raw = await read_body(request, _MAX_FORM)
    try:
        fields = parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise HTTPException(400, "The form has too many fields.") from None
    return {name: values[0].replace("\0", "") for name, values in fields.items()}


def refuse_foreign(request: Request) -> None:
    """Browsers say where a form comes from. Raises HTTPException 403 when it is another site."""
    origin = request.headers.get("origin")
    is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if is_foreign or request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise HTTPException(403, "Forms are taken from this page only.")
