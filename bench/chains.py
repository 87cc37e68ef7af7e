"""How much history a workflow has left, over all the runs in which it continued as new."""

from __future__ import annotations

from temporalio.client import Client


async def count_events(client: Client, workflow_id: str) -> int:
    """Of the newest run and of every one that it continues."""
    events, run_id = 0, None
    while True:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        events += (await handle.describe()).history_length
        first = await anext(handle.fetch_history_events(page_size=1))
        run_id = first.workflow_execution_started_event_attributes.continued_execution_run_id
        if not run_id:
            return events
