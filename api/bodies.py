"""JSON bodies: the right type, not too large, well-formed, and without what no database or phone can hold."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from api.offload import LARGE_BODY, run
from api.problems import to_field_errors, to_summary
from api.schemas.base import Body
from boton.errors import Invalid

B = TypeVar("B", bound=Body)

MAX_BODY = 5 * 1024 * 1024
_DRAINED = 8 * MAX_BODY
"""Bytes of a too large body that are read and dropped: a client that is cut off while it writes sees no answer."""

_NUL = re.compile("\0")
_SURROGATE = re.compile("[\ud800-\udfff]")


def json_body(model: type[B]) -> Callable[[Request], Awaitable[B]]:
    """A dependency that reads the body as `model`. Raises HTTPException (400, 413, 415) or Invalid."""

    async def read(request: Request) -> B:
        _check_content_type(request.headers.get("content-type", ""))
        raw = await read_body(request, MAX_BODY)
        return await run(lambda: _parse(model, raw), in_thread=len(raw) > LARGE_BODY)

    return read


async def read_body(request: Request, longest: int) -> bytes:
    """The body. Raises HTTPException 413 when it is longer than that."""
    size = 0
    chunks: list[bytes] = []
    async for chunk in request.stream():
        size += len(chunk)
        if size <= longest:
            chunks.append(chunk)
        elif size > _DRAINED:
            break
    if size > longest:
        raise HTTPException(413, f"The body is too large: at most {longest} bytes.")
    return b"".join(chunks)


def _check_content_type(content_type: str) -> None:
    essence = content_type.partition(";")[0].strip().lower()
    if essence != "application/json" and not (essence.startswith("application/") and essence.endswith("+json")):
        raise HTTPException(415, "Send JSON, with the header Content-Type: application/json.")


def _parse(model: type[B], raw: bytes) -> B:
    try:
        body = model.model_validate_json(raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise _find_flaw(raw, found[0]["msg"]) from None
        errors = to_field_errors(found)
        raise Invalid(to_summary(errors), tuple(errors)) from None
    if b"\\u0000" in raw:
        _refuse(_NUL, "holds a NUL character", raw)
    return body


def _find_flaw(raw: bytes, message: str) -> Exception:
    """Why the strict parser refused it: a lone surrogate, which is a fault of one text, or no JSON at all."""
    try:
        _refuse(_SURROGATE, "holds half of a character (a lone surrogate)", raw)
    except Invalid as error:
        return error
    except (ValueError, RecursionError):
        pass
    return HTTPException(400, f"The body cannot be read. {message}.")


def _refuse(unwanted: re.Pattern[str], detail: str, raw: bytes) -> None:
    """Raises Invalid for the first text of the body that matches."""
    for path, text in _texts(json.loads(raw)):
        if unwanted.search(text):
            raise Invalid(f"{path} {detail}.", ((path, detail),))


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value with where it stands."""
    match value:
        case str():
            yield path or "body", value
        case list():
            for index, item in enumerate(value):
                yield from _texts(item, f"{path}.{index}".lstrip("."))
        case dict():
            for name, item in value.items():
                yield path or "body", name
                yield from _texts(item, f"{path}.{name}".lstrip("."))
