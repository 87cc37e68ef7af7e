"""Connections: who owns a phone number, and how it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from boton.domain.connections import Connection, ConnectionStatus, Gateway


class ConnectionStore(Protocol):
    async def create_connection(self, business_id: str, gateway: Gateway, phone: str, now: datetime) -> Connection:
        """Raises Conflict when the phone belongs to another active connection of the same gateway."""

    async def fetch_connection(self, connection_id: str) -> Connection:
        """Raises NotFound."""

    async def fetch_active_connection(self, business_id: str) -> Connection | None: ...
    async def open_slow_lane(self, business_id: str, now: datetime) -> Connection:
        """Ends a closure of the slow lane; changes nothing when it is open. Raises Conflict without a connection."""

    async def list_active_connections(self) -> Sequence[Connection]: ...
    async def raise_epoch(self, connection_id: str, now: datetime) -> int:
        """The new epoch: every start of a link calls this first."""

    async def record_status(
        self, connection_id: str, epoch: int, status: ConnectionStatus, reason: str | None, now: datetime
    ) -> None:
        """Also when nothing changed: `status_at` says how fresh it is. Writes `connection.changed` where it did.

        Raises StaleEpoch.
        """
