"""A small WhatsApp behind the fake Go part: phones of customers, one business phone, and what goes wrong."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sqlalchemy import Engine, text

from tests.whatsapp import events
from tests.whatsapp.ffi import Refusal, Session

_DISCONNECTED = "websocket disconnected before message send returned response"
_TIMED_OUT = "timed out waiting for message send response"
_HANGS = 75.0
"""Seconds, as in the library: only a stop ends it sooner."""


_SECRET = text("INSERT INTO whatsmeow_message_secrets VALUES (:ours, :chat, :sender, :id, :key)")
_FORGET = text("DELETE FROM whatsmeow_device WHERE jid = :jid")
_MAP = text("INSERT INTO whatsmeow_lid_map VALUES (:lid, :pn) ON CONFLICT DO NOTHING")


@dataclass
class Phone:
    """A customer's."""

    number: str
    lid: str
    name: str = "Juan"
    registered: bool = True
    online: bool = True
    readAfterMs: int | None = None
    received: list[str] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)

    @property
    def chat(self) -> str:
        return f"{self.lid}@lid"

    @property
    def jid(self) -> str:
        return f"{self.number}@s.whatsapp.net"


class FakeNetwork:
    """Implements `ffi.Wire` for one business."""

    def __init__(self, business: str, database: Engine, lid: str = "900") -> None:
        """database: the device store, into which the library writes too."""
        self._database = database
        self.business = business
        self.own_lid = f"{lid}@lid"
        self.phones: dict[str, Phone] = {}
        self.faults: dict[str, Any] = {}
        self.under_way = 0
        self.sessions: list[Session] = []
        self.connects: list[Session] = []
        """Everybody who ever connected, in order."""
        self.attempts: list[tuple[Session, str]] = []
        """Everything that anybody tried to send, refused or not."""
        self.jealous = True
        """WhatsApp throws out who was connected before. Without, nothing but our own fence is between two senders."""
        self.typing: list[tuple[str, int]] = []
        self.presences: list[str] = []
        self.asked: list[str] = []
        self.gone: list[Any] = []
        """Events that a killed process's library had acknowledged, and not handed over."""
        self._for_later: list[Any] = []
        self._ids = count(1)
        self._random = random.Random(1)
        self._lock = threading.RLock()

    # ---------------------------------------------------- the tests' side

    def add_phone(self, number: str, **behaviour: Any) -> Phone:
        phone = self.phones[number] = Phone(number, f"7{number}")
        self.change_phone(number, **behaviour)
        return phone

    def change_phone(self, number: str, **behaviour: Any) -> None:
        phone = self.phones[number]
        for name, value in behaviour.items():
            setattr(phone, name, value)
        while phone.online and phone.waiting:
            self._arrive(phone, *phone.waiting.pop(0))

    def customer_writes(self, number: str, content: Any) -> str:
        phone, id = self.phones[number], self._new_id()
        about = events.info(id, events.source(phone.chat, alt=phone.jid), name=phone.name)
        self.tell(events.message(about, content))
        return id

    def owner_types(self, number: str, text: str) -> str:
        phone, id = self.phones[number], self._new_id()
        of = events.source(phone.chat, alt=phone.jid, from_me=True, sender=f"{self.business}@s.whatsapp.net")
        self.tell(events.message(events.info(id, of, name="Negocio"), text))
        self._arrive(phone, id, text)
        return id

    def set_faults(self, **faults: Any) -> None:
        self.faults = faults
        for session in list(self.sessions):
            if faults.get("offline"):
                self.drop(session)
            elif not session.connected:
                self._bring_up(session)
            session.drain()

    def drop(self, session: Session) -> None:
        """The socket closes; the library reconnects when it can."""
        if session.connected:
            session.connected = False
            session.push(events.disconnected())

    def tell(self, event: Any) -> None:
        """To whoever is connected, else when somebody is."""
        with self._lock:
            session = self.session
            if session is None:
                self._for_later.append(event)
            else:
                session.push(event)

    def give_back(self, untaken: Sequence[tuple[Any, bool]]) -> None:
        """What a killed process had not taken over, and whether its library had acknowledged it. All of it is told to
        the next one, first; with `atMostOnce`, as by the real network, only what was not acknowledged.
        """
        for_us = [each for each in untaken if each[0].DESCRIPTOR.name in {"Message", "Receipt"}]
        with self._lock:
            self.gone += [event for event, acknowledged in for_us if acknowledged]
            if self.faults.get("atMostOnce"):
                for_us = [each for each in for_us if not each[1]]
            self._for_later[:0] = [event for event, _ in for_us]
            if self.session is not None:
                self._tell_waiting(self.session)

    @property
    def session(self) -> Session | None:
        return next((each for each in reversed(self.sessions) if each.connected), None)

    # ---------------------------------------------------- the library's side

    def connect(self, session: Session) -> None:
        if self.faults.get("offline"):
            raise Refusal("failed to dial whatsapp web websocket: no such host")
        with self._lock:
            self.connects.append(session)
            if self.jealous:
                self._throw_out_all()
            self.sessions.append(session)
        self._bring_up(session)

    def _throw_out_all(self) -> None:
        for other in self.sessions:
            other.connected = False
            other.push(events.replaced())
        self.sessions = []

    def pair(self, session: Session) -> None:
        self.sessions = [session]
        session.call(lambda: session.show_qr("https://wa.me/settings/linked_devices#1"))

    def ask_code(self, session: Session, phone: str) -> str:
        return "QG4X-CMR2"

    def leave(self, session: Session) -> None:
        with self._lock:
            if session in self.sessions:
                self.sessions.remove(session)

    def send(self, session: Session, to: str, message: Any) -> tuple[str, int]:
        self.attempts.append((session, message.conversation))
        self._require(session)
        phone = self._find(to)
        if phone is None or not phone.registered or to not in {phone.jid, phone.chat}:
            raise Refusal(f"no LID found for {to} from server")
        id = self._new_id()
        self._write_secret(session, phone, id, message.messageContextInfo.messageSecret)
        try:
            self._travel(session)
        except Refusal:
            if self._happens("arriveAnywayRate"):
                self._arrive(phone, id, message.conversation)
            raise
        if self._happens("rejectRate"):
            raise Refusal(f"server returned error {self.faults.get('rejectCode', 463)}")
        self._arrive(phone, id, message.conversation)
        if self._happens("loseAckRate"):
            raise Refusal(_TIMED_OUT)
        return id, int(time.time())

    def look_up(self, session: Session, phone: str) -> str | None:
        self._require(session)
        self.asked.append(phone)
        found = self._find(f"{phone}@s.whatsapp.net")
        if found is None or not found.registered:
            return None
        self._map(found)
        return found.chat

    def answer(self, session: Session) -> None:
        if self.faults.get("silent"):
            session.stopped.wait(_HANGS)
        self._require(session)
        if "refuse" in self.faults:
            raise Refusal(f"info query returned status {self.faults['refuse']}")

    def show_typing(self, session: Session, to: str, state: int) -> None:
        self._require(session)
        self.typing.append((to, state))

    def show_presence(self, session: Session, presence: str) -> None:
        self._require(session)
        if self.faults.get("nameless"):
            raise Refusal("can't send presence without PushName set")
        self.presences.append(presence)

    def log_out(self, session: Session) -> None:
        self._require(session)
        self._forget(session.address)

    # ---------------------------------------------------- within

    def _forget(self, jid: str) -> None:
        """The library deletes a device that was logged out."""
        with self._database.begin() as sql:
            sql.execute(_FORGET, {"jid": jid})

    def _bring_up(self, session: Session) -> None:
        with self._lock:
            session.connected = True
            session.push(events.connected())
            self._tell_waiting(session)
            session.push(events.synced())

    def _tell_waiting(self, session: Session) -> None:
        waiting, self._for_later = self._for_later, []
        for event in waiting:
            session.push(event)

    def _require(self, session: Session) -> None:
        if self._happens("disconnectRate"):
            self.drop(session)
        if not session.connected:
            raise Refusal("websocket not connected")

    def _travel(self, session: Session) -> None:
        """From the socket to the server; what cuts the connection on the way loses the answer. The latency is that of
        the moment: without one, what is on its way arrives.
        """
        self.under_way += 1
        try:
            began = time.monotonic()
            while time.monotonic() - began < self.faults.get("latencyMs", 0) / 1000 and session.connected:
                time.sleep(0.005)
            if self.faults.get("hang"):
                session.stopped.wait(_HANGS)
            if not session.connected:
                raise Refusal(_DISCONNECTED)
        finally:
            self.under_way -= 1

    def _arrive(self, phone: Phone, id: str, text: str) -> None:
        if not phone.online:
            phone.waiting.append((id, text))
            return
        phone.received.append(text)
        self.tell(events.receipt(events.source(phone.chat), [id]))
        if phone.readAfterMs is not None:
            read = events.receipt(events.source(phone.chat), [id], "READ")
            timer = threading.Timer(phone.readAfterMs / 1000, self.tell, [read])
            timer.daemon = True
            timer.start()

    def _find(self, jid: str) -> Phone | None:
        user = jid.partition("@")[0]
        return self.phones.get(user) or next((each for each in self.phones.values() if each.lid == user), None)

    def _write_secret(self, session: Session, phone: Phone, id: str, secret: bytes) -> None:
        self._map(phone)
        row = {"ours": session.address, "chat": phone.chat, "sender": self.own_lid, "id": id, "key": secret}
        with self._database.begin() as sql:
            sql.execute(_SECRET, row)

    def _map(self, phone: Phone) -> None:
        with self._database.begin() as sql:
            sql.execute(_MAP, {"lid": phone.lid, "pn": phone.number})

    def _happens(self, rate: str) -> bool:
        return self._random.random() < float(self.faults.get(rate, 0))

    def _new_id(self) -> str:
        return f"3EB0{next(self._ids):016X}"
