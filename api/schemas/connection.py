"""The business's number: /connection, and what is held when it changes: /held."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from api.schemas.base import Body, Document, Listing, Timestamp, to_paging
from api.schemas.status import ConnectionState
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.holds import Held, HeldKind
from boton.domain.linking import LinkMethod, Pairing
from boton.ports import Page


class ConnectionOut(ConnectionState):
    """The business's number. `qr` (text; as pictures /connection/qr.png and /connection/qr.svg), `pairingCode` and
    `expiresAt` are there while a phone is being linked: ask again until then, they change.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "status": "linking",
                "reason": "On the phone: WhatsApp, Linked devices, Link a device; scan the QR code.",
                "phone": None,
                "gateway": "whatsapp",
                "qr": "https://wa.me/settings/linked_devices#2@…",
                "pairingCode": None,
                "expiresAt": "2026-11-21T18:04:05.000Z",
            }
        }
    )

    phone: str | None = None
    gateway: Gateway | None = None
    qr: str | None = None
    pairing_code: str | None = None
    expires_at: Timestamp | None = None

    @classmethod
    def at(cls, connection: Connection | None, pairing: Pairing | None, now: datetime) -> ConnectionOut:
        """How the number stands at `now`."""
        state = ConnectionState.of(connection)
        if connection is None:
            return cls(status=state.status, reason=state.reason)
        if pairing is None or connection.status is not ConnectionStatus.LINKING:
            pairing = None
        phone = connection.phone or (pairing.phone if pairing else None)
        reason = pairing.next_step(now) if pairing else state.reason
        shown: dict[str, Any] = {}
        if pairing is not None and pairing.shown(now):
            shown = {"qr": pairing.qr, "pairing_code": pairing.code, "expires_at": pairing.expires_at}
        return cls(status=state.status, reason=reason, phone=phone, gateway=connection.gateway, **shown)


class ConnectionIn(Body):
    """Links a phone, or goes to another number. `code`: WhatsApp shows it on the phone of that number."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"gateway": "whatsapp", "method": "qr"},
                {"gateway": "whatsapp", "method": "code", "phone": "5491138620812"},
                {"gateway": "simulator", "phone": "5491138620812"},
            ]
        }
    )

    gateway: Gateway = Field(strict=False)
    method: LinkMethod = Field(LinkMethod.QR, strict=False)
    phone: str | int | None = Field(
        None, description="with country code; required for `code`", union_mode="left_to_right"
    )


class HeldOut(Document):
    """Work that goes on only when it is told to. `reason`: `switched` (the business has gone to another number) or
    `restored`. `messages`: how many wait with it.
    """

    kind: HeldKind
    id: str
    reason: str
    since: Timestamp
    messages: int

    @classmethod
    def of(cls, held: Held) -> HeldOut:
        return cls(kind=held.kind, id=held.id, reason=held.reason, since=held.since, messages=held.messages)


class HeldList(Listing):
    """Sends, reminders, chats, each oldest first."""

    held: list[HeldOut]

    @classmethod
    def of(cls, held: Sequence[Held], total: int, page: Page) -> HeldList:
        return cls(held=[HeldOut.of(one) for one in held], **to_paging(page, total))


class HeldIn(Body):
    """Of what is held: `ids` as GET /held gives them; without them, all of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"ids": ["snd_01M8…"]}]})

    ids: list[str] | None = Field(None, min_length=1, max_length=10_000)
