"""Customers who write to the bot, many at once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import cycle

from tests.chaos.chats.plan import Question, Talk
from tests.chaos.patient import Patient
from tests.chaos.phones import Phones
from tests.chaos.traffic import Traffic

_AT_ONCE = 48
_OPENING_SECONDS = 40.0
"""After which the customer of an instruction writes first."""


class Talks:
    """openings: who carries out the instructions. problems: what may not happen."""

    def __init__(self, api: Patient, phones: Phones, openings: Traffic) -> None:
        self._api = api
        self._phones = phones
        self._openings = openings
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="talks")
        self._futures: list[Future[None]] = []
        self._typing = cycle((True, False, False))
        self.problems: list[str] = []

    def release(self, talks: Iterable[Talk]) -> None:
        """For a third of the time replies are typed, one after the other: it would be too slow for all of them."""
        self._futures.append(self._threads.submit(self._set_typing, next(self._typing)))
        self._futures += [self._threads.submit(self._have, talk) for talk in talks]

    def await_end(self) -> None:
        """Until every customer has written everything."""
        wait(self._futures)

    def abandon(self) -> None:
        """Ends, and drops what was not begun."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _set_typing(self, on: bool) -> None:
        self._api.request("POST", "/config", json={"pacing": {"profile": "off", "typing": on}})

    def _have(self, talk: Talk) -> None:
        try:
            self._open(talk)
            self._write(talk)
        except Exception as error:  # noqa: BLE001 - the report tells it
            self.problems.append(f"{talk.number}: {type(error).__name__}: {error}")

    def _open(self, talk: Talk) -> None:
        if talk.opening is not None:
            self._openings.do(talk.opening)
            self._phones.await_text(talk.number, talk.opening.letters[0].code, _OPENING_SECONDS)

    def _write(self, talk: Talk) -> None:
        before: Question | None = None
        for question in talk.questions:
            if question.wait is not None:
                time.sleep(question.wait)
            elif before is not None:
                self._phones.await_text(talk.number, before.code)
            self._phones.write(talk.number, question.text)
            before = question
