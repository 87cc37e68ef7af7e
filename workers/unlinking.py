"""Takes the device of a number that was logged out off its phone, and ends: a process to be thrown away.

    python -m workers.unlinking <connection id>

For what the number's link could not do any more: none was running, or WhatsApp was out of reach. It ends with 0 once
there is nothing more to be done, with 1 where it is worth another try later.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from boton.clock import utc_now
from boton.domain.connections import ConnectionStatus
from boton.errors import BotonError, NotFound, NumberLost
from boton.leaving import run_and_leave
from boton.ports import UnlinkingStore
from boton.settings import Settings, read_settings
from boton.store.engine import open_database
from boton.store.linking import SqlLinkingStore
from boton.telemetry import configure_logging
from boton.whatsapp.device_store import DeviceStore

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 45.0


def main() -> None:
    """The process's entry point."""
    configure_logging("unlinking")
    connection_id = sys.argv[1]
    run_and_leave(run(read_settings(), connection_id), connection_id)


async def run(settings: Settings, connection_id: str) -> int:
    """Answers the exit code."""
    database = open_database(settings.store_url)
    devices = DeviceStore(settings.data_dir, settings.store_url)
    try:
        return 0 if await unlink(SqlLinkingStore(database), devices, connection_id) else 1
    finally:
        await database.close()


async def unlink(store: UnlinkingStore, devices: DeviceStore, connection_id: str) -> bool:
    """Whether there is nothing more to be done; the store is told what was."""
    try:
        epoch = await store.begin_unlinking(connection_id)
    except NotFound:
        return True
    here = await asyncio.to_thread(devices.find_device, connection_id) is not None
    if here and not await take_off(devices, connection_id, epoch, _CONNECT_SECONDS):
        return False
    await store.finish_unlinking(connection_id, utc_now(), told=here)
    return True


async def take_off(devices: DeviceStore, connection_id: str, epoch: int, seconds: float) -> bool:
    """The phone forgets the device, unless it has already; whether it has."""
    from boton.whatsapp.neonize_gateway import NeonizeGateway

    gateway, gone = NeonizeGateway(devices, connection_id), False
    try:
        await asyncio.wait_for(gateway.open(epoch), seconds)
    except NumberLost as lost:
        gone = lost.status is ConnectionStatus.LOGGED_OUT
    except (BotonError, TimeoutError) as error:
        log.warning("device not taken off", extra={"connection": connection_id, "reason": type(error).__name__})
    return await gateway.log_out() or gone


if __name__ == "__main__":
    main()
