"""The yardsticks of the chat benches: a workflow that is signalled and runs activities, each on a queue of its own.

python -m bench.bare_chat <host:port of Temporal> turn            one turn for each line on stdin; its seconds
python -m bench.bare_chat <host:port of Temporal> storm <chats>   signal-with-start of so many at once; the seconds
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import timedelta
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from boton.temporal import TemporalAddress, connect, sandbox_runner

QUEUE, THINKING, SENDING = "bench-chat", "bench-chat-thinking", "bench-chat-sending"
_IN_FLIGHT = 8
"""Starts at a time, as a link has them."""

_CACHED = 50
"""Workflows in memory, as the worker has them."""


class Effects:
    """What the second activity of a turn tells."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    @activity.defn(name="think")
    async def think(self) -> None:
        """The first one, on another queue."""

    @activity.defn(name="send")
    async def send(self) -> None:
        self.done.set()


@workflow.defn(name="BenchChat")
class BareChat:
    """turns: how many signals it waits for; activities: how many each of them costs."""

    @workflow.init
    def __init__(self, turns: int, activities: int) -> None:  # noqa: ARG002 - the SDK passes it to both
        self._signals = 0
        self._activities = activities

    @workflow.signal(name="look")
    def look(self) -> None:
        self._signals += 1

    @workflow.run
    async def run(self, turns: int, activities: int) -> None:
        for turn in range(turns):
            await workflow.wait_condition(lambda turn=turn: self._signals > turn)  # type: ignore[misc]
            for name, queue in (("think", THINKING), ("send", SENDING))[:activities]:
                await workflow.execute_activity(name, task_queue=queue, start_to_close_timeout=timedelta(seconds=60))


async def _take_turns(client: Client, effects: Effects) -> None:
    """A line a turn: the seconds from the signal to the end of the second activity."""
    handle = await client.start_workflow("BenchChat", args=[10_000, 2], id=f"bench/{uuid4()}", task_queue=QUEUE)
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        effects.done.clear()
        began = time.perf_counter()
        await handle.signal("look")
        await effects.done.wait()
        print(time.perf_counter() - began, flush=True)
    await handle.terminate()


async def _storm(client: Client, chats: int) -> None:
    began, room = time.perf_counter(), asyncio.Semaphore(_IN_FLIGHT)

    async def signal() -> None:
        async with room:
            handle = await client.start_workflow(
                "BenchChat", args=[1, 1], id=f"bench/{uuid4()}", task_queue=QUEUE, start_signal="look"
            )
        await handle.result()

    await asyncio.gather(*(signal() for _ in range(chats)))
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


async def main(address: str, what: str, *counts: str) -> None:
    client, effects = await connect(TemporalAddress(target=address)), Effects()
    thinking = Worker(client, task_queue=THINKING, activities=[effects.think])
    sending = Worker(client, task_queue=SENDING, activities=[effects.send])
    chats = Worker(
        client,
        task_queue=QUEUE,
        workflows=[BareChat],
        workflow_runner=sandbox_runner(),
        max_cached_workflows=_CACHED,
    )
    async with thinking, sending, chats:
        await (_take_turns(client, effects) if what == "turn" else _storm(client, int(counts[0])))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
