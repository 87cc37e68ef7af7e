"""The endpoints of the gateway (boton/whatsapp/simulator.py): private, they change together with it.

Times are milliseconds since 1970. Refusals carry the `code` of the port's error.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from boton.simulator.bodies import MAX_INTEGER, Fields, parse_count, parse_seconds
from boton.simulator.requests import network_of, number_of, read_object

MAX_WAIT = 60.0
_MAX_ATTEMPT = 200


async def open_session(request: Request) -> Response:
    business = number_of(request)
    fields = Fields(await read_object(request), frozenset({"epoch"}))
    network_of(request).open_session(business, _epoch(fields))
    return Response(status_code=204)


async def close_session(request: Request) -> Response:
    network_of(request).close_session(number_of(request), parse_count(request.query_params, "epoch", 0))
    return Response(status_code=204)


async def list_events(request: Request) -> Response:
    """Waits up to `wait` seconds for the first event after the cursor `after`."""
    query = request.query_params
    epoch, after = parse_count(query, "epoch", 0), parse_count(query, "after", 0)
    wait = parse_seconds(query, "wait", MAX_WAIT)
    events = await network_of(request).read_events(number_of(request), epoch, after, wait)
    # The bodies are JSON already: they need not be parsed to be written again.
    listed = ",".join(f'{{"cursor":{cursor},"body":{body}}}' for cursor, body in events)
    return Response(f'{{"events":[{listed}]}}', media_type="application/json")


async def send_message(request: Request) -> Response:
    business = number_of(request)
    fields = Fields(await read_object(request), frozenset({"epoch", "attempt", "to", "text"}))
    attempt, to, text = fields.text("attempt", _MAX_ATTEMPT), fields.number("to"), fields.text("text")
    filed = await network_of(request).send(business, _epoch(fields), attempt, to, text)
    return JSONResponse({"id": filed.id, "at": filed.letter.at})


async def find_outcome(request: Request) -> Response:
    """`sent` with id and time, `not_sent` (barred from now on) or `unknown`."""
    business = number_of(request)
    fields = Fields(await read_object(request), frozenset({"epoch", "attempt"}))
    record = network_of(request).find_outcome(business, _epoch(fields), fields.text("attempt", _MAX_ATTEMPT))
    if record is None:
        return JSONResponse({"outcome": "unknown"})
    if record.barred:
        return JSONResponse({"outcome": "not_sent"})
    return JSONResponse({"outcome": "sent", "id": record.whatsapp_id, "at": record.at})


async def look_up(request: Request) -> Response:
    """Whether that number is on WhatsApp."""
    business = number_of(request)
    fields = Fields(await read_object(request), frozenset({"epoch", "number"}))
    registered = network_of(request).is_registered(business, _epoch(fields), fields.number("number"))
    return JSONResponse({"registered": registered})


async def show_typing(request: Request) -> Response:
    business = number_of(request)
    fields = Fields(await read_object(request), frozenset({"epoch", "to", "seconds"}))
    to, seconds = fields.number("to"), fields.seconds("seconds", MAX_WAIT)
    network_of(request).show_typing(business, _epoch(fields), to, seconds)
    return Response(status_code=204)


def _epoch(fields: Fields) -> int:
    return fields.integer("epoch", None, 0, MAX_INTEGER)


ROUTES = [
    Route("/gateway/{number}/session", open_session, methods=["PUT"]),
    Route("/gateway/{number}/session", close_session, methods=["DELETE"]),
    Route("/gateway/{number}/events", list_events),
    Route("/gateway/{number}/send", send_message, methods=["POST"]),
    Route("/gateway/{number}/outcome", find_outcome, methods=["POST"]),
    Route("/gateway/{number}/lookup", look_up, methods=["POST"]),
    Route("/gateway/{number}/typing", show_typing, methods=["POST"]),
]
