"""chat.turn, chat.history, chat.long: what a turn of the bot costs, and whether that grows with the chat."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import IO

from temporalio.client import Client

from bench.chains import count_events
from bench.dialling import Phones, let_bot_answer
from bench.figures import Figure, Reach
from bench.numbers import fresh_numbers
from bench.progress import BenchFailed
from bench.scale import Scale
from bench.stack import Stack, environment, running_stack
from boton import names
from boton.processes import tie_to
from boton.temporal import TemporalAddress, connect

_SAMPLES = 100
_WARM_UP = 10
_REST_SECONDS = 0.3
_LONG = 500
_ENDS = 50
_REPLY_SECONDS = 60.0
_ROOT = Path(__file__).parent.parent


async def run_turn(scale: Scale) -> list[Figure]:
    """One chat; its turns and bare ones in turn."""
    samples = scale.of(_SAMPLES, least=5)
    with running_stack() as stack, _bare_turns(stack.temporal) as bare:
        client = await connect(TemporalAddress(target=stack.temporal))
        let_bot_answer(stack.api())
        phones, number = Phones(stack), fresh_numbers(1)[0]
        pairs = [(_turn(phones, number), bare()) for _ in range(_WARM_UP + samples)]
        events = await _events_of(client, stack)
    turns, against = zip(*pairs[_WARM_UP:], strict=True)
    return [
        Figure(
            name="chat.turn",
            value=median(turns) * 1000,
            unit="ms",
            against=median(against) * 1000,
            basis=f"{samples} alternating; p50 of a bare signal to the end of its second activity",
            reach=Reach(2.0),
        ),
        Figure(
            name="chat.history",
            value=events / len(pairs),
            unit="events/turn",
            against=20.0,
            basis=f"{len(pairs)} turns of one chat, a reply each, without debounce; a fixed limit",
            reach=Reach(20, of="value"),
        ),
    ]


async def run_long(scale: Scale) -> list[Figure]:
    """So many turns in one chat: the last ones beside the first ones."""
    count = scale.of(_LONG, least=20)
    ends = min(_ENDS, count // 2)
    with running_stack() as stack:
        let_bot_answer(stack.api())
        phones, number = Phones(stack), fresh_numbers(1)[0]
        for _ in range(_WARM_UP):
            _turn(phones, fresh_numbers(1)[0])
        seconds = [_turn(phones, number) for _ in range(count)]
    return [
        Figure(
            name="chat.long",
            value=median(seconds[-ends:]) * 1000,
            unit="ms",
            against=median(seconds[:ends]) * 1000,
            basis=f"p50 of the last {ends} of {count} turns in one chat; of the first {ends}",
            reach=Reach(1.2),
        )
    ]


def _turn(phones: Phones, number: str) -> float:
    """Seconds from the customer's message to the reply at their phone, by the one clock that this machine has."""
    time.sleep(_REST_SECONDS)
    began = phones.ask(number)
    (reply,) = phones.wait_for_replies(1, _REPLY_SECONDS)
    return reply[1] - began


async def _events_of(client: Client, stack: Stack) -> int:
    """Of all runs of the one chat there is."""
    chat_id = stack.store().text("SELECT id FROM chat")
    return await count_events(client, names.chat_workflow(chat_id))


@contextmanager
def _bare_turns(temporal: str) -> Iterator[_BareTurn]:
    process = subprocess.Popen(
        (sys.executable, "-m", "bench.bare_chat", temporal, "turn"),
        env=environment(),
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=tie_to(os.getpid()),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "ready":
            raise BenchFailed("bench.bare_chat did not start")
        yield _BareTurn(process.stdin, process.stdout)
    finally:
        process.kill()
        process.wait()


class _BareTurn:
    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin = stdin
        self._stdout = stdout

    def __call__(self) -> float:
        time.sleep(_REST_SECONDS)
        self._stdin.write("turn\n")
        self._stdin.flush()
        return float(self._stdout.readline())
