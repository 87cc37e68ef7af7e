"""What WhatsApp's and the library's errors mean: one table, by class. Pure.

The library hands errors over as sentences. Their words stay here: some of them hold a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from boton.domain.connections import ConnectionStatus
from boton.errors import (
    ConnectionAway,
    NumberLost,
    NumberRefused,
    OutcomeUnknown,
    RecipientRefused,
    RefusedForNow,
    SendError,
)

NOT_ON_WHATSAPP = "not_on_whatsapp"


class Kind(StrEnum):
    """What an error asks for."""

    RECIPIENT = "permanent for the recipient"  # the message fails
    NUMBER = "permanent for the number"  # nobody holds it until a person has acted; a ban closes the slow lane, too
    PAUSE = "pause until"  # the slow lane closes until then; a ban also lets nobody connect
    TRANSIENT = "transient"  # it is tried again


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table. code: ours for a recipient's, WhatsApp's number for what closes the slow lane. status: how
    the number stands from then on; None: it goes on.
    """

    kind: Kind
    detail: str
    code: str = ""
    status: ConnectionStatus | None = None


_LINK_AGAIN = "link the phone again (POST /api/v1/connection)."
_AWAY = Meaning(Kind.TRANSIENT, "WhatsApp is not connected.")
_STALE = "WhatsApp does not accept this recipient ({code})."
_NOT_TAKEN = "WhatsApp did not take the message ({code})."
_REFUSED = "WhatsApp refused this number ({code})."

_UNLINKED = Meaning(Kind.NUMBER, f"No phone is linked any more: {_LINK_AGAIN}", status=ConnectionStatus.LOGGED_OUT)
_OTHER_PHONE = Meaning(
    Kind.NUMBER,
    f"The device that is linked here belongs to another phone, and is not used: {_LINK_AGAIN}",
    status=ConnectionStatus.LOGGED_OUT,
)
_REMOVED = Meaning(
    Kind.NUMBER,
    f"The device was removed on the phone, or WhatsApp logged it out: {_LINK_AGAIN}",
    status=ConnectionStatus.LOGGED_OUT,
)
_LOCKED = Meaning(
    Kind.NUMBER,
    f"WhatsApp has locked the account (403): open WhatsApp on the phone, do what it asks for, then {_LINK_AGAIN}",
    code="403",
    status=ConnectionStatus.BANNED,
)
_BANNED = Meaning(
    Kind.NUMBER,
    f"WhatsApp has banned the account (406): ask for a review in the phone's WhatsApp, then {_LINK_AGAIN}",
    code="406",
    status=ConnectionStatus.BANNED,
)
_OUTDATED = Meaning(
    Kind.NUMBER,
    "WhatsApp does not accept this version of the library any more: install a newer version of BOTON, then connect "
    "again.",
    status=ConnectionStatus.OUTDATED,
)
_REPLACED = Meaning(
    Kind.NUMBER,
    "The same linked device is in use elsewhere, which took the connection over twice: stop the other one (an old "
    "host, a restored backup), then connect again; or link the phone anew (POST /api/v1/connection).",
    status=ConnectionStatus.REPLACED,
)
_FAILED = Meaning(
    Kind.NUMBER,
    f"WhatsApp refuses the connection for a reason unknown here: look at the phone, then {_LINK_AGAIN}",
    status=ConnectionStatus.STOPPED,
)


def _ban(code: str, why: str = "") -> Meaning:
    because = f", because {why}" if why else ""
    detail = (
        f"WhatsApp has banned this number ({code}) {{until}}{because}: write less to people who do not know you, wait "
        "until the ban ends, then connect again (POST /api/v1/connection)."
    )
    return Meaning(Kind.PAUSE, detail, code, ConnectionStatus.BANNED)


_ANSWERS: Mapping[int, Meaning] = {
    400: Meaning(Kind.TRANSIENT, _NOT_TAKEN),  # seen for a recipient for a while, then gone; so is 403
    403: Meaning(Kind.TRANSIENT, _NOT_TAKEN),
    404: Meaning(Kind.RECIPIENT, _STALE, "refused_404"),  # stale keys or a stale address; so is 479
    479: Meaning(Kind.RECIPIENT, _STALE, "refused_479"),
    429: Meaning(Kind.PAUSE, _REFUSED, "429"),
    463: Meaning(Kind.PAUSE, _REFUSED, "463"),
}
"""WhatsApp's own answer to a send, by its number: the message was not accepted."""

_BEFORE_THE_WIRE: Mapping[str, Meaning] = {
    "no lid found": Meaning(Kind.RECIPIENT, "There is no WhatsApp under this number.", NOT_ON_WHATSAPP),
    "unknown user server": Meaning(Kind.RECIPIENT, "WhatsApp knows no such address.", "invalid"),
    "rate-overlimit": Meaning(Kind.PAUSE, "WhatsApp says that this number asks too much (429).", "429"),
    "websocket not connected": _AWAY,
    "not logged in": _AWAY,
    "client is nil": Meaning(Kind.TRANSIENT, "The library has stopped."),
    "doesn't contain a device jid": Meaning(Kind.TRANSIENT, "No phone is linked."),
    "failed to get device list": Meaning(Kind.TRANSIENT, "WhatsApp did not tell the recipient's devices."),
}
"""A failed send, by the library's words: the attempt never reached the wire, and its call is over."""

_EVENTS: Mapping[str, Meaning] = {
    "LoggedOut": _UNLINKED,
    "LoggedOut LOGGED_OUT": _REMOVED,
    "LoggedOut MAIN_DEVICE_GONE": _LOCKED,
    "LoggedOut UNKNOWN_LOGOUT": _BANNED,
    "ClientOutdated": _OUTDATED,
    "ConnectFailure LOGGED_OUT": _REMOVED,
    "ConnectFailure MAIN_DEVICE_GONE": _LOCKED,
    "ConnectFailure UNKNOWN_LOGOUT": _BANNED,
    "ConnectFailure CLIENT_OUTDATED": _OUTDATED,
    "ConnectFailure BAD_USER_AGENT": _OUTDATED,
    "ConnectFailure GENERIC": _FAILED,
    "ConnectFailure TEMP_BANNED": _ban("402"),
    "TemporaryBan SEND_TO_TOO_MANY_PEOPLE": _ban("101", "it wrote to too many people who do not have it as a contact"),
    "TemporaryBan BLOCKED_BY_USERS": _ban("102", "too many people blocked it"),
    "TemporaryBan CREATED_TOO_MANY_GROUPS": _ban("103", "it made too many groups with people who do not know it"),
    "TemporaryBan SENT_TOO_MANY_SAME_MESSAGE": _ban("104", "it sent the same message to too many people"),
    "TemporaryBan BROADCAST_LIST": _ban("106", "it sent too much to a broadcast list"),
}
"""What an event says of the number itself, by its name and its reason. Every other failure to connect (500, 503, an
experiment of theirs) is transient: the library or the link tries again.
"""


# ---------------------------------------------------------------- a send that failed

_ANSWERED = re.compile(r"server returned error (\d+)")


def to_send_error(words: str) -> SendError:
    """What a failed send means. Whatever is not known is an unknown outcome."""
    words = words.lower()
    answered = _ANSWERED.search(words)
    if answered:
        return _to_error(_read_answer(int(answered[1])), answered[1])
    for part, meaning in _BEFORE_THE_WIRE.items():
        if part in words:
            return _to_error(meaning)
    return OutcomeUnknown("WhatsApp did not confirm the message.")


def _read_answer(code: int) -> Meaning:
    """An unknown one of the server's own faults passes; any other may be meant for the number."""
    unknown = Meaning(Kind.TRANSIENT, _NOT_TAKEN) if code >= 500 else Meaning(Kind.PAUSE, _REFUSED, str(code))
    return _ANSWERS.get(code, unknown)


def _to_error(meaning: Meaning, answer: str | None = None) -> SendError:
    """answer: WhatsApp's number; None: the attempt did not get that far."""
    detail = meaning.detail.format(code=answer)
    match meaning.kind:
        case Kind.RECIPIENT:
            return RecipientRefused(meaning.code, detail)
        case Kind.PAUSE:
            return NumberRefused(int(meaning.code), detail)
    return ConnectionAway(detail) if answer is None else RefusedForNow(detail)


_FROM_WHATSAPP = re.compile(r"server returned error \d|info query returned (status|unknown)")


def is_answer(words: str) -> bool:
    """Whether WhatsApp itself said so: whoever is refused is connected."""
    return _FROM_WHATSAPP.search(words.lower()) is not None


def may_hide_a_send(words: str) -> bool:
    """Whether the library also says so after the message was on the wire: where it was cut off, and the library wrote
    it once more to a connection that was not there yet.
    """
    words = words.lower()
    return "websocket not connected" in words and "failed to get device list" not in words


def deserves_fresh_address(error: SendError, known: str | None) -> bool:
    """known: what an earlier look-up found. Without one, the number may only be written in another way."""
    if not isinstance(error, RecipientRefused):
        return False
    return error.code.startswith("refused_") or (error.code == NOT_ON_WHATSAPP and known is None)


# ---------------------------------------------------------------- the number itself


@dataclass(frozen=True, slots=True)
class Loss:
    """The number cannot be held any more until somebody acts. ban: what closes the slow lane beside that."""

    status: ConnectionStatus
    reason: str
    ban: NumberRefused | None = None

    def to_error(self) -> NumberLost:
        return NumberLost(self.status, self.reason, self.ban)


def read_loss(event: Any, now: datetime) -> Loss | None:
    """What an event of the library says about the number itself; None where it goes on, or comes back by itself."""
    name = event.DESCRIPTOR.name
    meaning = _EVENTS.get(f"{name} {_reason_name(event)}") or _EVENTS.get(name)
    if meaning is None:
        return None
    lasts = event.Expire if name == "TemporaryBan" else 0
    return _to_loss(meaning, now + timedelta(seconds=lasts) if lasts > 0 else None)


def _to_loss(meaning: Meaning, until: datetime | None = None) -> Loss:
    assert meaning.status is not None
    end = "for a time that it does not tell" if until is None else f"until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    reason = meaning.detail.format(until=end)
    ban = NumberRefused(int(meaning.code), reason, until) if meaning.code else None
    return Loss(meaning.status, reason, ban)


def _reason_name(event: Any) -> str:
    field = event.DESCRIPTOR.fields_by_name.get("Reason") or event.DESCRIPTOR.fields_by_name.get("Code")
    if field is None or field.enum_type is None:
        return ""
    return str(field.enum_type.values_by_number[getattr(event, field.name)].name)


UNLINKED = _to_loss(_UNLINKED)
OTHER_PHONE = _to_loss(_OTHER_PHONE)
REPLACED = _to_loss(_REPLACED)
