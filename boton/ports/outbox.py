"""What leaves: claimed, sent, recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from boton.domain.gateway import Attempt, Sent
from boton.domain.messages import Lane, MessageError, MessageKind, MessageStatus
from boton.domain.pacing import Closure, Pacing
from boton.domain.sends import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an attempt ended, to be recorded: SENT with `sent`, or another status with its error.

    QUEUED: definitely not sent, due again. refused: WhatsApp refused the number; after a few times the message
    fails. again_at: before which it is not to be tried again in the fast lane, which stays open.
    """

    attempt: Attempt
    status: MessageStatus
    sent: Sent | None = None
    error: MessageError | None = None
    refused: bool = False
    again_at: datetime | None = None

    @property
    def is_due_again(self) -> bool:
        return self.status is MessageStatus.QUEUED


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Nothing was claimed, and why: `done` (the send is final), `paused`, `wait` (until `until`, for `reason`, a
    WaitReason), `compose` (the next openings, `message_ids`, have no text yet), `check` (whether `jid`, the recipient
    of the message, is on WhatsApp), `paced` (the lane's messages take turns), `lane_done` (another lane has something
    left), `more` (ask again), `not_owner`.
    """

    why: str
    until: datetime | None = None
    reason: str = ""
    message_ids: tuple[str, ...] = ()
    jid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A queued message, before its claim. length: of its text, in characters."""

    message_id: str
    chat_id: str
    jid: str
    kind: MessageKind
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberPace:
    """How the number is to be paced. slow_at: when the slow lane's last message was claimed."""

    pacing: Pacing
    slow_at: datetime | None = None


class OutboxStore(Protocol):
    """Claim, send, record. Used by the link process of the number alone."""

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
        """Records results, then claims the send's next messages of a lane, at most `room`. One transaction.

        flows: nothing is claimed once the lane is paced; the caller, who has taken no turn, is told `paced`.
        Messages that a guard forbids are settled on the way. With nothing left in any lane the send becomes
        `finished`. With a stale epoch it records, and answers `not_owner`.
        """

    async def preview_messages(self, message_ids: Sequence[str]) -> Sequence[Preview]:
        """Those of them that are queued still, in their order."""

    async def note_recipient(self, message_id: str, known_as: Sequence[str], now: datetime) -> Sequence[str]:
        """Under which JIDs WhatsApp knows the recipient of a queued message; none: they are not there, and the message
        fails. The chats that are to be looked at: where two turned out to be this customer's, they are one now.
        """

    async def close_slow_lane(
        self, connection_id: str, epoch: int, code: str, until: datetime | None, now: datetime
    ) -> Closure:
        """WhatsApp refused the number: the slow lane closes. Raises StaleEpoch."""

    async def fetch_pace(self, connection_id: str) -> NumberPace:
        """Raises NotFound."""

    async def fetch_progress(self, send_id: str, now: datetime) -> Progress:
        """How far a send is. Raises NotFound."""

    async def fetch_rank(self, send_id: str, lane: Lane) -> int:
        """Where a send stands among those that wait for a lane (`rank_of`). Raises NotFound."""

    async def claim_message(
        self, message_id: str, connection_id: str, epoch: int, now: datetime, *, flows: bool = False
    ) -> Attempt | Idle | None:
        """Claims one message; None when it is not `queued` any more or a guard forbade it. flows: not where the fast
        lane is paced, which the Idle says. Raises StaleEpoch.
        """

    async def record_result(self, result: Result, now: datetime) -> None:
        """`sending → …`; a result that is recorded already changes nothing."""

    async def list_left_in_flight(self, connection_id: str, epoch: int) -> Sequence[Attempt]:
        """What `find_outcome` is to settle: attempts in `sending` claimed under a lower epoch, and the newest
        `unconfirmed` ones of any.
        """
