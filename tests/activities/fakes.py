"""Ports as a test wants them: a gateway that answers by script, a store that fails on demand, a model by script."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from boton.domain.gateway import Attempt, GatewayEvent, Outcome, Sent, Unsettled
from boton.domain.messages import Lane
from boton.domain.pacing import PROFILES, Closure, PacingProfile
from boton.domain.sends import Progress
from boton.domain.tools import ToolCall
from boton.ports import Idle, ModelAnswer, NumberPace, OutboxStore, Preview, Prompt, Result

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
        self.also_known_as: dict[str, tuple[str, ...]] = {}
        self.looked_up: list[str] = []
        self.look_ups: deque[Exception] = deque()
        self.typed: list[tuple[str, float]] = []
        self.is_typing = asyncio.Event()
        self.open_wire = asyncio.Event()
        self.open_wire.set()
        self.on_the_wire = asyncio.Event()
        self._held: dict[str, asyncio.Event] = {}
        self.most_at_once = 0
        self._at_once = 0

    async def send_text(self, attempt: Attempt) -> Sent:
        self.tried.append(attempt)
        self.on_the_wire.set()
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self._wait_on_the_wire(attempt)
        finally:
            self._at_once -= 1
        if self.answers:
            raise self.answers.popleft()
        self.wire.append(attempt)
        return Sent(whatsapp_id=f"WA-{len(self.wire)}", at=AT)

    def hold(self, *message_ids: str) -> None:
        self._held.update({message_id: asyncio.Event() for message_id in message_ids})

    def let_go(self, message_id: str) -> None:
        """Of a message that was held."""
        self._held[message_id].set()

    async def _wait_on_the_wire(self, attempt: Attempt) -> None:
        await asyncio.sleep(0)
        await self.open_wire.wait()
        if attempt.message_id in self._held:
            await self._held[attempt.message_id].wait()

    async def find_outcome(self, attempt: Attempt) -> Outcome:
        self.asked.append(attempt)
        outcome = self.outcomes.popleft() if self.outcomes else Unsettled.UNKNOWN
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def open(self, epoch: int) -> None: ...

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        return ()

    async def prove_connected(self) -> None: ...

    async def find_on_whatsapp(self, jid: str) -> Sequence[str]:
        self.looked_up.append(jid)
        if self.look_ups:
            raise self.look_ups.popleft()
        return () if jid in self.absent else (jid, *self.also_known_as.get(jid, ()))

    async def show_typing(self, jid: str, seconds: float) -> None:
        self.typed.append((jid, seconds))
        self.is_typing.set()

    async def watch_typing(self, seconds: float) -> None: ...

    async def log_out(self) -> bool:
        await self.close()
        return True

    async def close(self) -> None: ...


class OutboxBehind:
    """An outbox that passes everything on, for those that differ in one point."""

    def __init__(self, store: OutboxStore) -> None:
        self._store = store

    async def advance_send(
        self,
        send_id: str,
        connection_id: str,
        epoch: int,
        lane: Lane,
        *,
        record: Sequence[Result],
        room: int,
        flows: bool,
        now: datetime,
    ) -> Sequence[Attempt] | Idle:
        return await self._store.advance_send(
            send_id, connection_id, epoch, lane, record=record, room=room, flows=flows, now=now
        )

    async def preview_messages(self, message_ids: Sequence[str]) -> Sequence[Preview]:
        return await self._store.preview_messages(message_ids)

    async def note_recipient(self, message_id: str, known_as: Sequence[str], now: datetime) -> Sequence[str]:
        return await self._store.note_recipient(message_id, known_as, now)

    async def close_slow_lane(
        self, connection_id: str, epoch: int, code: str, until: datetime | None, now: datetime
    ) -> Closure:
        return await self._store.close_slow_lane(connection_id, epoch, code, until, now)

    async def fetch_pace(self, connection_id: str) -> NumberPace:
        return await self._store.fetch_pace(connection_id)

    async def fetch_rank(self, send_id: str, lane: Lane) -> int:
        return await self._store.fetch_rank(send_id, lane)

    async def fetch_progress(self, send_id: str, now: datetime) -> Progress:
        return await self._store.fetch_progress(send_id, now)

    async def claim_message(
        self, message_id: str, connection_id: str, epoch: int, now: datetime, *, flows: bool = False
    ) -> Attempt | Idle | None:
        return await self._store.claim_message(message_id, connection_id, epoch, now, flows=flows)

    async def record_result(self, result: Result, now: datetime) -> None:
        await self._store.record_result(result, now)

    async def list_left_in_flight(self, connection_id: str, epoch: int) -> Sequence[Attempt]:
        return await self._store.list_left_in_flight(connection_id, epoch)


class FailingOutbox(OutboxBehind):
    """Its next `failures` records fail before they reach the store behind it."""

    def __init__(self, store: OutboxStore, error: Exception, failures: int) -> None:
        super().__init__(store)
        self._error = error
        self.failures = failures

    def _fail(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise self._error

    async def advance_send(
        self,
        send_id: str,
        connection_id: str,
        epoch: int,
        lane: Lane,
        *,
        record: Sequence[Result],
        room: int,
        flows: bool,
        now: datetime,
    ) -> Sequence[Attempt] | Idle:
        if record:
            self._fail()
        return await super().advance_send(
            send_id, connection_id, epoch, lane, record=record, room=room, flows=flows, now=now
        )

    async def record_result(self, result: Result, now: datetime) -> None:
        self._fail()
        await super().record_result(result, now)


class InstantOutbox(OutboxBehind):
    """An outbox of sends without a message, which answers without ever yielding to the event loop."""

    async def advance_send(
        self,
        send_id: str,
        connection_id: str,
        epoch: int,
        lane: Lane,
        *,
        record: Sequence[Result],
        room: int,
        flows: bool,
        now: datetime,
    ) -> Sequence[Attempt] | Idle:
        return Idle(why="done")

    async def fetch_pace(self, connection_id: str) -> NumberPace:
        return NumberPace(pacing=PROFILES[PacingProfile.OFF])

    async def fetch_progress(self, send_id: str, now: datetime) -> Progress:
        return Progress(total=0, done=0)


class Watcher:
    """The courier's observer."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.closures: list[Closure] = []
        self.lost = 0
        self.to_look_at: list[str] = []

    def settled(self, result: Result, seconds: float) -> None:
        assert seconds >= 0
        self.results.append(result)

    def refused(self, closure: Closure) -> None:
        self.closures.append(closure)

    def lost_ownership(self) -> None:
        self.lost += 1

    def merged(self, chat_ids: Sequence[str]) -> None:
        self.to_look_at += chat_ids


class ScriptedModel:
    """Answers what the script says of a prompt: a text, calls of tools, or an error to raise."""

    def __init__(self, script: Callable[[Prompt], str | ToolCall | Exception]) -> None:
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
        if isinstance(answer, ToolCall):
            return ModelAnswer(text="", tokens_in=3, tokens_out=5, calls=(answer,))
        return ModelAnswer(text=answer, tokens_in=3, tokens_out=5)

    async def close(self) -> None: ...


class Clock:
    """A clock that stands still unless a test moves it."""

    def __init__(self, now: datetime = AT) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now
