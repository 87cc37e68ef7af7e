"""The OpenAPI document, and the page at /docs: served from here, it needs nothing from the internet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse

from api.schemas.base import Body
from api.schemas.chats import ChatPatch
from api.schemas.config import ConfigIn
from api.schemas.connection import ConnectionIn, HeldIn
from api.schemas.problems import Problem
from api.schemas.reminders import ReminderChange, ReminderRequest
from api.schemas.sends import SendRequest
from api.schemas.status import SlowLaneIn

V1 = "/api/v1"

DESCRIPTION = """Send WhatsApp messages, read conversations and configure the bot.

Every business has tokens of its own (page `/`, heading *API Access*): `Authorization: Bearer <token>`.
Errors are `application/problem+json`; for 422 `errors` names the fields."""

_BODIES: tuple[type[Body], ...] = (
    SendRequest,
    ReminderRequest,
    ReminderChange,
    ConfigIn,
    ChatPatch,
    SlowLaneIn,
    ConnectionIn,
    HeldIn,
)
_ASSETS = Path(fastapi_offline.__file__).parent / "static"
_SHOWN = {"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"}
_REF = "#/components/schemas/{model}"


def _problem(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {"description": description, "content": content}


Responses = dict[int | str, dict[str, Any]]

ERRORS: Responses = {
    400: _problem("The request cannot be read"),
    401: _problem("No valid token"),
    404: _problem("There is no such thing in this business"),
    422: _problem("Something in the request must be changed; `errors` names the fields"),
}
BODY_ERRORS: Responses = {413: _problem("The body is too large"), 415: _problem("The body is not JSON")}
CONFLICT: Responses = {409: _problem("It contradicts what is there")}
GONE: Responses = {410: _problem("These events are no longer kept")}


def body_of(model: type[Body]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body by `json_body(model)`."""
    examples = model.model_config.get("json_schema_extra")
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    if isinstance(examples, dict):
        values: Any = examples.get("examples") or [examples.get("example")]
        content["examples"] = {f"example {number}": {"value": value} for number, value in enumerate(values, 1)}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def install(app: FastAPI) -> None:
    """Adds /openapi.json's missing schemas, the page /docs and its files."""
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    app.add_route("/docs", _show_docs, include_in_schema=False)
    app.add_route("/docs/{name}", _send_asset, include_in_schema=False)


def _describe(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        models: list[Any] = [(model, "validation") for model in _BODIES] + [(Problem, "serialization")]
        _, schemas = models_json_schema(models, ref_template=_REF)
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        app.openapi_schema = document
    return app.openapi_schema


async def _show_docs(request: Request) -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=str(request.app.title),
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/docs/favicon.png",
        swagger_ui_parameters={"persistAuthorization": True, "defaultModelsExpandDepth": -1},
    )


async def _send_asset(request: Request) -> FileResponse:
    name = request.path_params["name"]
    if name not in _SHOWN:
        raise HTTPException(404)
    return FileResponse(_ASSETS / name, headers={"Cache-Control": "public, max-age=86400"})
