"""Sends: accepted, followed, paused, resumed, cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from boton.domain.sends import AcceptedSend, NewSend, Recipient, Send, SendStatus
from boton.ports.idempotency import IdempotencyKey
from boton.ports.paging import Page


class SendStore(Protocol):
    async def accept_send(self, new: NewSend, *, idempotency: IdempotencyKey | None = None) -> AcceptedSend:
        """Stores the send, its messages and (for an instruction) its conversations; on return it is on disk.

        Recipients who are one chat are stored once. With a key that is known the first answer is given again, and a
        concurrent twin waits for it. Raises Conflict when the business has no active connection.
        """

    async def find_accepted(self, business_id: str, idempotency: IdempotencyKey) -> AcceptedSend | None:
        """What was answered to this key before; None when it is new. Raises Invalid when the body was another."""

    async def fetch_send(self, business_id: str, send_id: str) -> Send:
        """With `counts` by message status. Raises NotFound."""

    async def pause_send(self, business_id: str, send_id: str) -> Send:
        """Nothing of it is claimed from now on; pausing twice changes nothing. Raises NotFound, Conflict when it has
        ended.
        """

    async def resume_send(self, business_id: str, send_id: str, now: datetime) -> Send:
        """Goes on; changes nothing when it is not paused. Raises NotFound, Conflict when it has ended."""

    async def cancel_send(self, business_id: str, send_id: str, now: datetime) -> Send:
        """Nothing of it is claimed from now on, and what is queued is cancelled; cancelling twice changes nothing.
        Raises NotFound, Conflict when it has finished.
        """

    async def estimate_end(self, business_id: str, send_id: str, now: datetime) -> datetime | None:
        """When the last of what is queued will have left at the number's pace; None where nothing is waited for, or
        it does not go on by itself. Raises NotFound.
        """

    async def wake_waiting_sends(self, business_id: str, now: datetime) -> Sequence[Send]:
        """Unfinished sends that wait for the pacing, oldest first, at most 1,000: due again now, because it changed."""

    async def list_sends(
        self, business_id: str, page: Page, status: SendStatus | None = None
    ) -> tuple[Sequence[Send], int]:
        """Those of POST /send, newest first, and how many there are in all."""

    async def list_recipients(self, business_id: str, send_id: str, page: Page) -> tuple[Sequence[Recipient], int]: ...
