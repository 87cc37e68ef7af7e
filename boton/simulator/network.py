"""The network as a whole: what phones and businesses do, under the faults that were asked for.

One event loop, one file: whatever stands between two awaits happens at once, so an epoch or a bar that is checked in
the transaction that records a delivery cannot change in between.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from boton.errors import Conflict, ConnectionAway, NumberRefused, OutcomeUnknown, RecipientRefused
from boton.simulator.attempts import AttemptRecord, Attempts
from boton.simulator.bells import Bells
from boton.simulator.faults import Dice, Faults, parse_faults, to_json
from boton.simulator.messages import Filed, Letter
from boton.simulator.phones import Phone, change_phone
from boton.simulator.post import Post
from boton.simulator.records import Records
from boton.simulator.sessions import Sessions

EVENTS_AT_ONCE = 500


class Network:
    """Raises the port's own errors (boton/errors.py): the gateway's client gives them on as they are."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.post = Post(records, now_ms)
        self.sessions = Sessions(records.db)
        self._attempts = Attempts(records.db)
        self._bells = Bells()
        self._typing: dict[str, tuple[str, float]] = {}
        self.under_way = 0  # sends between a gateway and a phone, for the metrics
        self._set_faults(self._load_faults())

    # ------------------------------------------------------------ phones and people

    def write_to_business(self, number: str, business: str, type: str, text: str) -> Filed:
        """A customer writes. Raises Conflict when that phone is not on WhatsApp."""
        phone = self._fetch_registered(number)
        letter = Letter(phone=number, business=business, from_phone=True, type=type, text=text, at=now_ms())
        with self._records.transaction():
            filed = self.post.send_to_business(letter, phone)
        self._bells.ring(business)
        return filed

    def type_on_business_phone(self, business: str, number: str, text: str) -> Filed:
        """Somebody types on the business's own phone. Raises Conflict when the other is not on WhatsApp."""
        phone = self._fetch_registered(number)
        letter = Letter(phone=number, business=business, from_phone=False, text=text, at=now_ms())
        with self._records.transaction():
            filed = self.post.send_to_phone(letter, phone, typed=True)
        self._bells.ring(business)
        return filed

    def change_phone(self, number: str, body: Mapping[str, Any]) -> Phone:
        """Raises Invalid. A phone that comes online gets and sends what waited."""
        phone = change_phone(self.post.phones.fetch(number), body)
        with self._records.transaction():
            self.post.phones.save(phone, self.post.messages.next_place())
            concerned = self.post.bring_online(phone) if phone.online else set()
        self._bells.ring(*concerned)
        self._bells.ring_reader()
        return phone

    def write_slowly(self, number: str, business: str) -> None:
        """The customer is seen typing. Raises Conflict for a phone that is not on WhatsApp."""
        self._fetch_registered(number)
        with self._records.transaction():
            self.post.journal.append(business, {"kind": "typing", "phone": number})
        self._bells.ring(business)

    def is_typing_to(self, number: str) -> str | None:
        """The business that shows "typing…" to that phone now."""
        business, until = self._typing.get(number, ("", 0.0))
        return business if until > time.monotonic() else None

    def _fetch_registered(self, number: str) -> Phone:
        phone = self.post.phones.fetch(number)
        if not phone.registered:
            raise Conflict("That phone is not on WhatsApp: set registered to true first.")
        return phone

    # ------------------------------------------------------------ faults

    @property
    def faults(self) -> Faults:
        return self._faults

    def change_faults(self, faults: Faults) -> None:
        """They are kept over a restart of the simulator; chance begins anew."""
        with self._records.transaction():
            self._records.db.execute("INSERT OR REPLACE INTO settings VALUES ('faults', ?)", (to_json(faults),))
        self._set_faults(faults)
        self._bells.ring_all()

    def _set_faults(self, faults: Faults) -> None:
        self._faults, self._dice = faults, Dice(faults.seed)

    def _load_faults(self) -> Faults:
        row = self._records.db.execute("SELECT value FROM settings WHERE name = 'faults'").fetchone()
        return parse_faults(json.loads(row[0])) if row else Faults()

    # ------------------------------------------------------------ the gateway's side

    def open_session(self, business: str, epoch: int) -> None:
        """Raises SessionReplaced, ConnectionAway."""
        self._reach("open")
        with self._records.transaction():
            self.sessions.open(business, epoch)
        self._bells.ring(business)

    def close_session(self, business: str, epoch: int) -> None:
        """Closing what is closed, or of another epoch, does nothing. Raises ConnectionAway."""
        self._reach("close")
        with self._records.transaction():
            self.sessions.close(business, epoch)
        self._bells.ring(business)

    async def send(self, business: str, epoch: int, attempt: str, to: str, text: str) -> Filed:
        """Delivers once for each call, after the latency. Raises every SendError of the port."""
        self._reach("send")
        self.sessions.check(business, epoch)
        if self._dice.hit("reject", self._faults.reject_rate):
            code = self._faults.reject_code
            raise NumberRefused(code, f"WhatsApp refuses this number: {code}.")
        if self._faults.latency_ms:
            await self._travel(self._faults.latency_ms / 1000)
        filed = self._deliver(business, epoch, attempt, to, text)
        if self._dice.hit("lose ack", self._faults.lose_ack_rate):
            raise OutcomeUnknown("The network gave no answer.")
        return filed

    def find_outcome(self, business: str, epoch: int, attempt: str) -> AttemptRecord | None:
        """What became of the attempt; None: it cannot be told. Unsent is barred by being told so.

        Raises SessionReplaced, ConnectionAway.
        """
        self._reach("outcome")
        self.sessions.check(business, epoch)
        if self._faults.forgetful:
            return None
        with self._records.transaction():
            self._attempts.bar(business, attempt)
            return self._attempts.find(business, attempt)

    async def read_events(self, business: str, epoch: int, after: int, wait: float) -> Sequence[tuple[int, str]]:
        """Journalled events after that cursor; waits for the first. Raises SessionReplaced, ConnectionAway."""
        self._reach("events")
        self._acknowledge(business, epoch, after)
        if not (events := self._read(business, epoch, after)) and wait > 0:
            deadline = time.monotonic() + wait
            while not events and await self._bells.wait(business, deadline - time.monotonic()):
                events = self._read(business, epoch, after)
        return events

    def is_registered(self, business: str, epoch: int, number: str) -> bool:
        """Raises SessionReplaced, ConnectionAway."""
        self._reach("lookup")
        self.sessions.check(business, epoch)
        return self.post.phones.fetch(number).registered

    def show_typing(self, business: str, epoch: int, to: str, seconds: float) -> None:
        self._reach("typing")
        self.sessions.check(business, epoch)
        self._typing[to] = (business, time.monotonic() + seconds)

    async def _travel(self, seconds: float) -> None:
        self.under_way += 1
        try:
            await self._bells.sleep(seconds)
        finally:
            self.under_way -= 1

    def _deliver(self, business: str, epoch: int, attempt: str, to: str, text: str) -> Filed:
        """The moment of delivery: what was true before the latency is asked again, and recorded with it."""
        self._check_online()
        with self._records.transaction():
            self.sessions.check(business, epoch)
            self._check_not_barred(business, attempt)
            phone = self.post.phones.fetch(to)
            if not phone.registered:
                raise RecipientRefused("not_on_whatsapp", "This number is not on WhatsApp.")
            letter = Letter(phone=to, business=business, from_phone=False, text=text, at=now_ms())
            filed = self.post.send_to_phone(letter, phone)
            self._attempts.record_sent(business, attempt, filed.id, letter.at)
        self._typing.pop(to, None)
        self._bells.ring(business)
        if phone.read_after_ms is not None:
            self._bells.ring_reader()
        return filed

    def _check_not_barred(self, business: str, attempt: str) -> None:
        known = self._attempts.find(business, attempt)
        if known is not None and known.barred:
            raise ConnectionAway("This attempt is barred: it was told to be unsent.")

    def _reach(self, request: str) -> None:
        self._check_online()
        if self._dice.hit(f"disconnect {request}", self._faults.disconnect_rate):
            raise ConnectionAway("The connection went away before anything was done.")

    def _check_online(self) -> None:
        if self._faults.offline or self._bells.stopped:
            raise ConnectionAway("WhatsApp is out of reach.")

    def _read(self, business: str, epoch: int, after: int) -> Sequence[tuple[int, str]]:
        self._check_online()
        self.sessions.check(business, epoch)
        return self.post.journal.read(business, after, EVENTS_AT_ONCE)

    def _acknowledge(self, business: str, epoch: int, cursor: int) -> None:
        """Whoever asks for what comes after a cursor has kept everything up to it."""
        if cursor > self.sessions.check(business, epoch).acknowledged:
            with self._records.transaction():
                self.sessions.acknowledge(business, cursor)

    # ------------------------------------------------------------ life

    async def read_as_phones_do(self) -> None:
        """Runs for ever: sends the read receipts that are due."""
        while not self._bells.stopped:
            due = self.post.messages.next_read()
            if due is None or due > now_ms():
                await self._bells.wait_reader(None if due is None else (due - now_ms()) / 1000)
                continue
            with self._records.transaction():
                concerned = self.post.read_due(EVENTS_AT_ONCE)
            self._bells.ring(*concerned)
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Ends everything that waits; what had not been delivered yet never is."""
        self._bells.stop()


def now_ms() -> int:
    return time.time_ns() // 1_000_000
