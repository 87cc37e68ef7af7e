"""Messages that keep going in while something is done to the stack, and the account of what became of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.talk import Numbers, answers
from tests.acceptance.waiting import wait_for

T = TypeVar("T")
_PAUSE = 0.2


class Traffic:
    """A program that sends through the API and customers who write, each message to or from a number of its own.

    Both try again only after a refused connection: then nobody can have taken the message. After any other failure
    they cannot know, and the message is doubtful: it may arrive once or not at all.
    """

    def __init__(self, api: Api, simulator: Simulator, numbers: Numbers) -> None:
        self.accepted: dict[str, str] = {}  # text: send id
        self.asked: dict[str, str] = {}  # text: number
        self.doubtful: list[str] = []
        self._api = api
        self._simulator = simulator
        self._numbers = numbers
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._problems: list[Exception] = []

    @contextmanager
    def going_in(self) -> Iterator[None]:
        """Starts both; at the end they stop, and whatever they stumbled over is raised."""
        threads = [threading.Thread(target=self._repeat, args=(step,)) for step in (self._send, self._ask)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        assert self._problems == []

    def await_more(self, seconds: float = 120) -> None:
        """Until two more sends were accepted and one more customer wrote."""
        sent, asked = len(self.accepted), len(self.asked)
        wait_for(
            lambda: (len(self.accepted) >= sent + 2 and len(self.asked) > asked) or self._problems,
            seconds,
            "traffic",
        )

    def await_settled(self, seconds: float) -> None:
        """Until every accepted message has reached its phone and every customer has an answer."""
        wait_for(lambda: not self.missing(), seconds, "all that was accepted")

    def missing(self) -> list[str]:
        """What did not arrive, or was not answered, yet."""
        copies = self._simulator.copies(*self.accepted)
        unsent = [text for text, count in copies.items() if count == 0]
        return unsent or [text for text, number in self.asked.items() if not answers(self._simulator, number, text)]

    def unsettled_sends(self) -> list[str]:
        """Sends of which the API does not say that they were delivered."""
        return [text for text, send_id in self.accepted.items() if not self._api.are_delivered(send_id)]

    def repeated(self) -> Counter[str]:
        """What reached a phone, or was answered, more than once."""
        copies = self._simulator.copies(*self.accepted, *self.doubtful)
        replies = Counter({text: len(self._simulator.received(number)) for text, number in self.asked.items()})
        return Counter({text: count for text, count in (copies + replies).items() if count > 1})

    def _repeat(self, step: Callable[[], None]) -> None:
        while not self._stop.wait(_PAUSE):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - going_in shows it
                self._problems.append(error)
                return

    def _send(self) -> None:
        number = self._next_number()
        text = f"aviso para {number}"
        accepted = self._try(lambda: self._api.send(number, message=text), text)
        if accepted is not None:
            self.accepted[text] = accepted["id"]

    def _ask(self) -> None:
        number = self._next_number()
        text = f"pregunta de {number}"
        if self._try(lambda: self._simulator.write(number, text), text) is not None:
            self.asked[text] = number

    def _try(self, step: Callable[[], T], text: str) -> T | None:
        while True:
            try:
                return step()
            except httpx.ConnectError:
                if self._stop.wait(_PAUSE):
                    return None
            except httpx.TransportError:
                self.doubtful.append(text)
                return None

    def _next_number(self) -> str:
        with self._lock:
            return self._numbers.next()
