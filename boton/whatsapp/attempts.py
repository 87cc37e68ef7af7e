"""What became of attempts: what the library wrote down, what WhatsApp proved, and who can still send. Blocks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

from boton.domain.gateway import Attempt, Outcome, Unsettled
from boton.errors import ConnectionAway
from boton.whatsapp.device_store import Device
from boton.whatsapp.journal import Journal
from boton.whatsapp.outbound import to_secret
from boton.whatsapp.ownership import Ownership

_YOUNG = timedelta(minutes=3)
_REMEMBERED = 1000
"""Attempts that are known by their secret. Those of earlier processes are settled before anything is read."""

_FIND = text(
    "SELECT secrets.message_id FROM whatsmeow_device AS device "
    "LEFT JOIN whatsmeow_message_secrets AS secrets ON secrets.key = :secret WHERE device.jid = :jid"
)
"""No row: the device was logged out, and its traces went with it. One without an id: there is no trace."""


class Attempts:
    """One process's view of one number's attempts."""

    def __init__(self, engine: Engine, device: Device, journal: Journal, ownership: Ownership) -> None:
        self._engine = engine
        self._device = device
        self._journal = journal
        self._ownership = ownership
        self._in_library: set[str] = set()
        self._barred: set[str] = set()
        self._traced: set[str] = set()
        self._secrets: dict[bytes, str] = {}

    def to_secret(self, attempt: Attempt) -> bytes:
        """By which it is found again."""
        return to_secret(self._device.key, attempt.id)

    def begin(self, attempt: Attempt) -> None:
        """From now on it may reach the wire. Raises ConnectionAway when it was said to be not sent."""
        if attempt.id in self._barred:
            raise ConnectionAway("This attempt was settled as not sent.")
        self._in_library.add(attempt.id)
        self._secrets[self.to_secret(attempt)] = attempt.id
        if len(self._secrets) > _REMEMBERED:
            del self._secrets[next(iter(self._secrets))]

    def find_by_secret(self, secret: bytes) -> str | None:
        """One of this process's last attempts, whose message id may not be known yet."""
        return self._secrets.get(secret)

    def end(self, attempt: Attempt) -> None:
        """It can reach the wire no more."""
        self._in_library.discard(attempt.id)

    def find_outcome(self, attempt: Attempt) -> Outcome:
        """Without a trace in the library's database it was not sent, once nobody is left who could still send it. With
        one it was, if WhatsApp proves it: the trace is written before the wire.
        """
        if attempt.id in self._in_library:
            return Unsettled.UNKNOWN
        traces = self._find_traces(attempt)
        if traces:
            return self._find_proof(attempt, traces)
        if traces is None or attempt.claimed_at < self._device.linked_at or not self._is_over(attempt):
            return Unsettled.UNKNOWN
        self._barred.add(attempt.id)
        return Unsettled.NOT_SENT

    def may_have_left(self, attempt: Attempt) -> bool:
        """Whether there is a trace of it, or nobody can tell any more."""
        return self._find_traces(attempt) != []

    def lacks_proof_only(self, attempt: Attempt, outcome: Outcome, now: datetime) -> bool:
        """Whether a receipt may still come any moment that proves a young attempt to be sent."""
        if outcome is not Unsettled.UNKNOWN or now - attempt.claimed_at > _YOUNG:
            return False
        return attempt.id in self._traced

    def _find_traces(self, attempt: Attempt) -> Sequence[str] | None:
        """Its message ids: one for each try. None: its device is gone, and what was known of it."""
        with self._engine.connect() as sql:
            these = {"secret": self.to_secret(attempt), "jid": self._device.jid}
            found: Sequence[str | None] = sql.execute(_FIND, these).scalars().all()
        return [each for each in found if each is not None] if found else None

    def _find_proof(self, attempt: Attempt, message_ids: Sequence[str]) -> Outcome:
        for message_id in message_ids:
            if self._journal.find_attempt(message_id) is None:
                self._journal.note_sent(attempt.id, message_id)
        proofs = map(self._journal.find_sent, message_ids)
        sent = next((proof for proof in proofs if proof is not None), None)
        (self._traced.discard if sent else self._traced.add)(attempt.id)
        return sent or Unsettled.UNKNOWN

    def _is_over(self, attempt: Attempt) -> bool:
        return self._ownership.is_mine(attempt.epoch) or self._ownership.is_dead(attempt.epoch)
