"""Ports of the worker whose use is counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from boton.clock import utc_now
from boton.domain.conversations import TurnStatus
from boton.domain.pacing import refusal_label
from boton.errors import ModelError, ModelMalformed, ModelMisconfigured
from boton.ports import AssistantStore, ChatStep, ConnectionStore, LanguageModel, ModelAnswer, Prompt, WorkStore
from boton.store.engine import Database
from boton.store.turns import SqlTurnStore
from boton.telemetry import Metrics
from workers.running import log, sleep_until

_LOOK_EVERY = 15.0


async def watch_queue_age(work: WorkStore, metrics: Metrics, stop: asyncio.Event) -> None:
    """Keeps the queue's age told until the stop."""
    while not stop.is_set():
        try:
            metrics.set_queue_age(await work.fetch_queue_age(utc_now()))
        except Exception as error:  # noqa: BLE001 - the next look tells
            log.warning("queue age unknown", extra={"reason": type(error).__name__})
        await sleep_until(stop, _LOOK_EVERY)


async def watch_numbers(connections: ConnectionStore, metrics: Metrics, stop: asyncio.Event) -> None:
    """Keeps it told how the numbers are, also those that no link process speaks for."""
    while not stop.is_set():
        try:
            active, now = await connections.list_active_connections(), utc_now()
            metrics.set_numbers(Counter(one.as_seen(now).status.value for one in active))
            closures = [one.slow_lane_closed(now) for one in active]
            metrics.set_lanes_closed(Counter(refusal_label(one.code) for one in closures if one is not None))
        except Exception as error:  # noqa: BLE001 - the next look tells
            log.warning("numbers unknown", extra={"reason": type(error).__name__})
        await sleep_until(stop, _LOOK_EVERY)


class MeasuredTurns(SqlTurnStore):
    """The store's turns, counted by how they end."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        super().__init__(database)
        self._metrics = metrics

    async def record_answer(
        self, turn_id: str, number: int, answer: ModelAnswer, parts: Sequence[str], now: datetime
    ) -> ChatStep:
        step = await super().record_answer(turn_id, number, answer, parts, now)
        if step.state != "run":
            self._metrics.count_turn(TurnStatus.DROPPED if step.state == "think" else TurnStatus.CLOSED)
        return step

    async def fail_turn(self, turn_id: str, code: str, detail: str, now: datetime) -> None:
        await super().fail_turn(turn_id, code, detail, now)
        self._metrics.count_turn(TurnStatus.DROPPED)


class WatchedModel:
    """A language model of which `/status` tells when nothing works until a setting is changed."""

    def __init__(self, model: LanguageModel, store: AssistantStore) -> None:
        self._model = model
        self._store = store
        self._told: str | None = ""

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        try:
            answer = await self._model.answer(prompt)
        except ModelMisconfigured as error:
            await self._tell(error.detail)
            raise
        await self._tell(None)
        return answer

    async def close(self) -> None:
        await self._model.close()

    async def _tell(self, problem: str | None) -> None:
        """A store that fails must not keep the customer waiting."""
        if problem == self._told:
            return
        try:
            await self._store.note_assistant(problem, utc_now())
            self._told = problem
        except Exception as error:  # noqa: BLE001 - the next answer tells
            log.warning("state of the language model not noted", extra={"reason": type(error).__name__})


class MeasuredModel:
    """A language model whose calls, errors, tokens and durations are counted."""

    def __init__(self, model: LanguageModel, metrics: Metrics) -> None:
        self._model = model
        self._metrics = metrics

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        began = time.monotonic()
        try:
            answer = await self._model.answer(prompt)
        except ModelError as error:
            paid = (error.tokens_in, error.tokens_out) if isinstance(error, ModelMalformed) else (0, 0)
            self._metrics.count_model_error(error.code, time.monotonic() - began, *paid)
            raise
        self._metrics.count_model_answer(time.monotonic() - began, answer.tokens_in, answer.tokens_out)
        return answer

    async def close(self) -> None:
        await self._model.close()
