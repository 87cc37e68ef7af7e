"""send.bulk: messages a second, beside the same loop without Temporal and beside one activity a message."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from bench.figures import Figure, Reach
from bench.numbers import fresh_numbers
from bench.outbound import TEXT
from bench.progress import say
from bench.scale import Scale
from bench.side_process import measure_in_process
from bench.stack import Stack, running_stack, scratch

_ROUNDS = 3
_RECIPIENTS = 5000
_RECIPIENTS_EACH = 2000
"""One activity a message is slow, and its speed does not change with their number."""

_PHONE = 5491150000000


async def run(scale: Scale) -> list[Figure]:
    """In turn: the stack's own send, the loop, one activity a message; the two yardsticks on the stack's simulator."""
    total, total_each = scale.of(_RECIPIENTS, least=50), scale.of(_RECIPIENTS_EACH, least=50)
    sends, loops, eaches = [], [], []
    with running_stack() as stack, scratch() as folder:
        _send(stack, min(total, 500))
        for turn in range(scale.of(_ROUNDS, least=1)):
            sends.append(_send(stack, total))
            loops.append(_yardstick("bench.loop", stack, folder / f"loop-{turn}", _PHONE + 2 * turn, total))
            each = _PHONE + 2 * turn + 1
            eaches.append(_yardstick("bench.each", stack, folder / f"each-{turn}", each, total_each, stack.temporal))
            say(f"send.bulk: {sends[-1]:.0f}/s, loop {loops[-1]:.0f}/s, one activity each {eaches[-1]:.0f}/s")
    rounds = f"{len(sends)} rounds of {total}"
    return [
        _figure("send.bulk", sends, loops, f"{rounds}; the loop without Temporal", Reach(0.8, at_least=True)),
        _figure(
            "send.bulk.one_activity_each",
            sends,
            eaches,
            f"{rounds}, of {total_each}; one activity a message, 50 at a time",
            Reach(2, at_least=True),
        ),
    ]


def _send(stack: Stack, total: int) -> float:
    """Messages a second, by the store's times; waits for the receipts, so that nothing goes on beside what follows."""
    api = stack.api()
    send_id = api.post("/send", {"to": fresh_numbers(total), "message": TEXT})["id"]
    api.close()
    return total / stack.store().finished(send_id, 300, every=0.25).seconds


def _yardstick(module: str, stack: Stack, folder: Path, phone: int, total: int, *more: str) -> float:
    folder.mkdir()
    arguments = (str(folder), stack.simulator_url, str(phone), str(total), *more)
    return float(measure_in_process(module, *arguments)["perSecond"])


def _figure(name: str, sends: list[float], yardstick: list[float], basis: str, reach: Reach) -> Figure:
    return Figure(
        name=name, value=median(sends), unit="messages/s", against=median(yardstick), basis=basis, reach=reach
    )
