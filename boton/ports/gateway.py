"""The edge to WhatsApp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from boton.domain.gateway import Attempt, GatewayEvent, Outcome, Sent


class WhatsAppGateway(Protocol):
    """One phone number on WhatsApp, driven by one link process."""

    async def open(self, epoch: int) -> None:
        """Opens the session of this epoch; sessions of lower epochs can send nothing from then on.

        Raises SessionReplaced when a higher epoch has opened already, ConnectionAway when WhatsApp is out of reach.
        """

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        """Journalled events after that cursor, oldest first; waits up to `wait` seconds for the first.

        At least once: what the store has not recorded is given again. Raises SessionReplaced, ConnectionAway.
        """

    async def prove_connected(self) -> None:
        """Returns where a round trip to WhatsApp succeeded within the last minute; else it makes one.

        Raises ConnectionAway where none succeeds, SessionReplaced.
        """

    async def send_text(self, attempt: Attempt) -> Sent:
        """Sends one attempt. Raises ConnectionAway, RecipientRefused, NumberRefused, RefusedForNow, SessionReplaced
        (definitely not sent) or OutcomeUnknown (ask `find_outcome`). Never deduplicates by itself.
        """

    async def find_outcome(self, attempt: Attempt) -> Outcome:
        """What became of an attempt of this or a lower epoch. NOT_SENT is final: the gateway bars the attempt.

        Raises ConnectionAway when WhatsApp cannot be asked now.
        """

    async def find_on_whatsapp(self, jid: str) -> Sequence[str]:
        """Every JID of whom we call so (LID and phone number), this one first; none: they are not on WhatsApp.

        Raises ConnectionAway, SessionReplaced.
        """

    async def show_typing(self, jid: str, seconds: float) -> None:
        """Shows "typing…" to the customer; a nicety that never raises."""

    async def watch_typing(self, seconds: float) -> None:
        """Customers who are typing are told at least for so long; a nicety that never raises."""

    async def log_out(self) -> bool:
        """Takes the device off the phone and ends the session; without one it only closes. Whether the phone was told.
        Never raises.
        """

    async def close(self) -> None:
        """Ends the session; safe to call twice."""
