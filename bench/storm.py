"""chat.storm: very many customers write at once, beside as many bare workflows of one activity."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bench.dialling import Phones, let_bot_answer
from bench.figures import Figure, Reach
from bench.numbers import fresh_numbers
from bench.progress import BenchFailed, say
from bench.scale import Scale
from bench.side_process import measure_in_process
from bench.stack import Stack, running_stack

_CHATS = 1000
_WARM_UP = 50
_CLIENTS = 4
_SECONDS = 300.0


async def run(scale: Scale) -> list[Figure]:
    """First the customers, then the yardstick, on one server."""
    chats = scale.of(_CHATS, least=20)
    with running_stack() as stack:
        let_bot_answer(stack.api())
        _storm(stack, min(chats, _WARM_UP))
        seconds = _storm(stack, chats)
        say(f"chat.storm: {chats} answered in {seconds:.1f} s")
        bare = float(measure_in_process("bench.bare_chat", stack.temporal, "storm", str(chats))["seconds"])
    return [
        Figure(
            name="chat.storm",
            value=seconds,
            unit="s",
            against=bare,
            basis=f"{chats} chats, each answered once; bare signal-with-start and one activity each",
            reach=Reach(2.0),
        )
    ]


def _storm(stack: Stack, count: int) -> float:
    """Seconds from the first message to the last reply. Raises BenchFailed when anybody got none, or two."""
    phones, numbers = Phones(stack), fresh_numbers(count)
    with ThreadPoolExecutor(_CLIENTS) as threads:
        began = min(threads.map(lambda part: _ask_all(stack, part), (numbers[n::_CLIENTS] for n in range(_CLIENTS))))
    replies = phones.wait_for_replies(count, _SECONDS)
    if sorted(to for to, _ in replies) != sorted(numbers):
        raise BenchFailed("not everybody was answered exactly once")
    return max(at for _, at in replies) - began


def _ask_all(stack: Stack, numbers: list[str]) -> float:
    phones = Phones(stack)
    return min([phones.ask(number) for number in numbers], default=float("inf"))
