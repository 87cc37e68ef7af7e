"""link.flood: very many messages at once on one number, through a real link process into the store.

The library's Go part is played (tests/whatsapp); everything above it is the real thing.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from unittest.mock import patch

import psutil

from bench.figures import Figure, Reach
from bench.progress import BenchFailed, say, wait_for
from bench.scale import Scale
from bench.side_process import measure_in_process
from bench.stack import Stack, running_stack, scratch
from tests.whatsapp.flood import CHATS, Flood
from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.played import PlayedNumber, Premises, add_numbers
from tests.whatsapp.remote import played_links
from tests.whatsapp.stored import PlayedStore

_MESSAGES = 10_000
_KILLS = 5
_REPEATS = 0.05
_SECONDS = 240.0
_QUIET_CPU = 5.0
"""Per cent of a core, over a second: below it a link has nothing to do any more."""

_MB = 1024 * 1024


async def run(scale: Scale) -> list[Figure]:
    """Two floods for time and memory, one whose link is killed again and again, one that the bot is to answer; then
    the yardstick.
    """
    total = scale.of(_MESSAGES, least=500)
    with _played_stack() as (stack, networks), scratch() as folder:
        store_url = f"sqlite:///{stack.data_dir / 'boton.db'}"
        premises = Premises(store_url=store_url, data_dir=stack.data_dir, temporal=stack.temporal)
        (number,) = await add_numbers(premises, networks, 1)
        site = _Site(stack, premises, number)
        before = site.measure()
        seconds, first = site.flood(total), site.measure()
        again, second = site.flood(total), site.measure()
        killed = site.flood_and_kill(total)
        answered = site.flood_the_bot(total)
        site.close()
        arguments = (str(folder / "recorded"), str(total), str(CHATS))
        direct = float(measure_in_process("bench.recorded", *arguments)["seconds"])
    basis = f"{total} messages of {CHATS} chats; given straight to the store"
    return [
        Figure(name="link.flood", value=min(seconds, again), unit="s", against=direct, basis=basis),
        Figure(
            name="link.flood.memory",
            value=second / _MB,
            unit="MB PSS",
            against=first / _MB,
            basis=f"the link after a second flood; after the first (before it: {before / _MB:.0f} MB)",
            reach=Reach(1.03),
        ),
        Figure(
            name="link.flood.killed", value=killed, unit="s", against=direct, basis=f"{_KILLS} kills with -9; {basis}"
        ),
        Figure(name="link.flood.bot", value=answered, unit="s", against=direct, basis=f"the bot answers; {basis}"),
    ]


@contextmanager
def _played_stack() -> Iterator[tuple[Stack, dict[str, FakeNetwork]]]:
    networks: dict[str, FakeNetwork] = {}
    with played_links(networks) as variables, patch.dict(os.environ, variables), running_stack() as stack:
        yield stack, networks


class _Site:
    """One number on a running stack, connected."""

    def __init__(self, stack: Stack, premises: Premises, number: PlayedNumber) -> None:
        self._stack, self._premises, self._number = stack, premises, number
        self._store = PlayedStore(premises.store_url)
        wait_for(self._is_connected, 60, "the number to be connected", every=0.1)

    def close(self) -> None:
        self._store.close()

    def measure(self) -> int:
        """Bytes of the link's process, once it has nothing to do."""
        process = psutil.Process(self._link())
        wait_for(lambda: process.cpu_percent(interval=1.0) < _QUIET_CPU, 120, "the link to come to rest")
        return int(process.memory_full_info().pss)

    def flood(self, total: int, flood: Flood | None = None) -> float:
        """Seconds from the first message to the last that is stored. Raises BenchFailed when anything is wrong."""
        flood = flood or Flood(self._number, self._store)
        began = time.perf_counter()
        flood.pour(total)
        wait_for(lambda: flood.is_stored, _SECONDS, "everything to be stored", every=0.05)
        seconds = time.perf_counter() - began
        say(f"link.flood: {total} stored in {seconds:.1f} s")
        if wrong := flood.check():
            raise BenchFailed(f"of {len(flood.phones)} chats {len(wrong)} are wrong: {wrong[0]}")
        return seconds

    def flood_and_kill(self, total: int) -> float:
        """The network tells some messages twice, and to the next process what the killed one had not taken."""
        flood = Flood(self._number, self._store, seed=2, repeats=_REPEATS)
        killing = Thread(target=self._kill_meanwhile, args=[flood, total], daemon=True)
        killing.start()
        seconds = self.flood(total, flood)
        killing.join()
        held = len(self._number.network.gone)
        say(f"link.flood: {_KILLS} kills; the library had {held} messages that it would not have told again")
        return seconds

    def flood_the_bot(self, total: int) -> float:
        """Until the messages are stored; then everybody is to be answered."""
        self._stack.api(self._number.token).post("/config", {"botNewChats": True, "debounceSeconds": 1})
        flood = Flood(self._number, self._store, seed=3)
        seconds = self.flood(total, flood)
        waiting = "answer = 'due' AND turn_id IS NULL"
        wait_for(lambda: not self._stack.store().count("message", waiting), _SECONDS, "answers", every=0.5)
        wait_for(lambda: all(phone.received for phone in flood.phones), _SECONDS, "replies", every=0.5)
        replies = sum(len(phone.received) for phone in flood.phones)
        say(f"link.flood: everybody answered, with {replies} messages")
        return seconds

    def _kill_meanwhile(self, flood: Flood, total: int) -> None:
        for kill in range(1, _KILLS + 1):
            enough = kill * total // (_KILLS + 1)
            wait_for(lambda: flood.stored >= enough, _SECONDS, "the moment of a kill")  # noqa: B023
            os.kill(self._link(), signal.SIGKILL)

    def _link(self) -> int:
        """Its process."""
        return wait_for(lambda: self._premises.find_link(self._number), 60, "a link")

    def _is_connected(self) -> bool:
        return self._store.read_epochs()[self._number.connection_id][1]
