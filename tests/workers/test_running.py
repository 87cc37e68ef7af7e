"""What every worker process does around its stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.runtime import Runtime
from temporalio.worker import Worker

from boton.metrics_text import pick_loopback_port
from boton.temporal import TemporalAddress
from tests.temporal_server import TemporalServer
from tests.waiting import SECONDS, until
from workers import running
from workers.running import connect_patiently, serve, sleep_until, unless_stopped


async def test_work_that_ends_first_is_answered() -> None:
    async def work() -> int:
        return 7

    assert await unless_stopped(asyncio.Event(), work()) == 7


async def test_stop_cancels_the_work_and_waits_for_its_end() -> None:
    stop, cleaned = asyncio.Event(), []

    async def work() -> None:
        stop.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    assert await asyncio.wait_for(unless_stopped(stop, work()), SECONDS) is None
    assert cleaned == [True]


async def test_failure_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        await unless_stopped(asyncio.Event(), work())


async def test_cancelled_caller_cancels_the_work() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.create_task(unless_stopped(asyncio.Event(), work()))
    await started.wait()
    caller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await caller
    assert ended.is_set()


async def test_stop_is_noticed_while_temporal_does_not_answer() -> None:
    silent = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(3600), "127.0.0.1", 0)
    stop = asyncio.Event()
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        address = TemporalAddress(target=f"127.0.0.1:{port}")
        connecting = asyncio.create_task(connect_patiently(address, Runtime.default(), stop))
        asyncio.get_running_loop().call_later(0.3, stop.set)
        began = time.monotonic()
        assert await connecting is None
    assert time.monotonic() - began < 9, "the connect itself is given up after 10"


async def test_closed_port_is_tried_until_the_stop() -> None:
    stop = asyncio.Event()
    address = TemporalAddress(target=f"127.0.0.1:{pick_loopback_port()}")
    asyncio.get_running_loop().call_later(0.5, stop.set)
    assert await asyncio.wait_for(connect_patiently(address, Runtime.default(), stop), SECONDS) is None


async def test_worker_that_could_not_start_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporal goes away between the connect and the worker's first word."""
    monkeypatch.setattr(running, "_LONGEST_PAUSE", 0.1)
    temporal, stop = TemporalServer(tmp_path / "temporal.db"), asyncio.Event()
    client, made = await temporal.connect(), []

    def make_worker() -> Worker:
        made.append(1)
        return Worker(client, task_queue="q", activities=[answer])

    temporal.kill()
    serving = asyncio.create_task(serve(make_worker, stop))
    await until(lambda: len(made) > 1 or serving.done())
    temporal.start()
    await temporal.connect()
    told = client.execute_activity(answer, id="a", task_queue="q", start_to_close_timeout=timedelta(seconds=5))
    assert await asyncio.wait_for(told, SECONDS) == 42
    stop.set()
    await serving
    temporal.kill()


@activity.defn
async def answer() -> int:
    return 42


async def test_sleep_ends_with_the_stop() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)
    await asyncio.wait_for(sleep_until(stop, 3600), SECONDS)
