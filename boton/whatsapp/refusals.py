"""What WhatsApp's and the library's errors mean: one table. Pure.

The library hands errors over as sentences. Their words stay here: some of them hold a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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

_ANSWERED = re.compile(r"server returned error (\d+)")

_NOT_FOR_THIS_RECIPIENT = {404, 479}
"""Stale keys or a stale address: worth one more try with a fresh look-up, then permanent for the recipient."""

_PASSING = {400, 403}
"""Seen for a recipient for a while, then gone."""

_BEFORE_THE_WIRE: tuple[tuple[str, Callable[[], SendError]], ...] = (
    ("no lid found", lambda: RecipientRefused(NOT_ON_WHATSAPP, "There is no WhatsApp under this number.")),
    ("rate-overlimit", lambda: NumberRefused(429, "WhatsApp says that this number asks too much (429).")),
    ("websocket not connected", lambda: ConnectionAway("WhatsApp is not connected.")),
    ("not logged in", lambda: ConnectionAway("WhatsApp is not connected.")),
    ("client is nil", lambda: ConnectionAway("The library has stopped.")),
    ("doesn't contain a device jid", lambda: ConnectionAway("No phone is linked.")),
    ("failed to get device list", lambda: ConnectionAway("WhatsApp did not tell the recipient's devices.")),
    ("unknown user server", lambda: RecipientRefused("invalid", "WhatsApp knows no such address.")),
)
"""The attempt never reached the wire, and its call is over."""


def to_send_error(words: str) -> SendError:
    """What a failed send means. Whatever is not known is an unknown outcome."""
    words = words.lower()
    answered = _ANSWERED.search(words)
    if answered:
        return _to_answered(int(answered[1]))
    for part, make in _BEFORE_THE_WIRE:
        if part in words:
            return make()
    return OutcomeUnknown("WhatsApp did not confirm the message.")


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


def _to_answered(code: int) -> SendError:
    """WhatsApp's own answer: the message was not accepted."""
    if code in _NOT_FOR_THIS_RECIPIENT:
        return RecipientRefused(f"refused_{code}", f"WhatsApp does not accept this recipient ({code}).")
    if code in _PASSING or code >= 500:
        return RefusedForNow(f"WhatsApp did not take the message ({code}).")
    return NumberRefused(code, f"WhatsApp refused this number ({code}).")


# ---------------------------------------------------------------- the number itself

_LINK_AGAIN = "link the phone again (POST /api/v1/connection)."


@dataclass(frozen=True, slots=True)
class Loss:
    """The number cannot be held any more until somebody acts."""

    status: ConnectionStatus
    reason: str

    def to_error(self) -> NumberLost:
        return NumberLost(self.status, self.reason)


UNLINKED = Loss(ConnectionStatus.LOGGED_OUT, f"No phone is linked any more: {_LINK_AGAIN}")
REPLACED = Loss(
    ConnectionStatus.REPLACED,
    "The same linked device is in use elsewhere, which took the connection over twice: stop the other one (an old "
    "host, a restored backup), then connect again; or link the phone anew (POST /api/v1/connection).",
)
_OUTDATED = Loss(
    ConnectionStatus.OUTDATED,
    "WhatsApp does not accept this version of the library any more: install a newer version of BOTON, then connect "
    "again.",
)
_FAILED = Loss(
    ConnectionStatus.STOPPED,
    f"WhatsApp refuses the connection for a reason unknown here: look at the phone, then {_LINK_AGAIN}",
)


def read_loss(event: Any, now: datetime) -> Loss | None:
    """What an event of the library says about the number itself; None where it goes on, or comes back by itself."""
    match event.DESCRIPTOR.name:
        case "LoggedOut":
            return _LOGOUTS.get(_reason_name(event), UNLINKED)
        case "TemporaryBan":
            return _banned(now + timedelta(seconds=event.Expire) if event.Expire > 0 else None)
        case "ClientOutdated":
            return _OUTDATED
        case "ConnectFailure":
            return _FAILURES.get(_reason_name(event))
    return None


def _banned(until: datetime | None) -> Loss:
    end = "" if until is None else f" until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return Loss(
        ConnectionStatus.BANNED,
        f"WhatsApp has banned this number{end}: write less to people who do not know you, wait until the ban ends, "
        "then connect again.",
    )


def _reason_name(event: Any) -> str:
    return str(event.DESCRIPTOR.fields_by_name["Reason"].enum_type.values_by_number[event.Reason].name)


_LOGOUTS: Mapping[str, Loss] = {
    "MAIN_DEVICE_GONE": Loss(
        ConnectionStatus.BANNED,
        f"WhatsApp has locked the account (403): open WhatsApp on the phone, do what it asks for, then {_LINK_AGAIN}",
    ),
    "UNKNOWN_LOGOUT": Loss(
        ConnectionStatus.BANNED,
        f"WhatsApp has banned the account (406): ask for a review in the phone's WhatsApp, then {_LINK_AGAIN}",
    ),
    "LOGGED_OUT": Loss(
        ConnectionStatus.LOGGED_OUT, f"The device was removed on the phone, or WhatsApp logged it out: {_LINK_AGAIN}"
    ),
}
_FAILURES: Mapping[str, Loss] = {
    "LOGGED_OUT": _LOGOUTS["LOGGED_OUT"],
    "MAIN_DEVICE_GONE": _LOGOUTS["MAIN_DEVICE_GONE"],
    "UNKNOWN_LOGOUT": _LOGOUTS["UNKNOWN_LOGOUT"],
    "CLIENT_OUTDATED": _OUTDATED,
    "BAD_USER_AGENT": _OUTDATED,
    "TEMP_BANNED": _banned(None),
    "GENERIC": _FAILED,
}
"""What is missing here (500, 503, an experiment of theirs) passes."""
