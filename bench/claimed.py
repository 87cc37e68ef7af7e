"""send.claimed: from POST /send to the first claim, beside a bare workflow's way to its first activity."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from statistics import median
from uuid import uuid4

from temporalio.client import Client

from bench import bare
from bench.figures import Figure, Reach
from bench.numbers import fresh_numbers
from bench.progress import say
from bench.rest import Rest
from bench.scale import Scale
from bench.side_process import serving
from bench.stack import running_stack
from bench.store_view import StoreView
from boton.temporal import TemporalAddress, connect

_SAMPLES = 200
_WARM_UP = 10
_REST_SECONDS = 0.25
"""Before each: within a tenth of a second after a run's end the embedded server takes 60 ms longer for the next one,
whatever it is (measured), which would hide what is measured here.
"""


async def run(scale: Scale) -> list[Figure]:
    """One of each in turn, every one on an idle stack."""
    with running_stack() as stack, serving("bench.bare", stack.temporal):
        client = await connect(TemporalAddress(target=stack.temporal))
        api, store = stack.api(), stack.store()
        number = fresh_numbers(1)[0]
        samples = scale.of(_SAMPLES, least=5)
        say(f"send.claimed: {samples} of each")
        pairs = [(await _claim(api, store, number), await _act(client)) for _ in range(_WARM_UP + samples)]
    claims, activities = zip(*pairs[_WARM_UP:], strict=True)
    return [
        Figure(
            name="send.claimed",
            value=median(claims) * 1000,
            unit="ms",
            against=median(activities) * 1000,
            basis=f"{samples} alternating; p50 of a bare start to its first activity",
            reach=Reach(1.5),
        )
    ]


async def _claim(api: Rest, store: StoreView, number: str) -> float:
    """Seconds from the request to the moment of the claim, by the one clock that this machine has."""
    await asyncio.sleep(_REST_SECONDS)
    began = datetime.now(UTC)
    send_id = api.post("/send", {"to": number, "message": "Your appointment is tomorrow at 15:00."})["id"]
    claimed = store.claimed_at(send_id)
    store.finished(send_id)
    return (claimed - began).total_seconds()


async def _act(client: Client) -> float:
    await asyncio.sleep(_REST_SECONDS)
    began = datetime.now(UTC)
    acted = await client.execute_workflow(bare.Bare.run, id=f"bench/{uuid4()}", task_queue=bare.QUEUE)
    return (datetime.fromisoformat(acted) - began).total_seconds()
