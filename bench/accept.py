"""send.accept: how long POST /send keeps a client waiting, beside the start of a workflow that does nothing."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from uuid import uuid4

from temporalio.client import Client

from bench.figures import Figure, Reach
from bench.numbers import fresh_numbers
from bench.progress import say
from bench.rest import Rest
from bench.scale import Scale
from bench.stack import Stack, running_stack
from bench.store_view import StoreView
from boton.temporal import TemporalAddress, connect

_SAMPLES = 200
_WARM_UP = 10
_REST_SECONDS = 0.1
"""Before each, so that neither pays for the other: the server goes on for some 30 ms after a run has ended."""
_NOBODY = "bench-nobody"
"""A queue that no worker serves: what is started there costs its start and nothing more."""


async def run(scale: Scale) -> list[Figure]:
    """One of each in turn, every one on an idle stack, as a client's request finds it."""
    with running_stack() as stack:
        client = await connect(TemporalAddress(target=stack.temporal))
        known = fresh_numbers(1)[0]
        await _measure(stack, client, [known] * _WARM_UP)
        samples = scale.of(_SAMPLES, least=5)
        say(f"send.accept: {samples} of each")
        to_known, bare = await _measure(stack, client, [known] * samples)
        to_new, bare_again = await _measure(stack, client, fresh_numbers(samples))
    return [
        _figure("send.accept", to_known, bare, Reach(1.5)),
        _figure("send.accept.first_contact", to_new, bare_again, None),
    ]


async def _measure(stack: Stack, client: Client, numbers: list[str]) -> tuple[list[float], list[float]]:
    """Seconds of each POST, and of each bare start."""
    api, store = stack.api(), stack.store()
    posts, starts = [], []
    for number in numbers:
        await asyncio.sleep(_REST_SECONDS)
        posts.append(_post(api, store, number))
        await asyncio.sleep(_REST_SECONDS)
        starts.append(await _start_bare(client))
    api.close()
    return posts, starts


def _post(api: Rest, store: StoreView, number: str) -> float:
    answer = api.call("POST", "/send", {"to": number, "message": "Your appointment is tomorrow at 15:00."})
    store.finished(answer.body["id"])
    return answer.seconds


async def _start_bare(client: Client) -> float:
    began = time.perf_counter()
    handle = await client.start_workflow("Nothing", id=f"bench/{uuid4()}", task_queue=_NOBODY)
    seconds = time.perf_counter() - began
    await handle.terminate()
    return seconds


def _figure(name: str, posts: list[float], starts: list[float], reach: Reach | None) -> Figure:
    return Figure(
        name=name,
        value=median(posts) * 1000,
        unit="ms",
        against=median(starts) * 1000,
        basis=f"{len(posts)} alternating; p50 of a bare start_workflow",
        reach=reach,
    )
