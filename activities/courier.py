"""One attempt from the claim to the record, through the gateway of one phone number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from boton.domain.gateway import Attempt, Sent, Unsettled
from boton.domain.messages import MessageError, MessageStatus
from boton.errors import (
    ConnectionAway,
    NumberRefused,
    OutcomeUnknown,
    RecipientRefused,
    SessionReplaced,
    StaleEpoch,
)
from boton.ports import Idle, OutboxStore, Result, WhatsAppGateway

_ASK_TRIES = 8
_ASK_FIRST_SECONDS = 0.25

UNCONFIRMED = MessageError(
    code="unconfirmed",
    detail="nothing tells whether it left; it is not sent again by itself, so that nobody gets it twice",
)


class Observer(Protocol):
    """Is told what became of attempts: metrics, and the link that must end when it lost the number."""

    def settled(self, result: Result, seconds: float) -> None: ...
    def lost_ownership(self) -> None: ...


class Stop:
    """Asks a running batch to end at its next message."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def sleep(self, seconds: float) -> None:
        """Sleeps, but no longer than until the stop."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return


class Courier:
    """Claims, delivers and records for one connection under one epoch. `clock` answers the present in UTC."""

    def __init__(
        self,
        gateway: WhatsAppGateway,
        outbox: OutboxStore,
        *,
        connection_id: str,
        epoch: int,
        observer: Observer,
        clock: Callable[[], datetime],
    ) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._connection_id = connection_id
        self._epoch = epoch
        self._observer = observer
        self._clock = clock

    async def advance(self, send_id: str) -> Attempt | Idle:
        """Claims the next message of a send."""
        return await self._outbox.advance_send(
            send_id, self._connection_id, self._epoch, record=None, now=self._clock()
        )

    async def record_and_advance(self, send_id: str, result: Result) -> Attempt | Idle:
        """Records, and claims the next in the same transaction. Tries until the record is on disk."""
        try:
            step = await self._outbox.advance_send(
                send_id, self._connection_id, self._epoch, record=result, now=self._clock()
            )
        except Exception:
            await self.record(result)
            raise
        if isinstance(step, Idle) and step.why == "not_owner":
            self._observer.lost_ownership()
        return step

    async def claim(self, message_id: str) -> Attempt | None:
        try:
            return await self._outbox.claim_message(message_id, self._connection_id, self._epoch, self._clock())
        except StaleEpoch:
            self._observer.lost_ownership()
            raise

    async def record(self, result: Result) -> None:
        """Records a result, and does not give up while the store is busy: what was sent must be written down."""
        pause = 0.1
        while True:
            try:
                await self._outbox.record_result(result, self._clock())
                return
            except Exception:
                if pause > 60:
                    raise
                await asyncio.sleep(pause)
                pause *= 2

    async def deliver(self, attempt: Attempt) -> Result:
        """Sends one claimed attempt and tells how it ended. Never raises for what a gateway may answer."""
        began = self._clock()
        result = await self._deliver(attempt)
        self._observer.settled(result, (self._clock() - began).total_seconds())
        return result

    async def settle(self, attempt: Attempt) -> Result | None:
        """What became of an attempt that a crash or a lost answer left open; None: it cannot be asked now.

        An `unconfirmed` one that the gateway knows was never sent fails: it is too late to send it.
        """
        try:
            outcome = await self._gateway.find_outcome(attempt)
        except ConnectionAway:
            return None
        return _to_result(attempt, outcome)

    async def _deliver(self, attempt: Attempt) -> Result:
        try:
            sent = await self._gateway.send_text(attempt)
        except ConnectionAway:
            return Result(attempt=attempt, status=MessageStatus.QUEUED)
        except SessionReplaced:
            self._observer.lost_ownership()
            return Result(attempt=attempt, status=MessageStatus.QUEUED)
        except (RecipientRefused, NumberRefused) as error:
            failure = MessageError(code=error.code, detail=error.detail)
            return Result(attempt=attempt, status=MessageStatus.FAILED, error=failure)
        except OutcomeUnknown:
            return await self._ask(attempt)
        return Result(attempt=attempt, status=MessageStatus.SENT, sent=sent)

    async def _ask(self, attempt: Attempt) -> Result:
        pause = _ASK_FIRST_SECONDS
        for _ in range(_ASK_TRIES):
            result = await self.settle(attempt)
            if result is not None:
                return result
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
        return Result(attempt=attempt, status=MessageStatus.UNCONFIRMED, error=UNCONFIRMED)


def _to_result(attempt: Attempt, outcome: Sent | Unsettled) -> Result:
    match outcome:
        case Sent() as sent:
            return Result(attempt=attempt, status=MessageStatus.SENT, sent=sent)
        case Unsettled.NOT_SENT:
            return Result(attempt=attempt, status=MessageStatus.QUEUED)
        case _:
            return Result(attempt=attempt, status=MessageStatus.UNCONFIRMED, error=UNCONFIRMED)
