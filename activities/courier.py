"""One attempt from the claim to the record, through the gateway of one phone number."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from boton.domain.gateway import Attempt, Sent, Unsettled
from boton.domain.messages import Lane, MessageError, MessageStatus
from boton.domain.pacing import REACHOUT, Closure
from boton.domain.sends import Progress
from boton.errors import (
    BotonError,
    ConnectionAway,
    NumberRefused,
    OutcomeUnknown,
    RecipientRefused,
    RefusedForNow,
    SessionReplaced,
    StaleEpoch,
)
from boton.ports import Idle, OutboxStore, Preview, Result, WhatsAppGateway

log = logging.getLogger(__name__)

_ASK_TRIES = 8
_ASK_FIRST_SECONDS = 0.25
_ASK_LONGEST_SECONDS = 5.0
_RECORD_FIRST_SECONDS = 0.1
_RECORD_LONGEST_SECONDS = 5.0
_REFUSED_AGAIN = timedelta(seconds=30)
_NOT_OWNER = Idle(why="not_owner")

UNCONFIRMED = MessageError(
    code="unconfirmed",
    detail="nothing tells whether it left; it is not sent again by itself, so that nobody gets it twice",
)


class Observer(Protocol):
    """Is told what became of attempts: metrics, the link that must end when it lost the number, and the chats that are
    to be looked at since two of them have become one.
    """

    def settled(self, result: Result, seconds: float) -> None: ...
    def refused(self, closure: Closure) -> None: ...
    def lost_ownership(self) -> None: ...
    def merged(self, chat_ids: Sequence[str]) -> None: ...


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

    async def advance(
        self, send_id: str, lane: Lane, *, record: Sequence[Result] = (), room: int = 1, flows: bool = False
    ) -> Sequence[Attempt] | Idle:
        """Records results, and claims at most `room` further messages of a send in the same transaction; none once
        the number is lost, and while it `flows` none once the lane is paced. Tries until the records are on disk.
        """
        if self._lost:
            await self.record_all(record)
            return _NOT_OWNER
        try:
            step = await self._outbox.advance_send(
                send_id,
                self._connection_id,
                self._epoch,
                lane,
                record=record,
                room=room,
                flows=flows,
                now=self._clock(),
            )
        except Exception:
            await self.record_all(record)
            raise
        self._under_way.difference_update(result.attempt.id for result in record)
        if not isinstance(step, Idle):
            self._under_way.update(attempt.id for attempt in step)
        elif step.why == _NOT_OWNER.why:
            self._lose()
        return step

    async def look_up(self, message_id: str, jid: str) -> bool:
        """Whether the recipient of a queued message is on WhatsApp; the message of one who is not has failed then.

        Raises ConnectionAway, SessionReplaced.
        """
        try:
            known_as = await self._gateway.find_on_whatsapp(jid)
        except SessionReplaced:
            self._lose()
            raise
        if due := await self._outbox.note_recipient(message_id, known_as, self._clock()):
            self._observer.merged(due)
        return bool(known_as)

    async def show_typing(self, jid: str, seconds: float) -> None:
        """A nicety that never fails."""
        await self._gateway.show_typing(jid, seconds)

    async def preview(self, message_ids: Sequence[str]) -> Sequence[Preview]:
        """Those of them that are queued still."""
        return await self._outbox.preview_messages(message_ids)

    async def fetch_progress(self, send_id: str) -> Progress:
        return await self._outbox.fetch_progress(send_id, self._clock())

    async def fetch_rank(self, send_id: str, lane: Lane) -> int:
        return await self._outbox.fetch_rank(send_id, lane)

    async def claim(self, message_id: str, *, flows: bool = False) -> Attempt | Idle | None:
        """Claims one message; None when it is not due any more. flows: not where the fast lane is paced, which the Idle
        says. Raises StaleEpoch once the number is lost.
        """
        if self._lost:
            raise StaleEpoch(self._connection_id, self._epoch)
        try:
            attempt = await self._outbox.claim_message(
                message_id, self._connection_id, self._epoch, self._clock(), flows=flows
            )
        except StaleEpoch:
            self._lose()
            raise
        if isinstance(attempt, Attempt):
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

    async def record_all(self, results: Sequence[Result]) -> None:
        """Records each of them, whatever becomes of the others. Raises the last error."""
        failure: BotonError | None = None
        for result in results:
            try:
                await self.record(result)
            except BotonError as error:
                failure = error
        if failure is not None:
            raise failure

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

    async def settle_all(self, attempts: Iterable[Attempt]) -> Sequence[Result | None]:
        """Each as `settle` does. Together: each may wait a while for its receipt."""
        return await asyncio.gather(*map(self.settle, attempts))

    async def close_slow_lane(self, refused: NumberRefused) -> Closure | None:
        """WhatsApp refused the number: bulk and first contacts wait. None: the store could not be told."""
        code = str(refused.reason)
        try:
            closure = await self._outbox.close_slow_lane(
                self._connection_id, self._epoch, code, refused.until, self._clock()
            )
        except StaleEpoch:
            self._lose()
            return None
        except Exception as error:  # noqa: BLE001 - whatever the store's driver raises
            log.warning("slow lane not closed", extra={"code": code, "reason": type(error).__name__})
            return None
        self._observer.refused(closure)
        return closure

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
        except NumberRefused as error:
            return await self._refuse(attempt, error)
        except RecipientRefused as error:
            failure = MessageError(code=error.code, detail=error.detail)
            return Result(attempt=attempt, status=MessageStatus.FAILED, error=failure)
        except RefusedForNow as error:
            failure = MessageError(code=error.code, detail=error.detail)
            again_at = self._clock() + _REFUSED_AGAIN
            return Result(attempt=attempt, status=MessageStatus.QUEUED, error=failure, refused=True, again_at=again_at)
        except OutcomeUnknown:
            return await self._ask(attempt)
        except Exception:
            log.exception("gateway failed", extra={"message_id": attempt.message_id})
            return await self._ask(attempt)
        return Result(attempt=attempt, status=MessageStatus.SENT, sent=sent)

    async def _refuse(self, attempt: Attempt, refused: NumberRefused) -> Result:
        """A 463 is not tried again: that makes it worse. After anything else the message is due again."""
        again_at = self._clock() + _REFUSED_AGAIN
        closure = await self.close_slow_lane(refused)
        if closure is not None:
            again_at = min(again_at, closure.until)
        status = MessageStatus.FAILED if str(refused.reason) == REACHOUT else MessageStatus.QUEUED
        failure = MessageError(code=refused.code, detail=refused.detail)
        return Result(attempt=attempt, status=status, error=failure, refused=True, again_at=again_at)

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
        except Exception:
            log.exception("gateway failed", extra={"message_id": attempt.message_id})
            return None


def _to_result(attempt: Attempt, outcome: Sent | Unsettled) -> Result:
    match outcome:
        case Sent() as sent:
            return Result(attempt=attempt, status=MessageStatus.SENT, sent=sent)
        case Unsettled.NOT_SENT:
            return Result(attempt=attempt, status=MessageStatus.QUEUED)
        case _:
            return Result(attempt=attempt, status=MessageStatus.UNCONFIRMED, error=UNCONFIRMED)
