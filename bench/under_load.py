"""post.p99: how long POST /send and all other requests take while a bulk goes out and customers write."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle
from threading import Event

from bench.figures import Figure, Reach, percentile
from bench.numbers import fresh_numbers
from bench.outbound import TEXT
from bench.progress import say, wait_for
from bench.rest import Rest
from bench.scale import Scale
from bench.stack import Stack, running_stack

_RECIPIENTS = 5000
_CUSTOMERS = 1000
_COME_IN_A_SECOND = 100
_REQUESTS_A_SECOND = 5
"""Of POST /send, and of reading requests. Each POST is a workflow of its own, of which the embedded server carries out
some 25 a second on two cores: 20 of them a second were most of the load that was measured.
"""

_ROUNDS = 2
_LIMIT_MS = 250.0
_ANSWERING_SECONDS = 240.0

Request = tuple[str, str, object]


async def run(scale: Scale) -> list[Figure]:
    figures: list[Figure] = []
    with running_stack() as stack:
        for bot_answers in (True, False):
            stack.api().post("/config", {"botNewChats": bot_answers})
            posts, others = [], []
            for _ in range(scale.of(_ROUNDS, least=1)):
                more_posts, more_others = _measure(stack, scale)
                posts += more_posts
                others += more_others
            figures += _figures(posts, others, bot_answers=bot_answers)
    return figures


def _measure(stack: Stack, scale: Scale) -> tuple[list[float], list[float]]:
    """Seconds of each POST /send, and of each other request, from when it was due: one that waits behind a slow one
    counts as slow.
    """
    store, stop = stack.store(), Event()
    customers = fresh_numbers(scale.of(_CUSTOMERS, least=10))
    came_in = store.count("message", "direction = 'incoming'") + len(customers)
    api = stack.api()
    send_id = api.post("/send", {"to": fresh_numbers(scale.of(_RECIPIENTS, least=50)), "message": TEXT})["id"]
    with ThreadPoolExecutor(3) as threads:
        flood = threads.submit(_write_all, stack.simulator(), stack.phone, customers)
        posts = threads.submit(_sample, stack.api(), _sends(), stop)
        reads = threads.submit(_sample, stack.api(), _reads(send_id), stop)
        try:
            flood.result()
            wait_for(lambda: store.is_finished(send_id), 300, "the bulk to finish", every=0.25)
            incoming = "direction = 'incoming'"
            wait_for(lambda: store.count("message", incoming) >= came_in, 60, "what came in to be stored", every=0.25)
        finally:
            stop.set()
    say(f"post.p99: {len(posts.result())} posts and {len(reads.result())} reads beside it")
    _wait_until_answered(stack)
    return posts.result(), reads.result()


def _write_all(simulator: Rest, business: str, customers: list[str]) -> None:
    """Each customer writes once, evenly."""
    for customer, _ in zip(customers, _beat(_COME_IN_A_SECOND), strict=False):
        simulator.post(f"/phones/{customer}/messages", {"to": business, "text": "Hola, ¿tienen turno mañana?"})


def _sample(api: Rest, requests: Iterator[Request], stop: Event) -> list[float]:
    seconds = []
    for request, due in zip(requests, _beat(_REQUESTS_A_SECOND), strict=False):
        if stop.is_set():
            break
        api.call(*request)
        seconds.append(time.perf_counter() - due)
    return seconds


def _beat(a_second: float) -> Iterator[float]:
    """The times at which things are due; each is given when it has come, or at once when it has gone by."""
    began = time.perf_counter()
    for number in count():
        due = began + number / a_second
        time.sleep(max(0.0, due - time.perf_counter()))
        yield due


def _sends() -> Iterator[Request]:
    while True:
        yield "POST", "/send", {"to": fresh_numbers(1)[0], "message": TEXT}


def _reads(send_id: str) -> Iterator[Request]:
    paths = ("/status", "/chats", f"/sends/{send_id}", f"/sends/{send_id}/recipients", "/events?after=0", "/config")
    for path in cycle(paths):
        yield "GET", path, None


def _wait_until_answered(stack: Stack) -> None:
    """What this round owes must not be the next one's load."""
    due = "answer = 'due'"
    wait_for(lambda: stack.store().count("message", due) == 0, _ANSWERING_SECONDS, "the bot's answers", every=0.5)
    busy = "status IN ('queued', 'sending', 'sent') AND direction = 'outgoing'"
    wait_for(lambda: stack.store().count("message", busy) == 0, _ANSWERING_SECONDS, "the last receipts", every=0.5)


def _figures(posts: list[float], others: list[float], *, bot_answers: bool) -> Iterator[Figure]:
    variant = "" if bot_answers else ".bot_off"
    beside = "the bot answers them" if bot_answers else "the bot is off"
    for name, samples in ((f"post.p99{variant}", posts), (f"post.p99{variant}.all", posts + others)):
        yield Figure(
            name=name,
            value=percentile(samples, 99) * 1000,
            unit="ms",
            against=_LIMIT_MS,
            basis=f"{len(samples)} requests, p50 {percentile(samples, 50) * 1000:.0f} ms, {beside}; a fixed limit",
            reach=Reach(_LIMIT_MS, of="value"),
        )
