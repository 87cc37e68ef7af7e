"""Errors leave the API by this door: `application/problem+json` (RFC 9457), one status for each class."""

from __future__ import annotations

import http
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.errors import AllRejected
from boton.errors import BotonError, Conflict, EventsGone, Invalid, NotFound

_STATUS: dict[type[BotonError], int] = {NotFound: 404, Conflict: 409, EventsGone: 410, Invalid: 422}
_CODES = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
}
_HINTS = {404: "There is nothing at this address.", 405: "This address does not know that method; see Allow."}
_PARTS_OF_A_REQUEST = {"body", "query", "path", "header"}


class ProblemResponse(JSONResponse):
    """An answer as RFC 9457 wants it."""

    media_type = "application/problem+json"


def to_problem(
    status: int,
    detail: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> ProblemResponse:
    """A problem document; `more` are members beyond the standard's."""
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code or _CODES.get(status, "error"),
    }
    return ProblemResponse(document | more, status_code=status, headers=dict(headers or {}))


def to_field_errors(errors: Iterable[Mapping[str, Any]], under: str = "") -> list[tuple[str, str]]:
    """pydantic's errors as (path, what to change); never with the input."""
    return [(_to_path(error["loc"], under), _to_detail(error)) for error in errors]


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem document."""
    app.add_exception_handler(BotonError, _answer_ours)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    app.add_exception_handler(Exception, _answer_unexpected)


async def _answer_ours(_request: Request, error: Exception) -> ProblemResponse:
    if not isinstance(error, BotonError):
        raise error
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        raise error
    more: dict[str, Any] = {}
    if isinstance(error, Invalid):
        more["errors"] = _to_documents(error.errors)
    if isinstance(error, AllRejected):
        more["rejected"] = [
            {"to": one.to, "error": {"code": one.error.code, "detail": one.error.detail}} for one in error.rejected
        ]
    return to_problem(status, error.detail, code=error.code, **more)


async def _answer_http(_request: Request, error: Exception) -> ProblemResponse:
    if not isinstance(error, HTTPException):
        raise error
    told = error.detail != http.HTTPStatus(error.status_code).phrase
    detail = error.detail if told else _HINTS.get(error.status_code, error.detail)
    return to_problem(error.status_code, detail, headers=error.headers)


async def _answer_invalid_request(_request: Request, error: Exception) -> ProblemResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = to_field_errors(error.errors())
    return to_problem(422, to_summary(errors), errors=_to_documents(errors))


async def _answer_unexpected(_request: Request, _error: Exception) -> ProblemResponse:
    """Our fault: nothing of it is told. The server logs where it happened."""
    return to_problem(500, "Something went wrong here; it was logged. Try again later.")


def to_summary(errors: Sequence[tuple[str, str]]) -> str:
    """The first error, and how many more there are."""
    path, detail = errors[0]
    rest = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{path}: {detail}{rest}"


def _to_documents(errors: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"path": path, "detail": detail} for path, detail in errors]


def _to_path(loc: Sequence[str | int], under: str) -> str:
    parts = [str(part) for part in loc]
    if not under and parts and parts[0] in _PARTS_OF_A_REQUEST:
        parts = parts[1:]
    return ".".join([under, *parts] if under else parts) or "body"


def _to_detail(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "unknown field"
        case "missing":
            return "is required"
        case _:
            return str(error["msg"])
