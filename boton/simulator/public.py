"""The public endpoints: phones, businesses, ledger, faults (contract, section 5)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from boton.errors import Invalid
from boton.simulator import faults, phones
from boton.simulator.bodies import Fields, parse_count, refuse
from boton.simulator.faults import Faults, parse_faults
from boton.simulator.messages import Filed
from boton.simulator.requests import network_of, number_of, read_object

MAX_LISTED = 10_000
DESCRIPTIONS = {"audio": "[nota de voz]", "image": "[imagen]", "reaction": "[reacción] 👍"}
"""What a message that is not text says, where the customer gave no description."""

_MESSAGE = frozenset({"to", "text", "type"})


async def write_message(request: Request) -> Response:
    """A customer writes to a business."""
    number = number_of(request)
    fields = Fields(await read_object(request), _MESSAGE)
    business = _other(fields, number)
    type = _type(fields)
    text = fields.text("text") if type == "text" or fields.has("text") else DESCRIPTIONS[type]
    return _created(network_of(request).write_to_business(number, business, type, text))


async def show_customer_typing(request: Request) -> Response:
    """The customer is seen typing to a business."""
    number = number_of(request)
    network_of(request).write_slowly(number, _other(Fields(await read_object(request), frozenset({"to"})), number))
    return Response(status_code=204)


async def list_messages(request: Request) -> Response:
    """What the phone wrote and received, in its order; `limit`: only the newest."""
    number, network = number_of(request), network_of(request)
    limit = parse_count(request.query_params, "limit", MAX_LISTED, MAX_LISTED)
    messages = network.post.messages.list_of_phone(number, limit)
    return JSONResponse({"number": number, "messages": messages, "typing": network.is_typing_to(number)})


async def type_message(request: Request) -> Response:
    """Somebody types on the business's own phone."""
    business = number_of(request)
    fields = Fields(await read_object(request), frozenset({"to", "text"}))
    number = _other(fields, business)
    return _created(network_of(request).type_on_business_phone(business, number, fields.text("text")))


async def list_ledger(request: Request) -> Response:
    after = parse_count(request.query_params, "after", 0)
    limit = parse_count(request.query_params, "limit", 1000, MAX_LISTED)
    return JSONResponse({"deliveries": network_of(request).post.messages.list_deliveries(after, limit)})


async def list_phones(request: Request) -> Response:
    """Those last used first, each with its newest message."""
    network = network_of(request)
    limit = parse_count(request.query_params, "limit", 100, 500)
    listed = []
    for phone in network.post.phones.list_recent(limit):
        newest = network.post.messages.list_of_phone(phone.number, 1)
        listed.append({**phones.to_body(phone), "lastMessage": newest[0] if newest else None})
    return JSONResponse({"phones": listed})


async def show_phone(request: Request) -> Response:
    return JSONResponse(phones.to_body(network_of(request).post.phones.fetch(number_of(request))))


async def put_phone(request: Request) -> Response:
    """How the phone behaves: what is not named stays as it is."""
    number = number_of(request)
    return JSONResponse(phones.to_body(network_of(request).change_phone(number, await read_object(request))))


async def list_businesses(request: Request) -> Response:
    """Every business phone that a gateway ever opened, the first one first."""
    sessions = network_of(request).sessions.list_all(MAX_LISTED)
    return JSONResponse({"businesses": [{"phone": each.phone, "connected": each.open} for each in sessions]})


async def show_faults(request: Request) -> Response:
    return JSONResponse(faults.to_body(network_of(request).faults))


async def put_faults(request: Request) -> Response:
    """These faults and no others."""
    network_of(request).change_faults(parse_faults(await read_object(request)))
    return await show_faults(request)


async def delete_faults(request: Request) -> Response:
    network_of(request).change_faults(Faults())
    return Response(status_code=204)


def _other(fields: Fields, own: str) -> str:
    other = fields.number("to")
    if other == own:
        raise Invalid("to: a phone cannot write to itself", (("to", "a phone cannot write to itself"),))
    return other


def _type(fields: Fields) -> str:
    type = fields.text("type") if fields.has("type") else "text"
    if type != "text" and type not in DESCRIPTIONS:
        refuse("type", f"must be text, {', '.join(DESCRIPTIONS)}")
    return type


def _created(filed: Filed) -> Response:
    return JSONResponse({"id": filed.id}, 201)


ROUTES = [
    Route("/phones", list_phones),
    Route("/phones/{number}", show_phone),
    Route("/phones/{number}", put_phone, methods=["PUT"]),
    Route("/phones/{number}/messages", list_messages),
    Route("/phones/{number}/messages", write_message, methods=["POST"]),
    Route("/phones/{number}/typing", show_customer_typing, methods=["POST"]),
    Route("/businesses", list_businesses),
    Route("/businesses/{number}/messages", type_message, methods=["POST"]),
    Route("/ledger", list_ledger),
    Route("/faults", show_faults),
    Route("/faults", put_faults, methods=["PUT"]),
    Route("/faults", delete_faults, methods=["DELETE"]),
]
