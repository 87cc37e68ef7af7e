"""What one process knows of one number: its journal, its attempts, its addresses. The next one finds it on disk."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from boton.domain.gateway import GatewayEvent, Unread
from boton.domain.jid import JID, PHONE_SERVER
from boton.whatsapp.address_book import AddressBook
from boton.whatsapp.attempts import Attempts
from boton.whatsapp.device_store import Device, DeviceStore
from boton.whatsapp.inbound import Said, read_event, read_unreadable
from boton.whatsapp.intake import take_in
from boton.whatsapp.journal import Journal, RawEvent
from boton.whatsapp.line import Line
from boton.whatsapp.neonize_library import parse_event
from boton.whatsapp.ownership import Ownership

log = logging.getLogger(__name__)

_AT_ONCE = 200
_PLACES = 20
"""Bits of a cursor that count what one raw event says; the others are its number in the journal."""


class Number:
    """Implements `inbound.Knowledge`. Everything blocks."""

    def __init__(
        self, store: DeviceStore, connection_id: str, device: Device, ownership: Ownership, line: Line
    ) -> None:
        engine = store.engine(connection_id)
        store.index_secrets(connection_id)
        self.journal = Journal(engine, connection_id)
        self.journal.forget_old(datetime.now(UTC))
        self.attempts = Attempts(engine, device, self.journal, ownership)
        self.addresses = AddressBook(engine, connection_id)
        self.own = frozenset(filter(None, (str(JID(device.phone, PHONE_SERVER)), device.lid)))
        self.heard = 0
        self._line = line
        self.journal.take_up(lambda raw: self._read(raw) is not None)

    def phone_of(self, lid: str) -> str | None:
        return self.addresses.phone_of(lid)

    def attempt_of(self, message_id: str, secret: bytes) -> str | None:
        return self.journal.find_attempt(message_id) or self.attempts.find_by_secret(secret)

    def take_event(self, code: int, payload: bytes) -> None:
        """On the library's thread: on disk first, then everything else."""
        try:
            taken = take_in(self.journal, code, payload, parse_event)
        except SQLAlchemyError as error:
            self._line.break_(f"the journal cannot be written ({type(error).__name__})")
            raise
        self.heard += taken.kept
        if taken.event is None:
            self._line.wake()
        else:
            self._line.hear(taken.event)

    def read(self, after: int) -> Sequence[GatewayEvent]:
        """What the journal says after that cursor, some at a time; what was before it is forgotten."""
        seq = after >> _PLACES
        self.journal.trim(seq, datetime.now(UTC))
        while raws := self.journal.read(seq, _AT_ONCE):
            said = [(raw, self._convert(raw)) for raw in raws]
            self.journal.drop([raw.seq for raw, bodies in said if not bodies])
            numbered = [
                GatewayEvent(cursor=raw.seq << _PLACES | place, body=body)
                for raw, bodies in said
                for place, body in enumerate(bodies)
            ]
            events = [event for event in numbered if event.cursor > after]
            if events:
                return events
            seq = raws[-1].seq + 1
        return []

    def _convert(self, raw: RawEvent) -> Sequence[Said | Unread]:
        """What cannot be read must not keep back what comes after it, and a customer's message is never lost."""
        said = self._read(raw)
        if said is None:
            self.journal.set_aside(raw)
            return (Unread(code=raw.code),)
        return said

    def _read(self, raw: RawEvent) -> Sequence[Said] | None:
        """What an event says, if only that somebody wrote; None: this version cannot tell."""
        for read in (read_event, read_unreadable):
            try:
                return read(parse_event(raw.code, raw.payload), self)
            except SQLAlchemyError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a payload of tomorrow makes of our reading
                log.error("event not understood", extra={"event": raw.code, "reason": type(error).__name__})
        return None
