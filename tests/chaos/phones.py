"""The customers' phones: what they write, once each, and what has reached them."""

from __future__ import annotations

import time
from typing import Any

from tests.chaos.patient import Patient

_LOOK_EVERY = 0.5
_ANSWER_SECONDS = 25.0
"""After which a customer waits no longer: the answer comes when the sweeper has seen that it is owed."""


class Phones:
    """`simulator`: where they are; `business`: the number that they write to."""

    def __init__(self, simulator: Patient, business: str) -> None:
        self._simulator = simulator
        self._business = business

    def write(self, number: str, text: str) -> None:
        """The simulator knows no keys: after a lost answer its phone shows whether the text was written."""
        body = {"to": self._business, "text": text}
        while not any(message["text"] == text for message in self._messages(number)):
            answer = self._simulator.try_once("POST", f"/phones/{number}/messages", json=body)
            if answer is not None:
                assert answer.status_code == 201, answer.text
                return

    def await_text(self, number: str, words: str, seconds: float = _ANSWER_SECONDS) -> bool:
        """Whether something with these words reaches the phone in that time."""
        deadline = time.monotonic() + seconds
        while not (arrived := self._has_received(number, words)) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY)
        return arrived

    def _has_received(self, number: str, words: str) -> bool:
        return any(message["to"] == number and words in message["text"] for message in self._messages(number))

    def _messages(self, number: str) -> list[dict[str, Any]]:
        return list(self._simulator.fetch(f"/phones/{number}/messages")["messages"])
