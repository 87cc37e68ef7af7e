"""reminders.idle: the workers' memory with very many pending reminders, beside what it was without one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from temporalio.client import Client

from bench.figures import Figure, Reach
from bench.numbers import fresh_numbers
from bench.progress import BenchFailed, say
from bench.resting import MB, measure_at_rest
from bench.scale import Scale
from bench.stack import Stack, running_stack
from boton.names import REMINDER_WORKFLOW
from boton.temporal import TemporalAddress, connect

_REMINDERS = 10_000
_WARM_UP = 300
_CLIENTS = 4
_SAME_LOOKS = 90
"""Seconds: the sweeper's grace, and its pause after a start that failed."""


async def run(scale: Scale) -> list[Figure]:
    """No process is restarted in between. "None" is measured after some reminders that were cancelled: a worker that
    has never run a workflow is smaller by what every worker loads and keeps, whatever is pending.
    """
    reminders = scale.of(_REMINDERS, least=100)
    with running_stack() as stack:
        client = await connect(TemporalAddress(target=stack.temporal))
        fresh = _measure(stack)
        early = _create(stack, scale.of(_WARM_UP, least=100))
        await _count_pending(client, len(early))
        _cancel(stack, early)
        await _count_pending(client, 0)
        without = _measure(stack)
        _create(stack, reminders)
        pending = await _count_pending(client, reminders)
        with_them = _measure(stack)
    if pending < reminders:
        raise BenchFailed(f"of {reminders} reminders only {pending} have a workflow")
    return [
        Figure(
            name="reminders.idle",
            value=with_them / MB,
            unit="MB PSS",
            against=without / MB,
            basis=f"{pending} workflows pending; none ({fresh / MB:.0f} MB before the first)",
            reach=Reach(1.1),
        )
    ]


def _create(stack: Stack, count: int) -> list[str]:
    """So many reminders, due in a month; their ids."""
    numbers = fresh_numbers(count)
    with ThreadPoolExecutor(_CLIENTS) as threads:
        parts = [numbers[start::_CLIENTS] for start in range(_CLIENTS)]
        created = [id for ids in threads.map(lambda part: _create_some(stack, part), parts) for id in ids]
    say(f"reminders.idle: {len(created)} made")
    return created


def _create_some(stack: Stack, numbers: Sequence[str]) -> list[str]:
    api, due = stack.api(), datetime.now(UTC) + timedelta(days=30)
    made = []
    for place, number in enumerate(numbers):
        at = (due + timedelta(seconds=place)).isoformat()
        made.append(str(api.post("/reminders", {"to": number, "message": "Your appointment.", "at": at})["id"]))
    return made


def _cancel(stack: Stack, ids: Sequence[str]) -> None:
    api = stack.api()
    for id in ids:
        api.call("DELETE", f"/reminders/{id}")


async def _count_pending(client: Client, wanted: int) -> int:
    """Workflows that wait for their timers, once they are as many as wanted, or their number stays the same for so
    long that none is to be made up any more: a start that Temporal did not answer in time is left to the sweeper, which
    makes it up half a minute after the request.
    """
    query = f"WorkflowType = '{REMINDER_WORKFLOW}' AND ExecutionStatus = 'Running'"
    counts: list[int] = []
    while counts[-1:] != [wanted] and (len(counts) < _SAME_LOOKS or len(set(counts[-_SAME_LOOKS:])) > 1):
        await asyncio.sleep(1)
        counts.append((await client.count_workflows(query)).count)
    return counts[-1]


def _measure(stack: Stack) -> int:
    return measure_at_rest(stack.pids("worker"))
