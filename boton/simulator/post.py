"""How messages travel between phones and businesses. All of it happens inside a transaction of the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from boton.simulator.journal import Journal
from boton.simulator.messages import DELIVERED, SENT, WAITING, Filed, Letter, Messages
from boton.simulator.phones import Phone, Phones
from boton.simulator.records import Records

_CHUNK = 500


class Post:
    """Takes letters, delivers them, and writes into the journals what the businesses are to learn of it."""

    def __init__(self, records: Records, clock: Callable[[], int]) -> None:
        """`clock` gives milliseconds since 1970."""
        self.phones = Phones(records.db)
        self.messages = Messages(records.db)
        self.journal = Journal(records.db)
        self._clock = clock

    def send_to_phone(self, letter: Letter, phone: Phone, *, typed: bool = False) -> Filed:
        """From a business: delivered at once, or when the phone comes online.

        typed: on the business's own phone, so that its session has to be told, before any receipt.
        """
        filed = self.messages.file(letter, WAITING)
        if typed:
            self.journal.append(letter.business, _message_event(filed, phone.name))
        if phone.online:
            self._deliver(filed, phone)
        else:
            self.phones.touch(phone.number, self.messages.next_place())
        return filed

    def send_to_business(self, letter: Letter, phone: Phone) -> Filed:
        """From a customer: into the business's journal, for whenever its session asks."""
        place = self.messages.next_place()
        filed = self.messages.file(letter, SENT if phone.online else WAITING, place)
        self.phones.touch(phone.number, place)
        if phone.online:
            self._depart(filed, phone)
        return filed

    def bring_online(self, phone: Phone) -> set[str]:
        """Everything that waited goes on; answers the businesses concerned."""
        concerned: set[str] = set()
        while waiting := self.messages.list_waiting(phone.number, _CHUNK):
            for filed in waiting:
                concerned.add(filed.letter.business)
                self._depart(filed, phone) if filed.letter.from_phone else self._deliver(filed, phone)
        return concerned

    def read_due(self, limit: int) -> set[str]:
        """Phones read what they were to read by now; answers the businesses concerned."""
        now = self._clock()
        due = self.messages.list_to_read(now, limit)
        for filed in due:
            self.messages.record_read(filed)
            self.journal.append(filed.letter.business, _receipt_event(filed, "read", now))
        return {filed.letter.business for filed in due}

    def _deliver(self, filed: Filed, phone: Phone) -> None:
        now, place = self._clock(), self.messages.next_place()
        read_due = None if phone.read_after_ms is None else now + phone.read_after_ms
        self.messages.record_delivery(filed, place, now, read_due)
        self.phones.touch(phone.number, place)
        self.journal.append(filed.letter.business, _receipt_event(filed, DELIVERED, now))
        if phone.auto_reply is not None:
            self._reply(filed, phone, phone.auto_reply)

    def _reply(self, filed: Filed, phone: Phone, text: str) -> None:
        letter = Letter(
            phone=phone.number, business=filed.letter.business, from_phone=True, text=text, at=self._clock()
        )
        self.send_to_business(letter, phone)

    def _depart(self, filed: Filed, phone: Phone) -> None:
        cursor = self.journal.append(filed.letter.business, _message_event(filed, phone.name))
        self.messages.record_departure(filed, cursor)


def _message_event(filed: Filed, name: str | None) -> dict[str, Any]:
    letter = filed.letter
    return {
        "kind": "message",
        "id": filed.id,
        "phone": letter.phone,
        "name": name,
        "fromMe": not letter.from_phone,
        "type": letter.type,
        "text": letter.text,
        "at": letter.at,
    }


def _receipt_event(filed: Filed, receipt: str, at: int) -> dict[str, Any]:
    return {"kind": "receipt", "receipt": receipt, "phone": filed.letter.phone, "ids": [filed.id], "at": at}
