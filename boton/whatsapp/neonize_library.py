"""The one file that imports neonize: the library, kept quiet, as a raw client that hands over raw events.

Import it late, and only where a number is driven: it costs half a second and 60 MB. Importing it raises GatewayAbsent,
with what to install, where the library cannot be loaded.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from boton.errors import ConnectionAway, GatewayAbsent
from boton.whatsapp.device_store import DeviceStore

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
    from neonize.exc import NeonizeError as LibraryError
    from neonize.proto.Neonize_pb2 import JID as JIDMessage
    from neonize.proto.Neonize_pb2 import LogEntry
    from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
    from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message as MessageProto
    from neonize.utils import enum as words
except (ImportError, OSError) as error:
    raise GatewayAbsent(
        "The WhatsApp library cannot be loaded: install libmagic (Debian: apt-get install libmagic1) on a system with "
        f"glibc 2.34 or newer, and the locked requirements ({type(error).__name__})."
    ) from error

_ROOT.setLevel(_BEFORE[0])
_ROOT.handlers[:] = _BEFORE[1]  # the library brings one of its own

__all__ = ["LibraryError", "MessageProto", "migrate", "new_raw", "parse_event", "stop_raw", "to_proto", "words"]

log = logging.getLogger(__name__)
logging.getLogger("neonize").setLevel(logging.ERROR)
logging.getLogger("neonize.utils.log").setLevel(logging.ERROR)  # also what the Go part hands over: else all XML

_THREADS = 32
"""The library holds one for good, and one for each call. The loop's own few would be used up by other work."""

_STOP_SECONDS = 65.0
_NUMBERS = count(1)
_NOTHING = 0

OnEvent = Callable[[int, bytes], None]
"""Takes a raw event and its code, on the library's thread: when it returns, the event is safe."""


def new_raw(name: str, on_event: OnEvent, also: Callable[[int], None] = lambda _: None) -> Any:
    """A client of the library, subscribed to every event, which it hands over raw on its own thread. On an event loop.

    also: is told each event's code first.
    """
    _make_room()
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


async def stop_raw(raw: Any) -> bool:
    """Waits for it, but not for ever: whether it stopped."""
    stopping: asyncio.Future[Any] = asyncio.ensure_future(raw.stop())
    await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is not None:
        log.warning("library did not stop", extra={"reason": type(stopping.exception()).__name__})
    return stopping.done()


def parse_event(code: int, payload: bytes) -> Any:
    """A raw event as the library's message; its strings are text that every store can hold. Raises KeyError or
    DecodeError for what this version does not know.
    """
    event = INT_TO_EVENT[code].FromString(payload)
    _mend_texts(event)
    return event


def _mend_texts(message: Any) -> None:
    """Nobody checks what a stranger calls text: what is none comes out of a protobuf as bytes, and a NUL as it is."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            if not field.message_type.GetOptions().map_entry:
                for part in value if field.is_repeated else (value,):
                    _mend_texts(part)
        elif field.type == field.TYPE_STRING and field.is_repeated:
            value[:] = map(_to_text, value)
        elif field.type == field.TYPE_STRING and (isinstance(value, bytes) or "\0" in value):
            setattr(message, field.name, _to_text(value))


def _to_text(value: str | bytes) -> str:
    text = value if isinstance(value, str) else value.decode(errors="replace")
    return text.replace("\0", "")


def to_proto(jid: str) -> Any:
    """A JID, with its device part if it has one, as the library takes it."""
    user, _, server = jid.partition("@")
    user, _, device = user.partition(":")
    numbers = {"RawAgent": 0, "Device": int(device or 0), "Integrator": 0}
    return JIDMessage(User=user.partition(".")[0], Server=server, IsEmpty=False, **numbers)


def migrate(store: DeviceStore, connection_id: str) -> None:
    """The library's tables, made or brought up to date by one process before many use them. Blocks."""
    store.engine(connection_id)
    handler = _library.func_callback_bytes2(_log)
    answer = _library.gocode.GetAllDevices(store.library_name(connection_id).encode(), handler).decode()
    if answer.startswith("error"):
        raise ConnectionAway("The library cannot open its device store.")
    store.index_secrets(connection_id)


# ---------------------------------------------------------------- kept quiet, with room


def _make_room() -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(getattr(loop, "_default_executor", None), _Room):
        loop.set_default_executor(_Room(_THREADS, "neonize"))


class _Room(ThreadPoolExecutor):
    """The default executor of a loop that drives the library."""


_DIGITS = re.compile(r"\d{6,}")


def _log(address: int, size: int) -> None:
    """The library's log, without numbers. Called on any thread."""
    if address and size > 0:
        entry = LogEntry.FromString(ctypes.string_at(address, size))
        log.warning("library: %s", _DIGITS.sub("…", entry.Message)[:300])
