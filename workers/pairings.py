"""The pairing processes of one host: started, given a time, killed when nobody wants them any more."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from boton.processes import tie_to
from workers.links import ENVIRONMENT
from workers.masking import pass_on

log = logging.getLogger(__name__)

_LONGEST = 260.0
"""Seconds; the process itself gives up well before."""


class Pairings:
    """The PairingKeeper port: one throw-away process for each phone that is being linked."""

    async def pair(self, connection_id: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "workers.pairing",
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
            code = await asyncio.wait_for(process.wait(), _LONGEST)
            if code:
                log.warning("pairing process died", extra={"connection": connection_id, "code": code})
        except TimeoutError:
            log.warning("pairing process does not end and is killed", extra={"connection": connection_id})
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await passing_on
