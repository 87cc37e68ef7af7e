"""Which number a business has, and how its phone is linked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from boton.domain.connections import Connection
from boton.domain.linking import LinkRequest, Next, Pairing
from boton.ports.idempotency import IdempotencyKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """What is answered. changed: the connections whose workflows are to look; none when all is well as it was, or the
    request was answered before. connection_id: the business's; empty where it was answered before.
    """

    answer: dict[str, Any]
    changed: tuple[Connection, ...] = ()
    connection_id: str = ""


class LinkingStore(Protocol):
    async def link(
        self,
        business_id: str,
        wanted: LinkRequest,
        now: datetime,
        to_answer: Callable[[Connection, Pairing | None], dict[str, Any]],
        *,
        idempotency: IdempotencyKey | None = None,
    ) -> Linked:
        """Makes the wanted number the business's: a phone that is not linked is to be linked, one that has stopped goes
        on, the business's other number is given up, and what was queued for it is held. Changes nothing for a number
        that is well.

        Raises NotFound, Conflict when the phone belongs to another active connection, Invalid when one must be named.
        """

    async def find_answer(self, business_id: str, idempotency: IdempotencyKey) -> dict[str, Any] | None:
        """What was answered to this key before; None when it is new. Raises Invalid when the body was another."""

    async def log_out(self, business_id: str, now: datetime) -> Connection | None:
        """The business has no number from now on; what was queued for it is held. The one it had."""

    async def fetch_pairing(self, connection_id: str) -> Pairing | None:
        """How far linking its phone is; None when none is being linked."""


class PairingStore(Protocol):
    """Of the pairing process; all but `begin_pairing` raise StaleEpoch once the request was changed or withdrawn."""

    async def begin_pairing(self, connection_id: str) -> tuple[int, Pairing]:
        """The epoch of this start, which ends those before, and what is wanted. Raises NotFound."""

    async def check_epoch(self, connection_id: str, epoch: int) -> None: ...

    async def record_step(
        self, connection_id: str, epoch: int, *, qr: str | None, code: str | None, expires_at: datetime, now: datetime
    ) -> None:
        """What the phone is to be shown from now on; neither qr nor code: it has taken the link."""

    async def finish_pairing(self, connection_id: str, epoch: int, phone: str, now: datetime) -> str | None:
        """A phone was linked: the number is to be connected. Why not, when it is not the one that was wanted, or
        another connection has it: the linking has failed then.
        """

    async def fail_pairing(self, connection_id: str, epoch: int, reason: str, now: datetime) -> None: ...


class UnlinkingStore(Protocol):
    async def begin_unlinking(self, connection_id: str) -> int:
        """The epoch of this start. Raises NotFound where no phone is to forget a device, or not any more."""

    async def finish_unlinking(self, connection_id: str, now: datetime, *, told: bool) -> None:
        """told: the phone has forgotten it; else nothing can be done about it here. Changes nothing where the number
        was linked again meanwhile.
        """


class ConnectionSteps(Protocol):
    async def advance_connection(self, connection_id: str, now: datetime) -> tuple[Next, Connection]:
        """What its workflow does next, and how it stands. Raises NotFound."""
