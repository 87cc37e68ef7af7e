"""Customers who write, and the times at which the bot's replies reached their phones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from bench.progress import wait_for
from bench.rest import Rest
from bench.stack import Stack

QUESTION = "Hola, ¿tienen turno mañana?"
_AT_ONCE = 10_000
_FIRST_LOOK = 0.1


class Phones:
    """The simulated network, seen from the customers' side."""

    def __init__(self, stack: Stack) -> None:
        self._simulator = stack.simulator()
        self._business = stack.phone
        self._seen = 0
        self._read_new()

    def ask(self, number: str) -> float:
        """One customer writes; the moment before."""
        began = time.time()
        self._simulator.post(f"/phones/{number}/messages", {"to": self._business, "text": QUESTION})
        return began

    def wait_for_replies(self, count: int, seconds: float) -> list[tuple[str, float]]:
        """So many deliveries that were not read yet: to whom, and when. When is the network's to say: looking often
        would only cost what is measured the time of a processor.
        """
        replies: list[tuple[str, float]] = []

        def enough() -> bool:
            replies.extend(self._read_new())
            return len(replies) >= count

        time.sleep(_FIRST_LOOK)
        wait_for(enough, seconds, f"{count} replies", every=0.05 if count == 1 else 0.25)
        return replies

    def _read_new(self) -> Sequence[tuple[str, float]]:
        ledger = self._simulator.get(f"/ledger?after={self._seen}&limit={_AT_ONCE}")["deliveries"]
        self._seen = max((one["seq"] for one in ledger), default=self._seen)
        return [(one["to"], datetime.fromisoformat(one["timestamp"]).timestamp()) for one in ledger]


def let_bot_answer(api: Rest) -> None:
    """At once, without waiting for the customer to be quiet."""
    api.post("/config", {"botNewChats": True, "debounceSeconds": 0})
