"""The runner: one JSON object a line on stdout, everything else on stderr.

python -m bench                     all of them
python -m bench send.bulk           some
python -m bench --scale 0.02        small, to see that they run; such figures say little
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import NoReturn

from bench import accept, bulk, chats, claimed, flood, history, links, reminders, storm, turns, under_load
from bench.figures import Figure, to_table
from bench.progress import BenchFailed, say
from bench.scale import Scale

BENCHES: dict[str, Callable[[Scale], Awaitable[list[Figure]]]] = {
    "send.accept": accept.run,
    "send.claimed": claimed.run,
    "send.bulk": bulk.run,
    "send.history": history.run,
    "post.p99": under_load.run,
    "chats.list": chats.run,
    "reminders.idle": reminders.run,
    "link.memory": links.run,
    "chat.turn": turns.run_turn,
    "chat.long": turns.run_long,
    "chat.storm": storm.run,
    "link.flood": flood.run,
}


def main() -> int:
    """The exit code: 1 when a bench could not be run, whatever was reached; 130 when it was interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    asked = _parse()
    if asked.list:
        print("\n".join(BENCHES))
        return 0
    figures: list[Figure] = []
    try:
        broken = [name for name in asked.names or BENCHES if not _run(name, Scale(asked.scale), figures)]
    except KeyboardInterrupt:
        return 130
    finally:
        print(to_table(figures), file=sys.stderr)
    if broken:
        say(f"could not be run: {', '.join(broken)}")
    return 1 if broken else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Each figure beside its own yardstick.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHES)}; without one: all")
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the full sizes, for a quick look")
    parser.add_argument("--list", action="store_true", help="the benches' names")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - BENCHES.keys()):
        parser.error(f"there is no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    return asked


def _run(name: str, scale: Scale, figures: list[Figure]) -> bool:
    """Prints a bench's figures; False when it could not be run."""
    say(f"{name} begins")
    try:
        found = asyncio.run(_measure(name, scale))
    except BenchFailed as failure:
        say(f"{name}: {failure}")
        return False
    except Exception:  # noqa: BLE001 - the other benches are worth running
        say(f"{name}: {traceback.format_exc()}")
        return False
    for figure in found:
        print(figure.to_json(), flush=True)
    figures += found
    return True


async def _measure(name: str, scale: Scale) -> list[Figure]:
    return await BENCHES[name](scale)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """Once: a second signal must not keep the stacks from being stopped in order."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
