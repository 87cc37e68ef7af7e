"""A slow language model behind a real HTTP server, which now and then refuses, fails or hangs up."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import count
from random import Random

from tests.chaos.chats.script import respond
from tests.llm.server import Behaviour, Handler, answers, breaks_off, hangs_up, model_server

_THINKS = (0.3, 2.0)
"""Seconds."""

_ERROR = {"error": {"message": "not now", "type": "server_error"}}
_MOODS: tuple[Behaviour, ...] = (
    answers(_ERROR, 429, {"Retry-After": "1"}),
    answers(_ERROR, 503),
    hangs_up,
    breaks_off,
)
_MOODY = 0.1
"""Of the requests."""


class Outcome(StrEnum):
    """GONE: nobody listened any more when the answer was ready."""

    ANSWERED = "answered"
    REFUSED = "refused"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, for the answer `round` of a turn. began: by the wall clock."""

    turn: str
    round: int
    began: float
    outcome: Outcome


class SlowModel:
    """asked: every request that has ended."""

    def __init__(self, url: str, random: Random) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self._random = random
        self._numbers = count(1)
        self._open: set[int] = set()
        self._lock = threading.Lock()

    @property
    def settings(self) -> dict[str, str]:
        """Of a stack that speaks with it."""
        return {"LLM_BASE_URL": self.url, "LLM_API_KEY": "de prueba", "LLM_MODEL": "lento"}

    @property
    def is_thinking(self) -> bool:
        return bool(self._open)

    def behave(self, handler: Handler) -> None:
        number, seconds, moody = self._begin()
        began = time.time()
        time.sleep(seconds)
        try:
            outcome = self._answer(handler, number, moody)
        except OSError:
            outcome, handler.close_connection = Outcome.GONE, True
        turn, round, _ = handler.headers["Idempotency-Key"].rsplit("-", 2)
        self._open.discard(number)
        self.asked.append(Asked(turn=turn, round=int(round), began=began, outcome=outcome))

    def _begin(self) -> tuple[int, float, Behaviour | None]:
        with self._lock:
            number = next(self._numbers)
            self._open.add(number)
            moody = self._random.choice(_MOODS) if self._random.random() < _MOODY else None
            return number, self._random.uniform(*_THINKS), moody

    def _answer(self, handler: Handler, number: int, moody: Behaviour | None) -> Outcome:
        if _has_hung_up(handler.connection):
            handler.close_connection = True
            return Outcome.GONE
        (moody or respond(handler.asked, number, datetime.now(UTC)))(handler)
        return Outcome.REFUSED if moody else Outcome.ANSWERED


@contextmanager
def slow_model(seed: int) -> Iterator[SlowModel]:
    """It runs in this process, which no blow meets."""
    with model_server() as server:
        model = SlowModel(server.url, Random(f"model:{seed}"))
        server.behave = model.behave
        yield model


def _has_hung_up(connection: socket.socket) -> bool:
    """Whoever waits for an answer sends nothing more; who is dead, an end."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
