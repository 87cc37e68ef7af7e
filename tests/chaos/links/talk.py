"""What goes through one number all the time: its customers write, it answers them, and a bulk goes out."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

from tests.chaos.patient import Patient
from tests.whatsapp.played import PlayedNumber

_CUSTOMERS = 5
_WRITES_EVERY = 2.0
"""Seconds between two messages of customers."""

_ANSWERS_EVERY = 4
"""Messages of customers for each that is sent by itself."""

_BULK_GAP = (1.0, 2.0)
"""Seconds between two messages of the bulk, which lasts as long as the kills do."""


class Talk:
    """One number's. written: what the customers wrote, by their numbers, in order. asked: who is to get what."""

    def __init__(self, api: str, number: PlayedNumber) -> None:
        self._number = number
        self._api = Patient(f"{api}/api/v1", number.token)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        digits = number.network.business[-3:]
        self._customers = [f"549115{digits}{place:04}" for place in range(_CUSTOMERS)]
        self._crowd = f"549116{digits}"
        self.written: dict[str, list[str]] = {one: [] for one in self._customers}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.problems: list[str] = []

    def begin(self, seconds: float) -> None:
        """seconds: how long it will be going on."""
        pacing = {"profile": "careful", "slowGapSeconds": _BULK_GAP, "fastGapSeconds": (0, 0), "dailyLimit": None}
        self._post("/config", {"pacing": pacing | {"typing": False}})
        crowd = [f"{self._crowd}{place:04}" for place in range(round(seconds / max(_BULK_GAP)))]
        for one in (*self._customers, *crowd):
            self._number.network.add_phone(one)
        self._send(crowd, "una promoción")
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        began, turn = time.monotonic(), 0
        while not self._over.wait(max(0.0, began + turn * _WRITES_EVERY - time.monotonic())):
            customer = self._customers[turn % _CUSTOMERS]
            self._number.network.customer_writes(customer, f"pregunta {turn}")
            self.written[customer].append(f"pregunta {turn}")
            if turn % _ANSWERS_EVERY == 0:
                self._send([customer], f"respuesta {turn}")
            turn += 1

    def _send(self, to: Sequence[str], text: str) -> None:
        self._post("/send", {"to": to, "message": text})
        self.asked.update((one, text) for one in to)

    def _post(self, path: str, body: object) -> None:
        answer = self._api.request("POST", path, json=body)
        if answer.status_code not in (200, 202):
            self.problems.append(f"POST {path}: {answer.status_code} {answer.text}")
