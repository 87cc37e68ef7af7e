"""How our processes end once their work is done and closed: without taking the interpreter apart."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

log = logging.getLogger(__name__)


def leave(exit_code: int) -> NoReturn:
    """Temporal's native threads sometimes crash while Python ends, and an orderly end would look like a death."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def run_and_leave(work: Coroutine[Any, Any, int], connection_id: str) -> NoReturn:
    """Ends with the exit code that `work` answers, with 1 when it fails. It leaves from inside the event loop: whoever
    closes one waits for the threads of the WhatsApp library, and a call that hangs never gives its own back.
    """
    asyncio.run(_run_and_leave(work, connection_id))


async def _run_and_leave(work: Coroutine[Any, Any, int], connection_id: str) -> NoReturn:
    exit_code = 1
    try:
        exit_code = await work
    except BaseException:
        log.exception("process failed", extra={"connection": connection_id})
    leave(exit_code)
