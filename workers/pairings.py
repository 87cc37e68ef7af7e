"""The throw-away processes of one host: started, given a time, killed when nobody wants them any more."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from boton.processes import tie_to
from workers.masking import pass_on
from workers.nurseries import ENVIRONMENT

log = logging.getLogger(__name__)

_LONGEST = 260.0
"""Seconds; the process itself gives up well before."""


class Pairings:
    """The PairingKeeper port: one process for each phone that is being linked, or forgets its device."""

    async def pair(self, connection_id: str) -> None:
        code = await self._run("workers.pairing", connection_id)
        if code:
            log.warning("pairing process died", extra={"connection": connection_id, "code": code})

    async def unlink(self, connection_id: str) -> bool:
        return await self._run("workers.unlinking", connection_id) == 0

    async def _run(self, module: str, connection_id: str) -> int | None:
        """How it ended; None: it did not, and was killed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            module,
            connection_id,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,  # the library prints there, the QR code's content too
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=tie_to(os.getpid()),
            env=os.environ | ENVIRONMENT,
        )
        assert process.stderr is not None
        passing_on = asyncio.create_task(pass_on(process.stderr))
        try:
            return await asyncio.wait_for(process.wait(), _LONGEST)
        except TimeoutError:
            log.warning("process does not end and is killed", extra={"connection": connection_id, "module": module})
            return None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await passing_on
