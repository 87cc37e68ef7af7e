"""What linking a phone tells while it goes on, and how it ends. Light to import: no library behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from boton.errors import BotonError


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingStep:
    """What the owner of the phone is to be shown now: the QR code's content, or the pairing code (`QG4X-CMR2`).

    It replaces the step before. expires_at: when the next step comes or the pairing fails.
    """

    qr: str | None = None
    code: str | None = None
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The phone is linked. jid: of the new device (`5491138620812:7@s.whatsapp.net`); phone: digits only."""

    jid: str
    phone: str


class PairingFailed(BotonError):
    """The phone was not linked; `detail` says why and what to do. Trying again is safe."""

    code = "pairing_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
