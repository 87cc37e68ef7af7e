"""What every endpoint needs of a request: its numbers, its checked body."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from boton.simulator.bodies import parse_number, parse_object
from boton.simulator.network import Network

MAX_BODY = 1_000_000
"""Bytes; the longest message with every character escaped is 800 kB."""


def network_of(request: Request) -> Network:
    network = request.app.state.network
    assert isinstance(network, Network)
    return network


def number_of(request: Request, name: str = "number") -> str:
    """The phone number in the path. Raises Invalid."""
    return parse_number(request.path_params[name], name)


async def read_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises HTTPException 400, 413 or 415, or Invalid."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Without this, any web page could post to loopback: a form needs no CORS preflight, JSON does.
        raise HTTPException(415, "Send the body as JSON, with Content-Type: application/json.")
    return parse_object(await _read(request))


async def _read(request: Request) -> bytes:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY:
            raise HTTPException(413, f"The body is larger than {MAX_BODY} bytes.")
    return bytes(raw)
