"""The other yardstick of send.bulk, and send.history's: a workflow that runs one activity for each message, 50 at a
time, each of which claims, sends and records. Worker and workflow are this process's own.

    python -m bench.each <new folder> <simulator> <the business's phone> <number of recipients> <Temporal>
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from activities.courier import Courier
    from bench.chains import count_events
    from bench.numbers import fresh_numbers
    from bench.outbound import open_outbound
    from boton.domain.gateway import Attempt
    from boton.temporal import TemporalAddress, connect, sandbox_runner

QUEUE = "bench-each"
_WINDOW = 50
_MESSAGES_A_RUN = 1000
"""Then it continues as new, long before the server's limits, as the send workflow does."""


class Each:
    def __init__(self, courier: Courier) -> None:
        self._courier = courier

    @activity.defn
    async def send_one(self, message_id: str) -> None:
        attempt = await self._courier.claim(message_id)
        if isinstance(attempt, Attempt):
            await self._courier.record(await self._courier.deliver(attempt))


@workflow.defn(name="BenchEach")
class EachWorkflow:
    @workflow.run
    async def run(self, message_ids: list[str]) -> None:
        room = asyncio.Semaphore(_WINDOW)
        await asyncio.gather(*(self._send_one(room, message_id) for message_id in message_ids[:_MESSAGES_A_RUN]))
        if len(message_ids) > _MESSAGES_A_RUN:
            workflow.continue_as_new(message_ids[_MESSAGES_A_RUN:])

    async def _send_one(self, room: asyncio.Semaphore, message_id: str) -> None:
        async with room:
            await workflow.execute_activity_method(
                Each.send_one, message_id, start_to_close_timeout=timedelta(seconds=60)
            )


async def main(folder: Path, simulator: str, phone: str, total: int, temporal: str) -> None:
    client = await connect(TemporalAddress(target=temporal))
    async with open_outbound(folder, simulator, phone) as outbound:
        recipients = (await outbound.accept(fresh_numbers(total))).recipients
        measured = await _measure(client, outbound.courier, [one.message_id for one in recipients])
    print(json.dumps(measured), flush=True)


async def _measure(client: Client, courier: Courier, message_ids: Sequence[str]) -> dict[str, float]:
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[EachWorkflow],
        activities=[Each(courier).send_one],
        workflow_runner=sandbox_runner(),
    )
    async with worker:
        began, id = time.perf_counter(), f"bench/{uuid4()}"
        await client.execute_workflow(EachWorkflow.run, list(message_ids), id=id, task_queue=QUEUE)
        seconds = time.perf_counter() - began
    events = await count_events(client, id)
    return {"perSecond": len(message_ids) / seconds, "eventsPerMessage": events / len(message_ids)}


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]))
