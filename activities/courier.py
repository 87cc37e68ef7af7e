"""One attempt from the claim to the record, through the gateway of one phone number."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from boton.domain.gateway import Attempt, Sent, Unsettled
from boton.domain.messages import MessageError, MessageStatus
from boton.errors import (
    BotonError,
    ConnectionAway,
    NumberRefused,
    OutcomeUnknown,
    RecipientRefused,
    SessionReplaced,
    StaleEpoch,
)
from boton.ports import Idle, OutboxStore, Result, WhatsAppGateway

log = logging.getLogger(__name__)

_ASK_TRIES = 8
_ASK_FIRST_SECONDS = 0.25
_ASK_LONGEST_SECONDS = 5.0
_RECORD_FIRST_SECONDS = 0.1
_RECORD_LONGEST_SECONDS = 5.0
_NOT_OWNER = Idle(why="not_owner")

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
        self._lost = False
        self._under_way: set[str] = set()

    async def advance(self, send_id: str) -> Attempt | Idle:
        """Claims the next message of a send; nothing once the number is lost."""
        return _NOT_OWNER if self._lost else await self._advance(send_id, None)

    async def record_and_advance(self, send_id: str, result: Result) -> Attempt | Idle:
        """Records, and claims the next in the same transaction. Tries until the record is on disk."""
        if self._lost:
            await self.record(result)
            return _NOT_OWNER
        try:
            step = await self._advance(send_id, result)
        except Exception:
            await self.record(result)
            raise
        self._under_way.discard(result.attempt.id)
        return step

    async def claim(self, message_id: str) -> Attempt | None:
        """Claims one message; None when it is not due any more. Raises StaleEpoch once the number is lost."""
        if self._lost:
            raise StaleEpoch(self._connection_id, self._epoch)
        try:
            attempt = await self._outbox.claim_message(message_id, self._connection_id, self._epoch, self._clock())
        except StaleEpoch:
            self._lose()
            raise
        if attempt is not None:
            self._under_way.add(attempt.id)
        return attempt

    async def record(self, result: Result) -> None:
        """Records a result, and does not give up while the store fails: what was sent must be written down."""
        pause = _RECORD_FIRST_SECONDS
        while True:
            try:
                await self._outbox.record_result(result, self._clock())
                break
            except BotonError:
                self._under_way.discard(result.attempt.id)
                raise
            except Exception as error:  # noqa: BLE001 - whatever the store's driver raises
                extra = {"message_id": result.attempt.message_id, "reason": type(error).__name__}
                log.warning("result not recorded yet", extra=extra)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RECORD_LONGEST_SECONDS)
        self._under_way.discard(result.attempt.id)

    def is_under_way(self, attempt: Attempt) -> bool:
        """Whether this process claimed it and has not recorded yet how it ended."""
        return attempt.id in self._under_way

    async def deliver(self, attempt: Attempt) -> Result:
        """Sends one claimed attempt and tells how it ended, whatever the gateway answers.

        Raises SessionReplaced when nobody here can tell any more: the number's next owner asks and records.
        """
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

    async def _advance(self, send_id: str, record: Result | None) -> Attempt | Idle:
        step = await self._outbox.advance_send(
            send_id, self._connection_id, self._epoch, record=record, now=self._clock()
        )
        if isinstance(step, Attempt):
            self._under_way.add(step.id)
        elif step.why == _NOT_OWNER.why:
            self._lose()
        return step

    def _lose(self) -> None:
        """Another link owns the number: nothing is claimed from here any more."""
        self._lost = True
        self._observer.lost_ownership()

    async def _deliver(self, attempt: Attempt) -> Result:
        try:
            sent = await self._gateway.send_text(attempt)
        except ConnectionAway:
            return Result(attempt=attempt, status=MessageStatus.QUEUED)
        except SessionReplaced:
            self._lose()
            return Result(attempt=attempt, status=MessageStatus.QUEUED)
        except (RecipientRefused, NumberRefused) as error:
            failure = MessageError(code=error.code, detail=error.detail)
            return Result(attempt=attempt, status=MessageStatus.FAILED, error=failure)
        except OutcomeUnknown:
            return await self._ask(attempt)
        except Exception:
            log.exception("gateway failed", extra={"message_id": attempt.message_id})
            return await self._ask(attempt)
        return Result(attempt=attempt, status=MessageStatus.SENT, sent=sent)

    async def _ask(self, attempt: Attempt) -> Result:
        pause = _ASK_FIRST_SECONDS
        for _ in range(_ASK_TRIES):
            result = await self._settle_own(attempt)
            if result is not None:
                return result
            await asyncio.sleep(pause)
            pause = min(pause * 2, _ASK_LONGEST_SECONDS)
        return Result(attempt=attempt, status=MessageStatus.UNCONFIRMED, error=UNCONFIRMED)

    async def _settle_own(self, attempt: Attempt) -> Result | None:
        try:
            return await self.settle(attempt)
        except SessionReplaced:
            self._under_way.discard(attempt.id)
            self._lose()
            raise


def _to_result(attempt: Attempt, outcome: Sent | Unsettled) -> Result:
    match outcome:
        case Sent() as sent:
            return Result(attempt=attempt, status=MessageStatus.SENT, sent=sent)
        case Unsettled.NOT_SENT:
            return Result(attempt=attempt, status=MessageStatus.QUEUED)
        case _:
            return Result(attempt=attempt, status=MessageStatus.UNCONFIRMED, error=UNCONFIRMED)
