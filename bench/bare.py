"""The yardstick of send.claimed: a workflow of one activity and nothing else, in a worker process of its own.

python -m bench.bare <host:port of Temporal>
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from temporalio import activity, workflow
from temporalio.worker import Worker

from boton.temporal import TemporalAddress, connect, sandbox_runner

QUEUE = "bench-bare"
ACTIVITY_QUEUE = "bench-bare-activity"
"""Of its own, as a phone number's is: on the workflow's queue the SDK hands the first activity over in the process."""


@activity.defn
async def tell_time() -> str:
    return datetime.now(UTC).isoformat()


@workflow.defn(name="BenchBare")
class Bare:
    @workflow.run
    async def run(self) -> str:
        """When its activity began."""
        return await workflow.execute_activity(
            tell_time, task_queue=ACTIVITY_QUEUE, start_to_close_timeout=timedelta(seconds=60)
        )


async def main(address: str) -> None:
    """Until it is killed; says `ready` once it serves."""
    client = await connect(TemporalAddress(target=address))
    activities = Worker(client, task_queue=ACTIVITY_QUEUE, activities=[tell_time])
    workflows = Worker(client, task_queue=QUEUE, workflows=[Bare], workflow_runner=sandbox_runner())
    async with activities, workflows:
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
