"""Ports as a test wants them: a gateway that answers by script, a store that fails on demand, a model by script."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from boton.domain.gateway import Attempt, GatewayEvent, Outcome, Sent, Unsettled
from boton.ports import Idle, ModelAnswer, OutboxStore, Prompt, Result

AT = datetime(2026, 3, 2, 15, 0, 5, tzinfo=UTC)


class ScriptedGateway:
    """Each `send_text` takes the next answer of the script (an error to raise); with none left it sends.

    `wire` is what left, in order. While `open_wire` is clear an attempt waits on the wire. `absent`: the JIDs of those
    who are not on WhatsApp.
    """

    def __init__(self, *answers: Exception) -> None:
        self.answers = deque(answers)
        self.outcomes: deque[Outcome | Exception] = deque()
        self.asked: list[Attempt] = []
        self.tried: list[Attempt] = []
        self.wire: list[Attempt] = []
        self.absent: set[str] = set()
        self.open_wire = asyncio.Event()
        self.open_wire.set()
        self.on_the_wire = asyncio.Event()

    async def send_text(self, attempt: Attempt) -> Sent:
        self.tried.append(attempt)
        self.on_the_wire.set()
        await self.open_wire.wait()
        if self.answers:
            raise self.answers.popleft()
        self.wire.append(attempt)
        return Sent(whatsapp_id=f"WA-{len(self.wire)}", at=AT)

    async def find_outcome(self, attempt: Attempt) -> Outcome:
        self.asked.append(attempt)
        outcome = self.outcomes.popleft() if self.outcomes else Unsettled.UNKNOWN
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def open(self, epoch: int) -> None: ...

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        return ()

    async def is_on_whatsapp(self, jid: str) -> bool:
        return jid not in self.absent

    async def show_typing(self, jid: str, seconds: float) -> None: ...

    async def close(self) -> None: ...


class FailingOutbox:
    """An outbox whose next `failures` records fail before they reach the store behind it."""

    def __init__(self, store: OutboxStore, error: Exception, failures: int) -> None:
        self._store = store
        self._error = error
        self.failures = failures

    def _fail(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise self._error

    async def advance_send(
        self, send_id: str, connection_id: str, epoch: int, *, record: Result | None, now: datetime
    ) -> Attempt | Idle:
        if record is not None:
            self._fail()
        return await self._store.advance_send(send_id, connection_id, epoch, record=record, now=now)

    async def claim_message(self, message_id: str, connection_id: str, epoch: int, now: datetime) -> Attempt | None:
        return await self._store.claim_message(message_id, connection_id, epoch, now)

    async def record_result(self, result: Result, now: datetime) -> None:
        self._fail()
        await self._store.record_result(result, now)

    async def list_left_in_flight(self, connection_id: str, epoch: int) -> Sequence[Attempt]:
        return await self._store.list_left_in_flight(connection_id, epoch)


class InstantOutbox:
    """An outbox of one send without a message, which answers without ever yielding to the event loop."""

    def __init__(self) -> None:
        self.asked = 0

    async def advance_send(
        self, send_id: str, connection_id: str, epoch: int, *, record: Result | None, now: datetime
    ) -> Attempt | Idle:
        self.asked += 1
        return Idle(why="done")

    async def claim_message(self, message_id: str, connection_id: str, epoch: int, now: datetime) -> Attempt | None:
        return None

    async def record_result(self, result: Result, now: datetime) -> None: ...

    async def list_left_in_flight(self, connection_id: str, epoch: int) -> Sequence[Attempt]:
        return ()


class Watcher:
    """The courier's observer."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.lost = 0

    def settled(self, result: Result, seconds: float) -> None:
        assert seconds >= 0
        self.results.append(result)

    def lost_ownership(self) -> None:
        self.lost += 1


class ScriptedModel:
    """Answers what the script says of a prompt: a text, or an error to raise."""

    def __init__(self, script: Callable[[Prompt], str | Exception]) -> None:
        self._script = script
        self.asked: list[Prompt] = []
        self.thinking = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        self.asked.append(prompt)
        self.thinking.set()
        await self.may_answer.wait()
        answer = self._script(prompt)
        if isinstance(answer, Exception):
            raise answer
        return ModelAnswer(text=answer, tokens_in=3, tokens_out=5)

    async def close(self) -> None: ...


class Clock:
    """A clock that stands still unless a test moves it."""

    def __init__(self, now: datetime = AT) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now
