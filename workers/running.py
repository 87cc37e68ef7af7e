"""What every worker process does: wait for Temporal, serve a queue, end in order on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import Worker

from boton.temporal import TemporalAddress, connect

log = logging.getLogger(__name__)

T = TypeVar("T")

LOST_OWNERSHIP = 3
"""A link's exit code: another link has a higher epoch."""

ENDED = 4
"""A link's exit code: the number cannot be held; a line on stdout says why."""

HEARTBEATS = timedelta(seconds=2)
"""How often a long activity's heartbeats go out: also how soon it learns that it is cancelled."""

GRACE = timedelta(seconds=8)
"""How long a running activity may take to end when its process stops."""

BUILD_ID = "boton"
"""Of a worker without workflows. Without one the SDK reads the code of every imported module to make one up: a link was
6 MB larger by it.
"""

_SHUTDOWN_SECONDS = GRACE.total_seconds() + 0.5
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def connect_patiently(address: TemporalAddress, runtime: Runtime, stop: asyncio.Event) -> Client | None:
    """A connected client, as soon as Temporal answers; None when the process is to stop before that."""
    pause = _FIRST_PAUSE
    while not stop.is_set():
        try:
            return await unless_stopped(stop, asyncio.wait_for(connect(address, runtime=runtime), 10))
        except (RuntimeError, OSError, TimeoutError) as error:
            log.warning("temporal does not answer", extra={"target": address.target, "reason": type(error).__name__})
        await sleep_until(stop, pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return None


async def serve(make_worker: Callable[[], Worker], stop: asyncio.Event) -> None:
    """Runs a worker until the stop; one that fails is logged and made anew."""
    while not stop.is_set():
        worker = make_worker()
        running = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if running.done():
            error = running.exception()
            log.error("worker ended", extra={"queue": worker.task_queue, "reason": type(error).__name__})
            _give_up_queue(worker)
            await sleep_until(stop, _LONGEST_PAUSE)
        else:
            await _shut_down(worker, running)


def _give_up_queue(worker: Worker) -> None:
    """Of a worker that failed. One that could not even start (Temporal was away just then) is left on its queue by the
    SDK, which then takes no other one for it.
    """
    with contextlib.suppress(Exception):
        worker._bridge_worker.initiate_shutdown()


async def _shut_down(worker: Worker, running: asyncio.Task[None]) -> None:
    """Ends a worker in order; the SDK waits for a Temporal that does not answer, we do not for long."""
    ending = {running, asyncio.create_task(worker.shutdown())}
    _, late = await asyncio.wait(ending, timeout=_SHUTDOWN_SECONDS)
    for task in late:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` answers; None, with the work cancelled, when the stop comes first."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait({working})


async def sleep_until(stop: asyncio.Event, seconds: float) -> None:
    """Sleeps, but not beyond the stop."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
