"""The one file that imports neonize: a guarded client around a library that can take its process down.

Import it late, and only where a number is driven: it costs half a second and 60 MB. Importing it raises GatewayAbsent,
with what to install, where the library cannot be loaded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.pairing import Paired, PairingFailed, PairingStep

__all__ = ["Paired", "PairingFailed", "PairingStep", "pair"]


async def pair(
    store: DeviceStore,
    connection_id: str,
    *,
    phone: str | None,
    tell: Callable[[PairingStep], Awaitable[None]],
    deadline: float,
) -> Paired:
    """Links a phone to a new device, which is the connection's when this returns (`store.find_device`).

    phone: digits only; given, a pairing code is asked for, else QR codes are told. tell: is awaited with every new step.
    deadline: seconds until it gives up (WhatsApp's own codes end after 160). Raises PairingFailed.

    Only in a process that does nothing else, and ends by `os._exit`: the library cannot stop before a phone is linked,
    and keeps the interpreter from ending. Ending it at any time is safe.
    """
    raise NotImplementedError
