"""Linking a phone: what was asked for, what the phone is to be shown, and what its workflow does next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from boton.domain.connections import NEEDS_A_PERSON, Connection, ConnectionStatus, Gateway
from boton.domain.jid import JID, PHONE_SERVER, spellings

MOST_TRIES = 3
"""Starts of the pairing process for one request: the library under it can take its process down."""

_UNATTENDED = timedelta(seconds=20)

_ON_THE_PHONE = "On the phone: WhatsApp, Linked devices, Link a device"
_TAKEN = "The phone has taken the link and hands over its newest chats; it takes up to half a minute."
AGAIN = "Ask for a new one (POST /api/v1/connection, or the page at /)."


class LinkMethod(StrEnum):
    QR = "qr"
    CODE = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRequest:
    """phone: the number that is to be linked, digits only; None: whichever phone scans the QR code."""

    gateway: Gateway
    phone: str | None = None
    method: LinkMethod = LinkMethod.QR


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A phone that is being linked. tries: starts of the pairing process. qr, code: what the phone is to be shown or
    told now, until `expires_at`; neither of them until then: the phone has taken the link.
    """

    method: LinkMethod
    phone: str | None
    asked_at: datetime
    tries: int = 0
    qr: str | None = None
    code: str | None = None
    expires_at: datetime | None = None

    def shown(self, now: datetime) -> bool:
        """Whether there is something that the phone can be shown now."""
        return self._lives(now) and (self.qr or self.code) is not None

    def next_step(self, now: datetime) -> str:
        """What is to be done now, in plain words."""
        if not self._lives(now):
            return _wait(self, now)
        if self.code is not None:
            return f"{_ON_THE_PHONE}, Link with phone number; type the pairing code."
        if self.qr is not None:
            return f"{_ON_THE_PHONE}; scan the QR code."
        return _TAKEN

    def _lives(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at > now


def _wait(pairing: Pairing, now: datetime) -> str:
    waiting_since = pairing.expires_at or (pairing.asked_at if pairing.tries == 0 else now)
    if now - waiting_since > _UNATTENDED:
        return "No process attends to this: is `boton connections` running?"
    return "WhatsApp is being asked for a code; it takes a few seconds."


class Next(StrEnum):
    """What the workflow of a connection does next."""

    PAIR = "pair"
    HOLD = "hold"
    WAIT = "wait"
    UNLINK = "unlink"
    DONE = "done"


def next_of(connection: Connection) -> Next:
    """By what the store says of the connection."""
    if not connection.active:
        return Next.DONE
    if connection.status is ConnectionStatus.LINKING:
        return Next.PAIR
    return Next.WAIT if connection.status in NEEDS_A_PERSON else Next.HOLD


def is_same_phone(one: str, other: str) -> bool:
    """Argentina's and Mexico's mobile numbers have two spellings."""
    return JID(other, PHONE_SERVER) in spellings(JID(one, PHONE_SERVER))


def why_not_linked(pairing: Pairing | None) -> str | None:
    """Why there is no use in starting the pairing process (again); None: there is."""
    if pairing is None:
        return f"The linking was interrupted. {AGAIN}"
    if pairing.tries >= MOST_TRIES:
        return f"The pairing process ended {MOST_TRIES} times without a result; its log says why. {AGAIN}"
    return None
