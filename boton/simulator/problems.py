"""Refusals of the simulator's HTTP API, as `application/problem+json`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from boton.errors import (
    BotonError,
    Conflict,
    ConnectionAway,
    Invalid,
    NumberRefused,
    OutcomeUnknown,
    RecipientRefused,
    SessionReplaced,
)

_STATUS: dict[type[BotonError], int] = {
    ConnectionAway: 503,
    SessionReplaced: 409,
    RecipientRefused: 422,
    NumberRefused: 403,
    OutcomeUnknown: 504,
    Conflict: 409,
    Invalid: 422,
}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    """A refusal as RFC 9457 has it; `more` are further members, like `code`."""
    body = {"type": "about:blank", "title": _phrase(status), "status": status, "detail": detail, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def answer_boton_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BotonError)
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    more: dict[str, Any] = {"code": error.code}
    if isinstance(error, NumberRefused):
        more["reason"] = error.reason
    if isinstance(error, Invalid) and error.errors:
        more["errors"] = [{"path": path, "detail": detail} for path, detail in error.errors]
    return problem(status, error.detail, **more)


def answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            detail = "There is nothing at this path."
        case 405:
            detail = f"This path does not take {request.method}."
        case _:
            detail = error.detail
    return problem(error.status_code, detail, error.headers)


def answer_failure(_request: Request, _error: Exception) -> Response:
    return problem(500, "The simulator failed; its log says why.")


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
