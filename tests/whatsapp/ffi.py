"""The library's Go part, played in Python: everything above its FFI boundary is the real thing.

`FakeGo` takes the place of `neonize.aioze.client.gocode`. It gets and answers protobuf bytes, blocks in `Neonize` as
the Go part does, and calls back from that foreign thread. On the other side is a `tests.whatsapp.network.FakeNetwork`.
"""

from __future__ import annotations

import contextlib
import ctypes
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from neonize.aioze import client as library
from neonize.events import EVENT_TO_INT
from neonize.proto import Neonize_pb2 as pb
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message as MessageProto


class Refusal(Exception):
    """The Go part answers with these words."""


class Session:
    """One call of `Neonize`: a client of the Go part, and its event pump."""

    def __init__(self, uuid: bytes, address: str, pump: Callable[[int, bytes], None], qr: Any) -> None:
        self.uuid, self.address = uuid, address
        self.show_qr = qr
        self.connected = False
        self.stopped = threading.Event()
        self._pump = pump
        self._pumping = True
        self._queue: queue.Queue[Callable[[], None] | str] = queue.Queue()

    def push(self, event: Any) -> None:
        """To the Python side, on the pump's thread, after everything pushed before."""
        code, payload = EVENT_TO_INT[type(event)], event.SerializeToString()
        self._queue.put(lambda: self._pump(code, payload))

    def push_raw(self, code: int, payload: bytes) -> None:
        self._queue.put(lambda: self._pump(code, payload))

    def call(self, function: Callable[[], None]) -> None:
        self._queue.put(function)

    def end_pump(self, words: str) -> None:
        """The pump ends; the client itself lives on, and nobody hears of it."""
        self._queue.put(words)

    def drain(self) -> None:
        """Until everything pushed so far has been heard."""
        heard = threading.Event()
        self._queue.put(heard.set)
        while not heard.wait(0.05) and self._pumping:
            pass

    def run(self) -> bytes:
        while True:
            item = self._queue.get()
            if isinstance(item, str):
                self._pumping = False
                return item.encode()
            item()

    def stop(self) -> None:
        self.connected = False
        self.stopped.set()
        self._queue.put("")


class Wire(Protocol):
    """What a network does for a client. Every method may raise Refusal."""

    def connect(self, session: Session) -> None: ...
    def pair(self, session: Session) -> None: ...
    def ask_code(self, session: Session, phone: str) -> str: ...
    def send(self, session: Session, to: str, message: Any) -> tuple[str, int]: ...
    def look_up(self, session: Session, phone: str) -> str | None: ...
    def answer(self, session: Session) -> None:
        """A question without further interest."""

    def show_typing(self, session: Session, to: str, state: int) -> None: ...
    def show_presence(self, session: Session, presence: str) -> None: ...
    def log_out(self, session: Session) -> None: ...
    def leave(self, session: Session) -> None: ...


class FakeGo:
    """Has the functions of the shared library that BOTON uses, and no others."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.wires: dict[str, Wire] = {}
        """By the JID of the device; for a new one, by the name of its database."""
        self.sessions: dict[bytes, Session] = {}
        self.calls: list[str] = []
        self.log_levels: list[bytes] = []

    # ---------------------------------------------------- what the library calls

    def Neonize(self, *args: Any) -> bytes:
        name, uuid, jid, new_device, qr, on_event = args[0], args[1], args[2], args[4], args[6], args[8]
        self.log_levels.append(args[5])

        def pump(code: int, payload: bytes) -> None:
            buffer = ctypes.create_string_buffer(payload, len(payload))
            on_event(uuid, ctypes.addressof(buffer), len(payload), code)

        address = _to_text(pb.JID.FromString(jid)) if jid else name.decode()
        session = Session(uuid, address, pump, lambda text: qr(uuid, _address(text)))
        self.sessions[uuid] = session
        wire = self.wires[address]
        try:
            (wire.pair if new_device else wire.connect)(session)
        except Refusal as refusal:
            return str(refusal).encode()
        return session.run()

    def Stop(self, uuid: bytes) -> None:
        session = self.sessions.pop(uuid, None)
        if session is not None:
            session.stop()
            self.wires[session.address].leave(session)

    def SendMessage(self, uuid: bytes, to: bytes, _size: int, message: bytes, _length: int) -> bytes:
        def send(session: Session) -> Any:
            jid = _to_text(pb.JID.FromString(to))
            id, at = self._wire(session).send(session, jid, MessageProto.FromString(message))
            sent = pb.SendResponse(ID=id, Timestamp=at, ServerID=0, DebugTimings=_TIMINGS)
            return pb.SendMessageReturnFunction(SendResponse=sent)

        return self._answer(uuid, "SendMessage", send, pb.SendMessageReturnFunction)

    def IsOnWhatsApp(self, uuid: bytes, numbers: bytes, _size: int) -> bytes:
        def look_up(session: Session) -> Any:
            answers = [(phone, self._wire(session).look_up(session, phone)) for phone in numbers.decode().split(" ")]
            told = [
                pb.IsOnWhatsAppResponse(Query=phone, JID=to_jid(jid or "0@lid"), IsIn=jid is not None)
                for phone, jid in answers
            ]
            return pb.IsOnWhatsAppReturnFunction(IsOnWhatsAppResponse=told)

        return self._answer(uuid, "IsOnWhatsApp", look_up, pb.IsOnWhatsAppReturnFunction)

    def PairPhone(self, uuid: bytes, params: bytes, _size: int) -> bytes:
        def ask(session: Session) -> Any:
            phone = pb.PairPhoneParams.FromString(params).phone
            return pb.PairPhoneReturnFunction(Code=self._wire(session).ask_code(session, phone))

        return self._answer(uuid, "PairPhone", ask, pb.PairPhoneReturnFunction)

    def SendChatPresence(self, uuid: bytes, jid: bytes, _size: int, state: int, _media: int) -> bytes:
        self.calls.append("SendChatPresence")
        session = self.sessions.get(uuid)
        try:
            if session is None:
                raise Refusal("client is nil")
            self._wire(session).show_typing(session, _to_text(pb.JID.FromString(jid)), state)
        except Refusal as refusal:
            return str(refusal).encode()
        return b""

    def SendPresence(self, uuid: bytes, presence: bytes) -> bytes:
        self.calls.append("SendPresence")
        session = self.sessions.get(uuid)
        try:
            if session is None:
                raise Refusal("client is nil")
            self._wire(session).show_presence(session, presence.decode())
        except Refusal as refusal:
            return str(refusal).encode()
        return b""

    def IsConnected(self, uuid: bytes) -> bool:
        self.calls.append("IsConnected")
        session = self.sessions.get(uuid)
        return session is not None and session.connected

    def GetBlocklist(self, uuid: bytes) -> bytes:
        def read(session: Session) -> Any:
            self._wire(session).answer(session)
            return _EMPTY_LIST

        return self._answer(uuid, "GetBlocklist", read, pb.GetBlocklistReturnFunction)

    def Logout(self, uuid: bytes) -> bytes:
        self.calls.append("Logout")
        session = self.sessions.get(uuid)
        try:
            if session is None:
                raise Refusal("client is nil")
            self._wire(session).log_out(session)
        except Refusal as refusal:
            return str(refusal).encode()
        return b""

    def GetAllDevices(self, name: bytes, log: Any) -> bytes:
        """The real one: it makes the library's tables."""
        answer: bytes = self._real.GetAllDevices(name, log)
        return answer

    def _wire(self, session: Session) -> Wire:
        return self.wires[session.address]

    def _answer(self, uuid: bytes, name: str, make: Callable[[Session], Any], kind: Any) -> bytes:
        self.calls.append(name)
        session = self.sessions.get(uuid)
        try:
            if session is None:
                raise Refusal("client is nil")
            answer: bytes = make(session).SerializeToString()
        except Refusal as refusal:
            answer = kind(Error=str(refusal)).SerializeToString()
        return answer


_TIMINGS = pb.MessageDebugTimings(
    **{field.name: 0 for field in pb.MessageDebugTimings.DESCRIPTOR.fields if field.type == field.TYPE_INT64}
)
_EMPTY_LIST = pb.GetBlocklistReturnFunction(Blocklist=pb.Blocklist(DHash="", JIDs=[]))


@contextlib.contextmanager
def fake_go() -> Iterator[FakeGo]:
    """The library without its Go part."""
    real = library.gocode
    fake = FakeGo(real)
    library.gocode = fake
    try:
        yield fake
    finally:
        library.gocode = real


def to_jid(text: str) -> Any:
    """`5491112345678:3@s.whatsapp.net` as protobuf."""
    user, _, server = text.partition("@")
    user, _, device = user.partition(":")
    return pb.JID(User=user, Device=int(device or 0), Server=server, RawAgent=0, Integrator=0, IsEmpty=not user)


def _to_text(jid: Any) -> str:
    device = f":{jid.Device}" if jid.Device else ""
    return f"{jid.User}{device}@{jid.Server}"


def _address(text: str) -> int:
    buffer = ctypes.create_string_buffer(text.encode())
    _KEPT.append(buffer)
    return ctypes.addressof(buffer)


_KEPT: list[Any] = []
