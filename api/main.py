"""The HTTP side, wired: `create_app` over whatever services it is given, `run` over the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from api import docs, problems
from api.dashboard import chats as chats_page
from api.dashboard import connection as connection_page
from api.dashboard import conversations as conversations_page
from api.dashboard import pages
from api.dashboard.admin import GuessBrake
from api.middleware import HostCheck, Measure
from api.routes import chats, config, connection, conversations, events, operations, reminders, sends, status
from api.services import Services
from api.starting import Launcher
from boton.telemetry import configure_logging

if TYPE_CHECKING:
    from boton.settings import Settings


def create_app(services: Services) -> FastAPI:
    """The whole HTTP side, over whatever ports it is given."""
    launcher = Launcher(services.starter, services.reminders)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await launcher.finish()

    app = FastAPI(
        title="BOTON",
        version="1",
        description=docs.DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.services = services
    app.state.launcher = launcher
    app.state.guess_brake = GuessBrake()
    _add_routes(app)
    problems.install(app)
    docs.install(app)
    if not services.public:
        app.add_middleware(HostCheck)
    app.add_middleware(Measure, metrics=services.metrics)
    return app


def _add_routes(app: FastAPI) -> None:
    """Prefixes stand on the routers themselves: a prefix given here would be missing in the metrics' routes."""
    for room in (status, connection, chats, sends, conversations, reminders, config, events, operations):
        app.include_router(room.router)
    for page in (connection_page, chats_page, conversations_page, pages):
        app.include_router(page.router)


def run(settings: Settings) -> None:
    """The API process: serves until SIGTERM or SIGINT. Raises BotonError when something stands in the way."""
    from api.composition import serve

    configure_logging("api")
    asyncio.run(serve(settings))
