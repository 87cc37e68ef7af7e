"""The played Go part in processes of their own: link processes as a host starts them, their network in the test's.

`played_links` makes every link and pairing process that is started meanwhile use it (tests/whatsapp/site). As with the
real library, some events wait in the Go part's buffer, acknowledged already, while one is being journalled. A network
decides what becomes of those when the process is killed (`FakeNetwork.give_back`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from itertools import count
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

from neonize.events import EVENT_TO_INT, INT_TO_EVENT
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message as MessageProto

from tests.whatsapp.ffi import Refusal, Session
from tests.whatsapp.network import FakeNetwork

PRINTED = b"""{"ended": {"status": "banned", "reason": "not the link's words"}}
SendMessage: Error sending to 5491138620812@s.whatsapp.net
"""
ADDRESS = "PLAYED_WIRE"
_KEY = b"boton"
_BACKLOG = 1000
"""Of connections at once; of one too many the caller waits in vain for the first word (the default is 1)."""

_BUFFER = 100
"""Events that the library holds for us; when it is full, the library reads nothing more."""


@contextlib.contextmanager
def played_links(networks: dict[str, FakeNetwork]) -> Iterator[dict[str, str]]:
    """What the environment of such processes needs. networks: by the JID of the device, for a new one by the name of
    its database; may be added to.
    """
    server = _Server(networks)
    root, site = Path(__file__).parents[2], Path(__file__).parent / "site"
    yield {
        ADDRESS: f"{server.port}",
        "PYTHONPATH": os.pathsep.join((str(site), str(root))),
        "HTTPS_PROXY": f"http://127.0.0.1:{server.port}",  # somebody listens there: WhatsApp seems to be in reach
    }
    server.close()


# ---------------------------------------------------------------- the test's side


class _FarSession:
    """A `Session` of another process, as a network sees it."""

    def __init__(self, address: str, pid: int, pipe: Connection) -> None:
        self.address, self.pid, self.stopped = address, pid, threading.Event()
        self._pipe, self._lock = pipe, threading.Lock()
        self._numbers = count(1)
        self._untaken: dict[int, Any] = {}
        self._acknowledged: set[int] = set()
        self._connected = False

    @property
    def connected(self) -> bool:
        return self._connected

    @connected.setter
    def connected(self, connected: bool) -> None:
        self._connected = connected
        self._tell(("connected", connected))

    def push(self, event: Any) -> None:
        number = next(self._numbers)
        self._untaken[number] = event
        self._tell(("event", number, EVENT_TO_INT[type(event)], event.SerializeToString()))

    def push_raw(self, code: int, payload: bytes) -> None:
        self._tell(("event", 0, code, payload))

    def show_qr(self, code: str) -> None:
        self._tell(("qr", code))

    def call(self, function: Callable[[], None]) -> None:
        function()

    def drain(self) -> None:
        """Nobody waits for another process here."""

    def listen(self) -> list[tuple[Any, bool]]:
        """Until the process is gone; what it had not taken over by then, and whether it had acknowledged it."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                what, number = self._pipe.recv()
                if what == "acknowledged":
                    self._acknowledged.add(number)
                else:
                    self._untaken.pop(number, None)
        self._connected = False
        self.stopped.set()
        return [(event, number in self._acknowledged) for number, event in list(self._untaken.items())]

    def _tell(self, told: tuple[Any, ...]) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._pipe.send(told)


class _Server:
    def __init__(self, networks: dict[str, FakeNetwork]) -> None:
        self._networks = networks
        self._sessions: dict[int, _FarSession] = {}
        self._tokens = count(1)
        self._listener = Listener(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port = self._listener.address[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                pipe = self._listener.accept()
            except (EOFError, ConnectionError):
                continue  # killed while it said hello
            except OSError:
                return
            threading.Thread(target=self._serve, args=[pipe], daemon=True).start()

    def _serve(self, pipe: Connection) -> None:
        with contextlib.suppress(EOFError, OSError), pipe:
            deliver_challenge(pipe, _KEY)  # here: a process that is frozen in it must not keep out all others
            answer_challenge(pipe, _KEY)
            what, *rest = pipe.recv()
            if what in {"connect", "pair"}:
                self._hold(pipe, what, *rest)
            else:
                pipe.send(_answer(lambda: self._call(what, *rest)))

    def _hold(self, pipe: Connection, what: str, address: str, pid: int) -> None:
        network, token = self._networks[address], next(self._tokens)
        session: Any = _FarSession(address, pid, pipe)
        self._sessions[token] = session
        pipe.send(("token", token))
        try:
            (network.pair if what == "pair" else network.connect)(session)
        except Refusal as refusal:
            pipe.send(("refused", str(refusal)))
        untaken = session.listen()
        network.leave(session)
        network.give_back(untaken)

    def _call(self, what: str, token: int, *rest: Any) -> Any:
        session: Any = self._sessions[token]
        network = self._networks[session.address]
        match what:
            case "send":
                return network.send(session, rest[0], MessageProto.FromString(rest[1]))
            case "look_up":
                return network.look_up(session, rest[0])
            case "ask_code":
                return network.ask_code(session, rest[0])
            case "log_out":
                return network.log_out(session)


def _answer(call: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "answer", call()
    except Refusal as refusal:
        return "refused", str(refusal)


# ---------------------------------------------------------------- the link's side


class FarWire:
    """Implements `ffi.Wire` through the test's process."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._tokens: dict[Session, int] = {}
        self._pipes: dict[Session, Connection] = {}

    def connect(self, session: Session) -> None:
        self._open("connect", session)

    def pair(self, session: Session) -> None:
        self._open("pair", session)

    def _open(self, how: str, session: Session) -> None:
        pipe = self._pipes[session] = Client(self._address, authkey=_KEY)
        pipe.send((how, session.address, os.getpid()))
        self._tokens[session] = pipe.recv()[1]
        threading.Thread(target=self._listen, args=[session, pipe], daemon=True).start()
        os.write(1, PRINTED)  # as the real Go part prints, past Python
        os.write(2, PRINTED)

    def send(self, session: Session, to: str, message: Any) -> tuple[str, int]:
        id, at = self._call("send", session, to, message.SerializeToString())
        return id, at

    def look_up(self, session: Session, phone: str) -> str | None:
        jid: str | None = self._call("look_up", session, phone)
        return jid

    def answer(self, session: Session) -> None:
        """At once."""

    def show_typing(self, session: Session, to: str, state: int) -> None:
        """Nobody looks."""

    def show_presence(self, session: Session, presence: str) -> None:
        """Nobody looks."""

    def leave(self, session: Session) -> None:
        self._pipes.pop(session).close()

    def ask_code(self, session: Session, phone: str) -> str:
        code: str = self._call("ask_code", session, phone)
        return code

    def log_out(self, session: Session) -> None:
        self._call("log_out", session)

    def _call(self, what: str, session: Session, *rest: Any) -> Any:
        try:
            with Client(self._address, authkey=_KEY) as pipe:
                pipe.send((what, self._tokens[session], *rest))
                kind, answer = pipe.recv()
        except (OSError, EOFError):
            raise Refusal("websocket not connected") from None
        if kind == "refused":
            raise Refusal(answer)
        return answer

    def _listen(self, session: Session, pipe: Connection) -> None:
        answers = _Answers(pipe)
        with contextlib.suppress(EOFError, OSError):
            while True:
                match pipe.recv():
                    case ("connected", connected):
                        session.connected = connected
                    case ("refused", words):
                        session.end_pump(words)
                    case ("qr", code):
                        session.call(lambda code=code: session.show_qr(code))  # type: ignore[misc]
                    case ("event", number, code, payload):
                        answers.acknowledge(number, session)
                        session.push_raw(code, payload)
                        session.call(lambda number=number: answers.take(number))  # type: ignore[misc]
        session.connected = False
        session.push(INT_TO_EVENT[12](status=True))


class _Answers:
    """What the library says of events: that it has them, and that we have them."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()
        self._room = threading.Semaphore(_BUFFER)

    def acknowledge(self, number: int, session: Session) -> None:
        """Once there is room for it."""
        while not self._room.acquire(timeout=1):
            if session.stopped.is_set():
                raise EOFError
        self._say("acknowledged", number)

    def take(self, number: int) -> None:
        self._say("taken", number)
        self._room.release()

    def _say(self, what: str, number: int) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._pipe.send((what, number))
