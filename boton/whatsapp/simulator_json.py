"""The simulator's JSON as domain objects and errors of the port. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from boton.domain.gateway import GatewayEvent, Inbound, Outcome, Receipt, ReceiptKind, Sent, Typing, Unsettled
from boton.domain.jid import JID, PHONE_SERVER, parse_jid
from boton.domain.messages import MessageType
from boton.errors import (
    ConnectionAway,
    InvalidRecipient,
    NumberRefused,
    OutcomeUnknown,
    RecipientRefused,
    SendError,
    SessionReplaced,
)


def parse_events(body: Mapping[str, Any]) -> Sequence[GatewayEvent]:
    return [parse_event(event) for event in body["events"]]


def parse_event(event: Mapping[str, Any]) -> GatewayEvent:
    """One journalled event. Raises KeyError or ValueError for what the simulator never writes."""
    body = event["body"]
    return GatewayEvent(cursor=int(event["cursor"]), body=_PARSERS[body["kind"]](body))


def parse_inbound(body: Mapping[str, Any]) -> Inbound:
    return Inbound(
        whatsapp_id=body["id"],
        jid=_jid(body["phone"]),
        push_name=body["name"],
        from_me=body["fromMe"],
        type=MessageType(body["type"]),
        text=body["text"],
        at=_time(body["at"]),
    )


def parse_receipt(body: Mapping[str, Any]) -> Receipt:
    return Receipt(
        jid=_jid(body["phone"]),
        whatsapp_ids=tuple(body["ids"]),
        kind=ReceiptKind(body["receipt"]),
        at=_time(body["at"]),
    )


def parse_typing(body: Mapping[str, Any]) -> Typing:
    return Typing(jid=_jid(body["phone"]))


_PARSERS: Mapping[str, Callable[[Mapping[str, Any]], Inbound | Receipt | Typing]] = {
    "message": parse_inbound,
    "receipt": parse_receipt,
    "typing": parse_typing,
}


def parse_sent(body: Mapping[str, Any]) -> Sent:
    return Sent(whatsapp_id=body["id"], at=_time(body["at"]))


def parse_outcome(body: Mapping[str, Any]) -> Outcome:
    return parse_sent(body) if body["outcome"] == "sent" else Unsettled(body["outcome"])


def parse_registered(body: Mapping[str, Any]) -> bool:
    """Raises KeyError or ValueError for what the simulator never writes."""
    registered = body["registered"]
    if not isinstance(registered, bool):
        raise ValueError("registered must be true or false")
    return registered


def parse_refusal(body: Mapping[str, Any]) -> SendError | None:
    """The port's error that a problem document stands for; None where it is none of them."""
    detail = str(body.get("detail", ""))
    match body.get("code"):
        case ConnectionAway.code:
            return ConnectionAway(detail)
        case SessionReplaced.code:
            return SessionReplaced(detail)
        case OutcomeUnknown.code:
            return OutcomeUnknown(detail)
        case NumberRefused.code:
            return NumberRefused(int(body["reason"]), detail)
        case "not_on_whatsapp":
            return RecipientRefused("not_on_whatsapp", detail)
        case "invalid":
            return RecipientRefused("invalid", detail)
    return None


def to_number(jid: str) -> str:
    """The phone number of a JID. Raises RecipientRefused: the simulated network knows no other addresses."""
    try:
        phone = parse_jid(jid).phone
    except InvalidRecipient as error:
        raise RecipientRefused(error.code, error.detail) from error
    if phone is None:
        raise RecipientRefused("unknown_lid", "the simulator knows customers by phone number only")
    return phone


def _jid(number: str) -> str:
    return str(JID(number, PHONE_SERVER))


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
