"""The simulator's ASGI application: routes, the guard against other hosts, the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from boton.errors import BotonError
from boton.simulator import private, public
from boton.simulator.network import Network
from boton.simulator.problems import answer_boton_error, answer_failure, answer_http_exception, problem

_PAGE = Path(__file__).parent / "page"
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}


def create_app(network: Network) -> Starlette:
    app = Starlette(
        routes=[*private.ROUTES, *public.ROUTES, *_page_routes(), Route("/metrics", show_metrics)],
        middleware=[Middleware(OnlyLoopback)],
        exception_handlers={
            BotonError: answer_boton_error,
            HTTPException: answer_http_exception,
            Exception: answer_failure,
        },
        lifespan=_lifespan,
    )
    app.state.network = network
    return app


class OnlyLoopback:
    """Refuses requests under any other host's name: a web page may not reach the simulator by DNS rebinding."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_loopback(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
        else:
            refusal = problem(403, "The simulator answers only under 127.0.0.1 or localhost: check the Host header.")
            await refusal(scope, receive, send)


def _is_loopback(host: str) -> bool:
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    return name.lower() in {"127.0.0.1", "localhost", "[::1]"} and (not colon or port.isdigit())


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    reader = asyncio.create_task(app.state.network.read_as_phones_do())
    yield
    app.state.network.stop()
    await reader


def _page_routes() -> list[Route]:
    files = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css"}
    return [Route(path, _serve(_PAGE / name)) for path, name in files.items()]


def _serve(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def show_file(_request: Request) -> Response:
        return FileResponse(path, headers=_PAGE_HEADERS)

    return show_file


async def show_metrics(request: Request) -> Response:
    # Imported only where somebody asks for metrics.
    from boton.simulator.metrics import CONTENT_TYPE, to_exposition

    return Response(to_exposition(request.app.state.network), headers={"Content-Type": CONTENT_TYPE})
