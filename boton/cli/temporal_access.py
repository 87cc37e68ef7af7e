"""A Temporal client out of the settings, for the commands that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boton.settings import Settings

if TYPE_CHECKING:
    from temporalio.client import Client


async def connect_temporal(settings: Settings) -> Client:
    """Raises RuntimeError when it does not answer."""
    from boton.temporal import TemporalAddress, connect

    key = settings.temporal_api_key
    return await connect(
        TemporalAddress(
            target=settings.temporal_target,
            namespace=settings.temporal_namespace,
            api_key=None if key is None else key.get_secret_value(),
            tls_ca=settings.temporal_tls_ca,
            tls_cert=settings.temporal_tls_cert,
            tls_key=settings.temporal_tls_key,
        )
    )
