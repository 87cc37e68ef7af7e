"""Conversations of tests: whose phone, what the bot answered, and when everything before is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from tests.acceptance.api import Api
from tests.acceptance.simulator import Simulator
from tests.acceptance.waiting import wait_for

ANSWER_SECONDS = 60.0
"""Far more than an answer takes: the machine may be busy with other tests."""


GREETING = timedelta(seconds=3.2)
"""What appears on the business's phone so soon after a chat's first message is WhatsApp's own greeting, no human."""


class Numbers:
    """Numbers of one test: `series` keeps them apart from those of others."""

    def __init__(self, series: int) -> None:
        self._series = series
        self._count = count(1)

    def next(self) -> str:
        return f"54911{self._series:03}{next(self._count):05}"

    def take(self, how_many: int) -> list[str]:
        return [self.next() for _ in range(how_many)]


def answers(simulator: Simulator, number: str, text: str) -> list[str]:
    """What reached that phone and quotes that text, as the offline assistant does."""
    return [received for received in simulator.received(number) if f"«{text}»" in received]


def await_answer(simulator: Simulator, number: str, text: str, seconds: float = ANSWER_SECONDS) -> str:
    """The bot's answer to that message of that customer."""
    return wait_for(lambda: answers(simulator, number, text), seconds, f"the answer to {text!r}")[0]


def await_delivered(api: Api, send_id: str, seconds: float = ANSWER_SECONDS) -> None:
    """Until the send is finished and every message of it has reached its phone, as the API tells."""
    wait_for(lambda: api.is_finished(send_id), seconds, f"the end of send {send_id}")
    wait_for(lambda: api.are_delivered(send_id), seconds, f"receipts for send {send_id}")


def await_stored(api: Api, number: str, text: str) -> None:
    """Until the message is in its chat; with it is decided whether the bot answers it."""
    stored = {"text": text}.items()
    wait_for(
        lambda: any(stored <= message.items() for message in api.messages(number)), ANSWER_SECONDS, f"{text!r} stored"
    )


def let_pass(simulator: Simulator, newcomer: str) -> None:
    """Until a customer who writes now is answered: what was to be answered before that has been, too."""
    simulator.write(newcomer, "¿ya está?")
    await_answer(simulator, newcomer, "¿ya está?")


def outlive_greeting(simulator: Simulator, number: str) -> None:
    """Until the chat's first message is old enough for a human to be told from WhatsApp's greeting."""
    first = datetime.fromisoformat(simulator.messages(number)[0]["timestamp"])
    wait_for(lambda: datetime.now(UTC) > first + GREETING, 2 * GREETING.total_seconds(), "the greeting's time")
