"""A real Temporal server for tests: the one that `boton up` embeds, on a free port."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
from pathlib import Path

from temporalio.client import Client

from boton.cli.embedded import find_temporal
from boton.metrics_text import pick_loopback_port
from boton.processes import tie_to
from boton.temporal import TemporalAddress, connect, prepare_namespace

START_SECONDS = 60.0
CONTINUE_AFTER = 150
"""Events after which a run should continue as new (4,096 in production), so that tests get there."""


class TemporalServer:
    """Ends with this process. With a file it can be killed and started again without losing anything."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._port = pick_loopback_port()
        self.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [find_temporal(), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(self._port)]
        command += ["--log-level", "never"]
        command += ["--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"]
        command += ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={CONTINUE_AFTER}"]
        for name in ("Read", "Write"):  # as `boton up` has it: priorities hold within one partition
            command += ["--dynamic-config-value", f"matching.numTaskqueue{name}Partitions=1"]
        command += ["--db-filename", str(self._file), "--sqlite-pragma", "journal_mode=wal"] if self._file else []
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "GOMEMLIMIT": "200MiB"},
            preexec_fn=tie_to(os.getpid()),
        )

    async def connect(self) -> Client:
        """A client as our processes make it, as soon as the server answers; the namespace is prepared."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    client = await connect(TemporalAddress(target=self.target))
                    await prepare_namespace(client, embedded=True)
                    return client
                except Exception:  # noqa: BLE001 - it does not answer yet, in whatever way
                    assert self._process.poll() is None, "the Temporal server ended by itself"
                    await asyncio.sleep(0.1)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)


@functools.cache
def shared_server() -> TemporalServer:
    """One server in memory for all tests of this process; they keep apart by ids and queues of their own."""
    return TemporalServer()
