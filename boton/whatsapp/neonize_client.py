"""A guarded client around a library that can take its process down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from boton.errors import ConnectionAway, ProcessSpent
from boton.whatsapp.neonize_library import LibraryError, OnEvent, new_raw, stop_raw, to_proto, words
from boton.whatsapp.refusals import is_answer

_SENDS = 16
"""So many at once: sends that hang hold their threads, and stopping them takes one more."""

_ASK_SECONDS = 30.0
_SETTLE_SECONDS = 1.0
_CONNECTED = 3


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
        self._raw = new_raw(name, on_event, self._hear)
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
            self._stuck = not await stop_raw(self._raw)
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
        states = words.ChatPresence
        state = states.CHAT_PRESENCE_COMPOSING if on else states.CHAT_PRESENCE_PAUSED
        media = words.ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT
        await self._call(lambda: self._raw.send_chat_presence(to_proto(to), state, media), _ASK_SECONDS)

    async def show_online(self, on: bool) -> None:
        """Raises as `send`; CallFailed before the phone has told the number's name."""
        presence = words.Presence.AVAILABLE if on else words.Presence.UNAVAILABLE
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
        if not self._started or self._stopping.locked():
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
        except LibraryError as error:
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
