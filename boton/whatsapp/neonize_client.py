"""The one file that imports neonize: a guarded client around a library that can take its process down.

Import it late, and only where a number is driven: it costs half a second and 60 MB. Importing it raises GatewayAbsent,
with what to install, where the library cannot be loaded.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from boton.errors import ConnectionAway, GatewayAbsent, ProcessSpent
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.intake import take_in
from boton.whatsapp.journal import Journal
from boton.whatsapp.pairing import Paired, Pairing, PairingFailed, PairingStep
from boton.whatsapp.refusals import is_answer

_ROOT = logging.getLogger()
_BEFORE = _ROOT.level, _ROOT.handlers[:]


def _require_shared_library() -> None:
    """Without it the library would fetch one from the internet when it is imported."""
    spec = find_spec("neonize")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path()
    if not any(folder.glob("neonize-*.so")) and not any(folder.glob("neonize-*.d*l*")):
        raise ImportError("no shared library")


try:
    _require_shared_library()
    from neonize.aioze import client as _library
    from neonize.aioze import events as _library_events
    from neonize.events import EVENT_TO_INT, INT_TO_EVENT
    from neonize.exc import NeonizeError
    from neonize.proto.Neonize_pb2 import JID as JIDMessage
    from neonize.proto.Neonize_pb2 import LogEntry
    from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
    from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message as MessageProto
    from neonize.utils import enum as _words
except (ImportError, OSError) as error:
    raise GatewayAbsent(
        "The WhatsApp library cannot be loaded: install libmagic (Debian: apt-get install libmagic1) on a system with "
        f"glibc 2.34 or newer, and the locked requirements ({type(error).__name__})."
    ) from error

_ROOT.setLevel(_BEFORE[0])
_ROOT.handlers[:] = _BEFORE[1]  # the library brings one of its own

__all__ = ["MessageProto", "NeonizeClient", "Paired", "PairingFailed", "PairingStep", "migrate", "pair", "parse_event"]

log = logging.getLogger(__name__)
logging.getLogger("neonize").setLevel(logging.ERROR)
logging.getLogger("neonize.utils.log").setLevel(logging.ERROR)  # also what the Go part hands over: else all XML

_THREADS = 32
"""The library holds one for good, and one for each call. The loop's own few would be used up by other work."""

_SENDS = 16
"""So many at once: sends that hang hold their threads, and stopping them takes one more."""

_ASK_SECONDS = 30.0
_STOP_SECONDS = 65.0
_SETTLE_SECONDS = 1.0
_HISTORY_SECONDS = 15.0
"""In which the phone begins to hand over its chats. A part that is on its way when the library stops is lost: it is
acknowledged already. The next ones wait for the link.
"""

_NUMBERS = count(1)
_NOTHING, _CONNECTED = 0, 3

OnEvent = Callable[[int, bytes], None]
"""Takes a raw event and its code, on the library's thread: when it returns, the event is safe."""


class Wedged(Exception):
    """A call did not come back in time. It still may: only a stop ends it."""


class CallFailed(Exception):
    """The library said no, in its own words (which may hold a number: they are for `refusals` alone)."""


class NeonizeClient:
    """One linked device. Nothing is asked of the library before it is up or while it stops: that would be the end."""

    def __init__(
        self, name: str, jid: str, on_event: OnEvent, *, on_answer: Callable[[], None], on_end: Callable[[str], None]
    ) -> None:
        """name: of the library's database (`DeviceStore.library_name`). jid: of a device that is in there: an unknown
        one ends the process. On the event loop, on_answer is called whenever WhatsApp has answered, if only by a
        refusal, and on_end is told why the library's event pump ended.
        """
        _make_room()
        self._raw = _new_raw(name, on_event, self._hear)
        self._raw.jid = to_proto(jid)
        self._on_answer, self._on_end = on_answer, on_end
        self._task: asyncio.Task[None] | None = None
        self._started = False
        self._stopping = asyncio.Lock()
        self._calls: set[asyncio.Future[Any]] = set()
        self._sends = asyncio.Semaphore(_SENDS)
        self._stuck = False
        self.connects = 0

    async def connect(self) -> None:
        """Begins to connect, after a stop of what was before; events and `on_end` tell how it goes. Raises ProcessSpent
        when that did not stop.
        """
        await self.stop()
        if self._stuck:
            raise ProcessSpent("The library did not stop.")
        self.connects += 1
        self._task = await self._raw.connect()
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Ends the connection and every call, also those that hang. Safe to call twice."""
        async with self._stopping:
            self._started = False
            if self._task is None:
                return
            if self._calls:  # the library's map of clients is unguarded: calls that have just begun get past it
                await asyncio.wait(self._calls, timeout=_SETTLE_SECONDS)
            self._stuck = not await _bounded(self._raw.stop(), _STOP_SECONDS)
            await asyncio.wait({self._task}, timeout=_SETTLE_SECONDS)
            self._task = None

    @property
    def is_idle(self) -> bool:
        """Whether no call is left that could still send."""
        return not self._calls

    async def is_connected(self) -> bool:
        """Asks the library itself. Raises ConnectionAway, Wedged."""
        return bool(await self._call(lambda: self._raw.is_connected, 10.0))

    async def send(self, to: str, message: Any, seconds: float, done: Callable[[], None]) -> tuple[str, datetime]:
        """The message's id and WhatsApp's time. done: is called when the attempt can no longer reach the wire, which
        after Wedged is later. Raises ConnectionAway, CallFailed, Wedged.
        """
        try:
            await self._sends.acquire()
        except asyncio.CancelledError:
            done()
            raise

        def over() -> None:
            self._sends.release()
            done()

        answer = await self._ask(lambda: self._raw.send_message(to_proto(to), message), seconds, over)
        return answer.ID, datetime.fromtimestamp(answer.Timestamp, UTC)

    async def look_up(self, phone: str) -> str | None:
        """The JID under which WhatsApp knows a number; None when it knows none. Raises as `send`."""
        answers = await self._ask(lambda: self._raw.is_on_whatsapp(phone), _ASK_SECONDS)
        return next((f"{one.JID.User}@{one.JID.Server}" for one in answers if one.IsIn), None)

    async def show_typing(self, to: str, on: bool) -> None:
        """Raises as `send`."""
        states = _words.ChatPresence
        state = states.CHAT_PRESENCE_COMPOSING if on else states.CHAT_PRESENCE_PAUSED
        media = _words.ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT
        await self._call(lambda: self._raw.send_chat_presence(to_proto(to), state, media), _ASK_SECONDS)

    async def show_online(self, on: bool) -> None:
        """Raises as `send`; CallFailed before the phone has told the number's name."""
        presence = _words.Presence.AVAILABLE if on else _words.Presence.UNAVAILABLE
        await self._call(lambda: self._raw.send_presence(presence), _ASK_SECONDS)

    async def ask_something(self) -> None:
        """A round trip to WhatsApp, of which it makes little ado: a small list is read. Raises as `send`."""
        await self._ask(self._raw.get_blocklist, _ASK_SECONDS)

    async def logout(self) -> None:
        """The phone forgets the device, and so does the database. Raises as `send`."""
        await self._ask(self._raw.logout, _ASK_SECONDS)

    async def _ask(
        self, function: Callable[[], Awaitable[Any]], seconds: float, done: Callable[[], None] | None = None
    ) -> Any:
        """A call that is over when WhatsApp has answered."""
        try:
            answer = await self._call(function, seconds, done)
        except CallFailed as failed:
            if is_answer(str(failed)):
                self._on_answer()
            raise
        self._on_answer()
        return answer

    async def _call(
        self, function: Callable[[], Awaitable[Any]], seconds: float, done: Callable[[], None] | None = None
    ) -> Any:
        """A call runs in a thread and cannot be taken back: it goes on when nobody waits for it any more."""
        if not self._started:
            if done is not None:
                done()
            raise ConnectionAway("WhatsApp is not connected.")
        call = asyncio.ensure_future(function())
        self._calls.add(call)
        call.add_done_callback(lambda _: self._forget(call, done))
        await asyncio.wait({call}, timeout=seconds)
        if not call.done():
            raise Wedged
        try:
            return call.result()
        except NeonizeError as error:
            raise CallFailed(str(error)) from None

    def _forget(self, call: asyncio.Future[Any], done: Callable[[], None] | None) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # taken note of
        if done is not None:
            done()

    def _hear(self, code: int) -> None:
        """The first event proves that the library has its client by now."""
        self._started = self._started or code == _CONNECTED

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is not self._task:
            return
        failure = None if task.cancelled() else task.exception()
        self._on_end("the library ended" if failure is None else f"the library failed ({type(failure).__name__})")


def parse_event(code: int, payload: bytes) -> Any:
    """A raw event as the library's message. Raises KeyError or DecodeError for what this version does not know."""
    return INT_TO_EVENT[code].FromString(payload)


def migrate(store: DeviceStore, connection_id: str) -> None:
    """The library's tables, made or brought up to date by one process before many use them. Blocks."""
    store.engine(connection_id)
    handler = _library.func_callback_bytes2(_log)
    answer = _library.gocode.GetAllDevices(store.library_name(connection_id).encode(), handler).decode()
    if answer.startswith("error"):
        raise ConnectionAway("The library cannot open its device store.")
    store.index_secrets(connection_id)


def to_proto(jid: str) -> Any:
    """A JID, with its device part if it has one, as the library takes it."""
    user, _, server = jid.partition("@")
    user, _, device = user.partition(":")
    numbers = {"RawAgent": 0, "Device": int(device or 0), "Integrator": 0}
    return JIDMessage(User=user.partition(".")[0], Server=server, IsEmpty=False, **numbers)


# ---------------------------------------------------------------- linking


async def pair(
    store: DeviceStore,
    connection_id: str,
    *,
    phone: str | None,
    tell: Callable[[PairingStep], Awaitable[None]],
    deadline: float,
) -> Paired:
    """Links a phone to a new device, which is the connection's when this returns (`store.find_device`).

    phone: digits only; given, a pairing code is asked for, else QR codes are told. tell: is awaited with each new step.
    deadline: seconds until it gives up (WhatsApp's own codes end after 160). Raises PairingFailed.

    Only in a process that does nothing else, and ends by `os._exit`: the library cannot stop before a phone is linked,
    and keeps the interpreter from ending. Ending it at any time is safe.
    """
    await asyncio.to_thread(migrate, store, connection_id)
    _make_room()
    loop = asyncio.get_running_loop()
    pairing = Pairing(phone, tell, deadline)

    journal = Journal(store.engine(connection_id), connection_id)

    def on_event(code: int, payload: bytes) -> None:
        taken = take_in(journal, code, payload, parse_event)  # a history, or somebody who writes: the link reads it
        if taken.event is not None:
            loop.call_soon_threadsafe(pairing.hear, taken.event)

    raw = _new_raw(store.library_name(connection_id), on_event)
    raw.new_device = True
    raw.qr(lambda _, data: pairing.show_qr(data.decode(), lambda number: _ask_code(raw, number)))
    paired = await pairing.wait(await raw.connect())
    await asyncio.to_thread(store.assign, connection_id, paired.jid)
    await pairing.hear_history(_HISTORY_SECONDS)
    await _bounded(raw.stop(), _STOP_SECONDS)
    if await asyncio.to_thread(store.find_device, connection_id) is None:
        raise PairingFailed("The linked device is not in the library's database; take it off the phone and try again.")
    return paired


async def _ask_code(raw: Any, phone: str) -> str:
    try:
        return str(await raw.PairPhone(phone, True, client_type=_words.ClientType.CHROME))
    except NeonizeError:
        raise PairingFailed("WhatsApp gave no pairing code: check the number, or link by QR code.") from None


# ---------------------------------------------------------------- the library, kept quiet


def _new_raw(name: str, on_event: OnEvent, also: Callable[[int], None] = lambda _: None) -> Any:
    """A client of the library, subscribed to every event, which it hands over raw on its own thread."""
    _library_events.event_global_loop = None  # it would keep the first loop of this process for ever
    _library.log_whatsmeow = _log
    props = DeviceProps(os="BOTON", platformType=DeviceProps.CHROME)
    raw = _library.NewAClient(name, uuid=f"boton-{next(_NUMBERS)}", props=props)
    raw.event.list_func = dict.fromkeys(EVENT_TO_INT.values())

    def execute(_uuid: object, address: int, size: int, code: int) -> None:
        try:
            payload = ctypes.string_at(address, size)
            also(code)
            if code != _NOTHING:
                on_event(code, payload)
        except Exception as error:  # noqa: BLE001 - it would end in the library's thread
            log.error("event lost", extra={"event": code, "reason": type(error).__name__})

    raw.event.execute = execute
    return raw


def _make_room() -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(getattr(loop, "_default_executor", None), _Room):
        loop.set_default_executor(_Room(_THREADS, "neonize"))


class _Room(ThreadPoolExecutor):
    """The default executor of a loop that drives the library."""


async def _bounded(call: Awaitable[Any], seconds: float) -> bool:
    """Waits for a call of the library, but not for ever: whether it ended."""
    future = asyncio.ensure_future(call)
    await asyncio.wait({future}, timeout=seconds)
    if future.done() and not future.cancelled() and future.exception() is not None:
        log.warning("library did not stop", extra={"reason": type(future.exception()).__name__})
    return future.done()


_DIGITS = re.compile(r"\d{6,}")


def _log(address: int, size: int) -> None:
    """The library's log, without numbers. Called on any thread."""
    if address and size > 0:
        entry = LogEntry.FromString(ctypes.string_at(address, size))
        log.warning("library: %s", _DIGITS.sub("…", entry.Message)[:300])
