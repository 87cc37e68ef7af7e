"""Whether WhatsApp can be reached at all. Asked first: the library leaks a database handle with each connect."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

_WHATSAPP = ("web.whatsapp.com", 443)
_SECONDS = 10.0


async def is_reachable() -> bool:
    """Whether somebody listens there, or at the proxy through which the library goes (HTTPS_PROXY)."""
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(*_target())
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _target() -> tuple[str, int]:
    proxy = urlsplit(getproxies_environment().get("https", ""))
    return (proxy.hostname, proxy.port or 443) if proxy.hostname else _WHATSAPP
