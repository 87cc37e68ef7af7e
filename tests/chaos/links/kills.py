"""Kills links, one each second, and notes when each number is back."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.whatsapp.played import PlayedNumber, Premises
from tests.whatsapp.stored import PlayedStore

_LOOK_EVERY = 0.05


@dataclass(slots=True)
class Kill:
    """Times are of the monotonic clock. epoch: the number's at the kill; the link that comes back has a higher one.
    connected: whether the link was. back_at: when the store said `connected` again. again: killed again before that.
    """

    number: PlayedNumber
    at: float
    epoch: int
    connected: bool
    back_at: float | None = None
    again: bool = False

    @property
    def away(self) -> float | None:
        return None if self.back_at is None else self.back_at - self.at


class Kills:
    def __init__(self, premises: Premises, numbers: Sequence[PlayedNumber]) -> None:
        self._premises = premises
        self._numbers = numbers
        self._store = PlayedStore(premises.store_url)
        self._seen: Mapping[str, tuple[int, bool]] = {}
        self._over, self._changing = threading.Event(), threading.Lock()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self.all: list[Kill] = []

    def begin(self) -> None:
        """From now on it is noted who is back."""
        self._watching.start()

    def end(self) -> None:
        self._over.set()
        self._watching.join()
        self._store.close()

    @property
    def are_connected(self) -> bool:
        """Whether every number is, with none that was killed and is not back."""
        seen = [self._seen.get(one.connection_id, (0, False))[1] for one in self._numbers]
        return all(seen) and all(kill.back_at for kill in self.all)

    def strike(self, victims: Sequence[int], say: Callable[[str], None]) -> None:
        """One each second, whether the one before is back or not."""
        began = time.monotonic()
        for second, place in enumerate(victims):
            time.sleep(max(0.0, began + second - time.monotonic()))
            say(f"{second + 1}/{len(victims)} link {self._kill(place)}")

    def _kill(self, place: int) -> int:
        """The place of the number whose link it was."""
        while True:
            for step in range(len(self._numbers)):
                at = (place + step) % len(self._numbers)
                if (link := self._premises.find_link(self._numbers[at])) and self._strike_down(link, self._numbers[at]):
                    return at
            time.sleep(_LOOK_EVERY)

    def _strike_down(self, link: int, number: PlayedNumber) -> bool:
        """False where it has ended meanwhile. Frozen first, so that no next link has begun when the epoch is read."""
        with self._changing, contextlib.suppress(ProcessLookupError):
            os.kill(link, signal.SIGSTOP)
            epoch, _ = self._store.read_epochs()[number.connection_id]
            now = time.monotonic()
            os.kill(link, signal.SIGKILL)
            away = [kill for kill in self.all if kill.number is number and kill.back_at is None]
            for kill in away:
                kill.again = True
            self.all.append(Kill(number=number, at=now, epoch=epoch, connected=not away))
            return True
        return False

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            with self._changing:
                self._seen = self._store.read_epochs()
                now = time.monotonic()
                for kill in self.all:
                    epoch, connected = self._seen[kill.number.connection_id]
                    if kill.back_at is None and connected and epoch > kill.epoch:
                        kill.back_at = now
