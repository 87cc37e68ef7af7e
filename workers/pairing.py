"""Links one phone, and ends: a process to be thrown away.

    python -m workers.pairing <connection id>

The library under it cannot stop before a phone is linked, and may take its process down. What the phone is to be shown,
and what came of it, is told to the store alone. A request that was changed or withdrawn meanwhile ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from boton.clock import utc_now
from boton.domain.linking import AGAIN, LinkMethod, Pairing
from boton.errors import GatewayAbsent, NotFound, StaleEpoch
from boton.leaving import run_and_leave
from boton.ports import PairingStore
from boton.settings import Settings, read_settings
from boton.store.engine import open_database
from boton.store.pairing import SqlPairingStore
from boton.telemetry import configure_logging
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.pairing import Paired, PairingFailed, PairingStep
from workers.unlinking import take_off

log = logging.getLogger(__name__)

DEADLINE = 170.0
"""Seconds: WhatsApp's own QR codes end after 160."""

_SPARE = 10.0
_LOOK_SECONDS = 1.0
_AFTER_SCAN = 40.0
"""Seconds for what follows once the phone has taken the link: also, to take it off again."""

_TRIES = 30
_PAUSE = 1.0


class Pair(Protocol):
    """Links a phone to a new device, which is the connection's when it returns. Raises PairingFailed."""

    async def __call__(
        self,
        store: DeviceStore,
        connection_id: str,
        *,
        phone: str | None,
        tell: Callable[[PairingStep], Awaitable[None]],
        deadline: float,
    ) -> Paired: ...


def main() -> None:
    """The process's entry point."""
    configure_logging("pairing")
    connection_id = sys.argv[1]
    run_and_leave(run(read_settings(), connection_id, load_pair), connection_id)


def load_pair() -> Pair:
    """Raises GatewayAbsent where the library cannot be loaded."""
    from boton.whatsapp.neonize_pairing import pair

    return pair


async def run(settings: Settings, connection_id: str, load: Callable[[], Pair]) -> int:
    """Links the phone that the store says is to be linked. Answers the exit code."""
    database = open_database(settings.store_url)
    devices = DeviceStore(settings.data_dir, settings.store_url)
    try:
        await link_phone(SqlPairingStore(database), devices, connection_id, load)
        return 0
    finally:
        await database.close()


async def link_phone(
    store: PairingStore, devices: DeviceStore, connection_id: str, load: Callable[[], Pair], deadline: float = DEADLINE
) -> None:
    """Until the phone is linked, the time is over, or nobody wants it any more; the store is told which."""
    try:
        epoch, wanted = await store.begin_pairing(connection_id)
    except NotFound:
        return
    scanned = asyncio.Event()
    watching = asyncio.create_task(_watch(store, connection_id, epoch))
    linking = asyncio.create_task(_link(store, devices, connection_id, epoch, wanted, load, deadline, scanned))
    try:
        done, _ = await asyncio.wait(
            {watching, linking}, timeout=deadline + _SPARE, return_when=asyncio.FIRST_COMPLETED
        )
        if linking not in done and scanned.is_set():
            done, _ = await asyncio.wait({linking}, timeout=_AFTER_SCAN)
        if linking in done:
            linking.result()
        elif not watching.done():
            await store.fail_pairing(connection_id, epoch, f"WhatsApp did not answer. {AGAIN}", utc_now())
    except StaleEpoch:
        log.info("the phone is not to be linked any more", extra={"connection": connection_id})
    finally:
        watching.cancel()
        linking.cancel()


async def _watch(store: PairingStore, connection_id: str, epoch: int) -> None:
    """Ends once the request was changed or withdrawn."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            await store.check_epoch(connection_id, epoch)
        except StaleEpoch:
            return
        except Exception as error:  # noqa: BLE001 - the store may be away for a moment
            log.warning("pairing not looked at", extra={"connection": connection_id, "reason": type(error).__name__})


async def _link(
    store: PairingStore,
    devices: DeviceStore,
    connection_id: str,
    epoch: int,
    wanted: Pairing,
    load: Callable[[], Pair],
    deadline: float,
    scanned: asyncio.Event,
) -> None:
    async def tell(step: PairingStep) -> None:
        telling = store.record_step(
            connection_id, epoch, qr=step.qr, code=step.code, expires_at=step.expires_at, now=utc_now()
        )
        if not step.scanned:
            await telling
            return
        scanned.set()
        with contextlib.suppress(StaleEpoch, SQLAlchemyError):  # linked all the same
            await telling

    try:
        phone = await asyncio.to_thread(_find_linked, devices, connection_id, wanted)
        if phone is None:
            named = wanted.phone if wanted.method is LinkMethod.CODE else None
            phone = (await load()(devices, connection_id, phone=named, tell=tell, deadline=deadline)).phone
    except (PairingFailed, GatewayAbsent) as failed:
        await store.fail_pairing(connection_id, epoch, failed.detail, utc_now())
        return
    taken = False
    try:
        taken = await _finish(store, connection_id, epoch, phone) is None
    finally:
        if not taken:  # it is not the wanted one, or nobody wants it any more
            await take_off(devices, connection_id, epoch, _SPARE)


def _find_linked(devices: DeviceStore, connection_id: str, wanted: Pairing) -> str | None:
    """The phone that an earlier process has linked for this request, and could not tell of before it died."""
    device = devices.find_device(connection_id)
    return device.phone if device is not None and device.linked_at > wanted.asked_at else None


async def _finish(store: PairingStore, connection_id: str, epoch: int, phone: str) -> str | None:
    """Why the phone is not taken. It has the link already: a store that is away is asked again for a while."""
    for left in reversed(range(_TRIES)):
        try:
            return await store.finish_pairing(connection_id, epoch, phone, utc_now())
        except SQLAlchemyError as error:
            log.warning("pairing not stored", extra={"connection": connection_id, "reason": type(error).__name__})
            if not left:
                raise
        await asyncio.sleep(_PAUSE)
    return None


if __name__ == "__main__":
    main()
