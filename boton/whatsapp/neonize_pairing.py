"""Links a phone to a new device."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.intake import take_in
from boton.whatsapp.journal import Journal
from boton.whatsapp.neonize_library import LibraryError, migrate, new_raw, parse_event, stop_raw, words
from boton.whatsapp.pairing import Paired, Pairing, PairingFailed, PairingStep, read_paired

_HISTORY_SECONDS = 15.0
"""In which the phone begins to hand over its chats. A part that is on its way when the library stops is lost: it is
acknowledged already. The next ones wait for the link.
"""


async def pair(
    store: DeviceStore,
    connection_id: str,
    *,
    phone: str | None,
    tell: Callable[[PairingStep], Awaitable[None]],
    deadline: float,
) -> Paired:
    """Links a phone to a new device, which is the connection's when this returns (`store.find_device`).

    phone: digits only; given, a pairing code is asked for, else QR codes are told. tell: is awaited with each new step.
    deadline: seconds until it gives up (WhatsApp's own codes end after 160). Raises PairingFailed.

    Only in a process that does nothing else, and ends by `os._exit`: the library cannot stop before a phone is linked,
    and keeps the interpreter from ending. Ending it at any time is safe.
    """
    await asyncio.to_thread(migrate, store, connection_id)
    loop = asyncio.get_running_loop()
    pairing = Pairing(phone, tell, deadline)

    journal = Journal(store.engine(connection_id), connection_id)

    def on_event(code: int, payload: bytes) -> None:
        event = take_in(journal, code, payload, parse_event).event  # a history, or somebody who writes: the link's
        if event is None:
            return
        try:
            if (linked := read_paired(event)) is not None:  # before all else: the phone has the device from now on
                store.assign(connection_id, linked.jid)
        finally:
            loop.call_soon_threadsafe(pairing.hear, event)

    raw = new_raw(store.library_name(connection_id), on_event)
    raw.new_device = True
    raw.qr(lambda _, data: pairing.show_qr(data.decode(), lambda number: _ask_code(raw, number)))
    paired = await pairing.wait(await raw.connect())
    await pairing.hear_history(_HISTORY_SECONDS)
    await stop_raw(raw)
    if await asyncio.to_thread(store.find_device, connection_id) is None:
        raise PairingFailed("The linked device is not in the library's database; take it off the phone and try again.")
    return paired


async def _ask_code(raw: Any, phone: str) -> str:
    try:
        return str(await raw.PairPhone(phone, True, client_type=words.ClientType.CHROME))
    except LibraryError:
        raise PairingFailed("WhatsApp gave no pairing code: check the number, or link by QR code.") from None
