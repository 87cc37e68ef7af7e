"""Very many messages at once on one played number: written, and held against what is stored."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import count
from random import Random

from boton.domain.messages import Direction
from tests.whatsapp import events
from tests.whatsapp.played import PlayedNumber
from tests.whatsapp.stored import PlayedStore

CHATS = 40
_LATER = 50
_ids = count(1)
_numbers = count(5491130000001)


class Flood:
    """Customers of its own, who write in turns drawn from the seed. repeats: how many of their messages are told twice,
    as after a reconnect.
    """

    def __init__(self, number: PlayedNumber, store: PlayedStore, *, seed: int = 1, repeats: float = 0.0) -> None:
        self._number = number
        self._store = store
        self._random = Random(f"flood:{seed}")
        self._repeats = repeats
        self._before = self._count()
        self._written: defaultdict[str, list[str]] = defaultdict(list)
        self.phones = [number.network.add_phone(str(next(_numbers))) for _ in range(CHATS)]

    def pour(self, messages: int) -> None:
        """Returns when the network has told them all."""
        again = []
        for _ in range(messages):
            event = self._write()
            self._number.network.tell(event)
            if self._random.random() < self._repeats:
                again.append(event)
            if len(again) > _LATER:
                self._number.network.tell(again.pop(0))
        for event in again:
            self._number.network.tell(event)

    def _write(self) -> object:
        """WhatsApp's times are whole seconds."""
        phone = self._random.choice(self.phones)
        texts = self._written[phone.number]
        texts.append(f"mensaje {len(texts)} de {phone.number}")
        of = events.source(phone.chat, alt=phone.jid)
        about = events.info(f"3EBF{next(_ids):016X}", of, name=phone.name, at_ms=int(time.time()) * 1000)
        return events.message(about, texts[-1])

    @property
    def stored(self) -> int:
        """How many messages have come since it began."""
        return self._count() - self._before

    @property
    def is_stored(self) -> bool:
        """Whether there are as many as were written."""
        return self.stored >= sum(map(len, self._written.values()))

    def _count(self) -> int:
        return self._store.count(self._number.connection_id, Direction.INCOMING, "received")

    def check(self) -> list[str]:
        """What is wrong: customers of whom something is missing, there twice, or out of order."""
        shown: defaultdict[str, list[str]] = defaultdict(list)
        for one in self._store.list_messages(self._number.connection_id, Direction.INCOMING):
            shown[one.number].append(one.text)
        return [
            f"{number}: {len(texts)} written, {len(shown[number])} stored, {len(set(shown[number]))} different"
            for number, texts in self._written.items()
            if shown[number] != texts
        ]
