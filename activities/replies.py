"""Single messages in one chat: the bot's replies, notices, what a human writes. They go by the fast lane."""

from __future__ import annotations

from enum import Enum

from activities.batch import Limit, Patience
from activities.courier import Courier
from activities.pacer import Pacer, Turn
from boton.domain.gateway import Attempt
from boton.domain.messages import Lane, MessageKind
from boton.domain.pacing import REPLY_RANK, Pacing, typing_seconds
from boton.ports import Idle, Preview

_TYPED = {MessageKind.REPLY, MessageKind.FOLLOW_UP}
"""Preceded by "typing…": what the bot writes in a dialogue."""


class _End(Enum):
    """How a try ended."""

    SETTLED = "settled"
    DUE_AGAIN = "due again"
    CUT_SHORT = "cut short"


class Replies:
    def __init__(self, courier: Courier, pacer: Pacer, limit: Limit) -> None:
        self._courier = courier
        self._pacer = pacer
        self._limit = limit
        self._patience = Patience(limit.stop)

    async def send(self, message_id: str) -> bool:
        """Tries until the message is not due any more; False when it was cut short."""
        while not self._limit.is_over:
            end = await self._try_once(message_id)
            if end is not _End.DUE_AGAIN:
                return end is _End.SETTLED
            await self._patience.wait()
        return False

    async def _try_once(self, message_id: str) -> _End:
        """Where nothing is paced the claim is made at once; whether that is so it says itself."""
        claimed = await self._courier.claim(message_id, flows=True)
        if not isinstance(claimed, Idle):
            return await self._deliver(claimed)
        pacing = await self._pacer.pacing(fresh=True)
        previews = await self._courier.preview([message_id])
        return await self._wait_for_turn(previews[0], pacing) if previews else _End.SETTLED

    async def _wait_for_turn(self, preview: Preview, pacing: Pacing) -> _End:
        lead = typing_seconds(preview.length) if pacing.typing and preview.kind in _TYPED else 0.0
        turn = Turn(lane=Lane.FAST, rank=REPLY_RANK, key=preview.chat_id, lead=lead)
        if not await self._pacer.take(turn, self._limit.stop, self._limit.seconds_left):
            return _End.CUT_SHORT
        return await self._take_turn(preview, lead)

    async def _take_turn(self, preview: Preview, lead: float) -> _End:
        settled = self._limit.settled
        try:
            await self._type(preview, lead)
            if self._limit.is_over:
                return _End.CUT_SHORT
            return await self._deliver(await self._courier.claim(preview.message_id))
        finally:
            self._pacer.release(Lane.FAST, used=self._limit.settled > settled)

    async def _type(self, preview: Preview, seconds: float) -> None:
        """Before the claim, so that a human who takes over meanwhile is not talked over."""
        if seconds > 0:
            await self._courier.show_typing(preview.jid, seconds)
            await self._limit.stop.sleep(seconds)

    async def _deliver(self, attempt: Attempt | Idle | None) -> _End:
        if not isinstance(attempt, Attempt):
            return _End.SETTLED
        self._limit.settled += 1
        result = await self._courier.deliver(attempt)
        await self._courier.record(result)
        if result.is_due_again and result.again_at is not None:
            self._patience.hold((result.again_at - self._limit.now).total_seconds())
        return _End.DUE_AGAIN if result.is_due_again else _End.SETTLED
