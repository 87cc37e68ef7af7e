"""Around every request: who may be asked for (Host), and how long it took. Pure ASGI: bodies pass untouched."""

from __future__ import annotations

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import to_problem
from boton.telemetry import Metrics

_LOOPBACK_NAMES = {"127.0.0.1", "localhost", "[::1]"}
_METHODS = {"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"}


class HostCheck:
    """On loopback only loopback's own names are answered: a web page that rebinds its DNS name gets nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_loopback_name(Headers(scope=scope).get("host", "")):
            refusal = to_problem(400, "Ask for 127.0.0.1 or localhost: this API is bound to loopback.", code="bad_host")
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_loopback_name(host: str) -> bool:
    name, colon, port = host.lower().rpartition(":")
    if not colon or host.endswith("]"):
        return host.lower() in _LOOPBACK_NAMES
    return name in _LOOPBACK_NAMES and port.isdigit()


class Measure:
    """Counts requests and their latency by route template: a path would make a series of each phone number."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.count_request(method, _to_template(scope), status, time.perf_counter() - began)


def _to_template(scope: Scope) -> str:
    """The matched route's path with its parameters' names; `none` where no route matched."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "none"
