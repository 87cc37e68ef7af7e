"""Which WhatsApp numbers lack their linked device on this machine, as after a restore elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from boton.cli.administration import with_store
from boton.domain.connections import Connection, Gateway
from boton.settings import Settings
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database
from boton.whatsapp.device_store import DeviceStore


def find_without_device() -> Sequence[Connection]:
    """Numbers that the store takes for linked. Raises StoreTooNew or StoreNotMigrated."""

    async def work(database: Database, settings: Settings) -> Sequence[Connection]:
        linked = [one for one in await SqlConnectionStore(database).list_active_connections() if _is_linked(one)]
        return await asyncio.to_thread(_without_device, linked, DeviceStore(settings.data_dir, settings.store_url))

    return with_store(work)


def how_to_link(connections: Sequence[Connection]) -> str:
    """What to do about them."""
    commands = ", ".join(f"`boton link {one.business_id}`" for one in connections)
    return f"WhatsApp numbers without their linked device here: {len(connections)}. Link them again: {commands}"


def _is_linked(connection: Connection) -> bool:
    return connection.gateway is Gateway.WHATSAPP and connection.linked_at is not None


def _without_device(linked: Sequence[Connection], devices: DeviceStore) -> list[Connection]:
    try:
        return [one for one in linked if devices.find_device(one.id) is None]
    finally:
        devices.close()
