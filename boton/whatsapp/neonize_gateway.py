"""The gateway to WhatsApp itself. Implements `WhatsAppGateway`.

What this library cannot give, beside what the port promises: an attempt that is on its way cannot be stopped, so that
`find_outcome` answers UNKNOWN for it; and a message that WhatsApp acknowledged to the library may be lost before the
library has told us of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from boton.domain.gateway import Attempt, GatewayEvent, Outcome, Sent
from boton.domain.jid import LID_SERVER
from boton.errors import ConnectionAway, OutcomeUnknown, ProcessSpent, SendError, SessionReplaced
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.line import Line
from boton.whatsapp.neonize_client import CallFailed, NeonizeClient, Wedged
from boton.whatsapp.number import Number
from boton.whatsapp.outbound import to_address, to_message
from boton.whatsapp.ownership import Ownership
from boton.whatsapp.refusals import REPLACED, UNLINKED, deserves_fresh_address, to_send_error

log = logging.getLogger(__name__)

_MOST_CONNECTS = 20
"""The library leaks a database handle with each."""

_REPLACED_AGAIN = 600.0
_TYPING_SLICE = 20.0
"""Seconds after which WhatsApp's clients stop showing it."""

_OWNER_CHECK = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds. send: after which a send hangs; the library's own time-out is 75. silence: after which WhatsApp is asked
    something, though the library says that it is connected.
    """

    predecessors: float = 10.0
    connect: float = 30.0
    reconnect: float = 10.0
    sync: float = 10.0
    send: float = 90.0
    watch: float = 15.0
    silence: float = 600.0


class NeonizeGateway:
    """One linked phone number. Its device store is closed with it."""

    def __init__(self, store: DeviceStore, connection_id: str, patience: Patience | None = None) -> None:
        self._store = store
        self._connection_id = connection_id
        self._patience = patience or Patience()
        self._ownership = Ownership(store, connection_id)
        self._opening = asyncio.Lock()
        self._epoch = 0
        self._line: Line | None = None
        self._number: Number | None = None
        self._client: NeonizeClient | None = None
        self._replaced_at: float | None = None
        self._watched_at = 0.0
        self._typing: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ the session

    async def open(self, epoch: int) -> None:
        """Also raises NumberLost when no phone is linked any more, ProcessSpent when a fresh process must go on."""
        async with self._opening:
            await self._ask_store(partial(self._ownership.take, epoch))
            self._epoch = epoch
            line = self._line = self._line or Line()
            if line.up:
                return
            if line.loss is not None:
                raise line.loss.to_error()
            if self._client is None:
                await self._load(line)
                await self._await_predecessors()
            if await self._comes_back(line):
                self._check_line()
            else:
                await self._connect(line)

    async def close(self) -> None:
        for task in self._typing:
            task.cancel()
        client, self._client, self._epoch = self._client, None, 0
        if client is not None:
            await client.stop()
        if client is None or client.is_idle:
            await asyncio.to_thread(self._ownership.leave)
        await asyncio.to_thread(self._store.close)
        if self._line is not None:
            self._line.wake()

    async def _comes_back(self, line: Line) -> bool:
        """Whether the library, connected before, reconnects by itself."""
        if self._client is None or not self._client.connects or line.replaced or line.broken:
            return False
        return await line.wait(lambda: line.decided, self._patience.reconnect)

    async def _load(self, line: Line) -> None:
        device = await self._ask_store(partial(self._store.find_device, self._connection_id))
        if device is None:
            raise UNLINKED.to_error()
        load = partial(Number, self._store, self._connection_id, device, self._ownership, line)
        self._number = await self._ask_store(load)
        name = self._store.library_name(self._connection_id)
        self._client = NeonizeClient(name, device.jid, self._number.take_event, line.break_)

    async def _await_predecessors(self) -> None:
        """Two processes must not drive one device; but one that is frozen elsewhere is not waited for long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience.predecessors
        while not await self._ask_store(self._ownership.are_predecessors_dead):
            if loop.time() >= deadline:
                log.warning("an earlier process may be alive", extra={"connection": self._connection_id})
                return
            await asyncio.sleep(min(0.25, self._patience.predecessors))

    async def _connect(self, line: Line) -> None:
        assert self._client is not None
        self._yield_to_replacement(line)
        if self._client.connects >= _MOST_CONNECTS:
            raise ProcessSpent("This process has connected often enough.")
        await self._client.stop()
        if await self._ask_store(partial(self._store.find_device, self._connection_id)) is None:
            raise UNLINKED.to_error()
        line.reset()
        await self._client.connect()
        if not await line.wait(lambda: line.decided, self._patience.connect):
            line.break_("WhatsApp does not answer")
        self._check_line()
        await line.wait(lambda: line.synced or not line.up, self._patience.sync)
        self._check_line()

    def _yield_to_replacement(self, line: Line) -> None:
        """Whoever took the connection over is thrown out once, in case it was a leftover; then it may keep it."""
        if not line.replaced:
            return
        now = asyncio.get_running_loop().time()
        if self._replaced_at is not None and now - self._replaced_at < _REPLACED_AGAIN:
            raise REPLACED.to_error()
        self._replaced_at = now

    def _check_line(self) -> None:
        """Raises NumberLost, ConnectionAway."""
        line = self._line
        if self._client is None or line is None:
            raise ConnectionAway("This gateway is not open.")
        if line.loss is not None:
            raise line.loss.to_error()
        if line.replaced:
            raise ConnectionAway("Another process took the connection over.")
        if not line.up:
            raise ConnectionAway(f"WhatsApp is not connected ({line.broken or 'it reconnects by itself'}).")

    async def _ready(self, epoch: int | None = None) -> tuple[NeonizeClient, Number]:
        """Raises SessionReplaced, ConnectionAway."""
        if self._client is None or self._number is None or self._line is None:
            raise ConnectionAway("This gateway is not open.")
        if epoch is not None and epoch != self._epoch:
            raise SessionReplaced("The attempt belongs to another epoch.")
        await self._ask_store(self._ownership.check)
        if not self._line.up:
            raise ConnectionAway("WhatsApp is not connected.")
        return self._client, self._number

    async def _ask_store(self, question: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(question)
        except SQLAlchemyError as error:
            raise ConnectionAway(f"The device store is out of reach ({type(error).__name__}).") from None

    # ------------------------------------------------------------ coming in

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        """Also raises NumberLost."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            number, line = self._number, self._line
            if self._client is None or number is None or line is None:
                raise ConnectionAway("This gateway is not open.")
            await self._ask_store(self._ownership.check)
            heard = number.heard
            events = await self._ask_store(partial(number.read, after))
            if events:
                return events
            self._check_line()
            left = deadline - loop.time()
            if left <= 0:
                return []
            await line.wait(partial(self._has_news, number, heard), min(left, _OWNER_CHECK))
            await self._watch()

    def _has_news(self, number: Number, heard: int) -> bool:
        return number.heard != heard or self._client is None or self._line is None or not self._line.up

    async def _watch(self) -> None:
        """What the library says of itself is checked now and then: a connection can die without a word."""
        now = asyncio.get_running_loop().time()
        line, client = self._line, self._client
        if line is None or client is None or not line.up or now - self._watched_at < self._patience.watch:
            return
        self._watched_at = now
        try:
            if not await client.is_connected():
                line.break_("the library is not connected, and did not say so")
            elif now - line.heard_at > self._patience.silence:
                await client.ask_something()
                line.heard_at = now
        except (Wedged, CallFailed, ConnectionAway):
            line.break_("WhatsApp gives no answer")

    # ------------------------------------------------------------ going out

    async def send_text(self, attempt: Attempt) -> Sent:
        address = to_address(attempt.jid)
        client, number = await self._ready(attempt.epoch)
        known = await self._ask_store(partial(number.addresses.find_canonical, address))
        try:
            return await self._send(client, number, attempt, known or address)
        except SendError as error:
            if known is not None and error.definitely_not_sent:
                await self._ask_store(partial(number.addresses.forget, address))
            if not deserves_fresh_address(error):
                raise
        fresh = await self._look_up(client, number, address)
        return await self._send(client, number, attempt, fresh or address)

    async def _send(self, client: NeonizeClient, number: Number, attempt: Attempt, address: str) -> Sent:
        message = to_message(attempt, number.attempts.begin(attempt))
        done = partial(number.attempts.end, attempt)
        try:
            message_id, at = await client.send(address, message, self._patience.send, done)
        except CallFailed as failed:
            raise to_send_error(str(failed)) from None
        except Wedged:
            await self._unwedge(client)
            raise OutcomeUnknown("A send hung; the connection is made anew.") from None
        try:
            await asyncio.to_thread(number.journal.note_sent, attempt.id, message_id, at)
        except SQLAlchemyError as error:
            log.error("sent message not noted", extra={"reason": type(error).__name__})
        return Sent(whatsapp_id=message_id, at=at)

    async def _unwedge(self, client: NeonizeClient) -> None:
        """A send that hangs makes every later one hang; only a stop ends them."""
        assert self._line is not None
        self._line.break_("a send hung")
        await client.stop()

    async def find_outcome(self, attempt: Attempt) -> Outcome:
        _, number = await self._ready()
        return await self._ask_store(partial(number.attempts.find_outcome, attempt))

    async def is_on_whatsapp(self, jid: str) -> bool:
        """Who was found once is not asked for again: WhatsApp counts such questions."""
        client, number = await self._ready()
        address = to_address(jid)
        if address.endswith(LID_SERVER):
            return True
        if await self._ask_store(partial(number.addresses.find_canonical, address)) is not None:
            return True
        return await self._look_up(client, number, address) is not None

    async def _look_up(self, client: NeonizeClient, number: Number, address: str) -> str | None:
        """How WhatsApp calls a number (Argentina and Mexico write theirs in two ways), from now on remembered."""
        if address.endswith(LID_SERVER):
            return address
        try:
            canonical = await client.look_up(address.partition("@")[0])
        except (CallFailed, Wedged):
            raise ConnectionAway("WhatsApp did not tell who is there.") from None
        if canonical is not None:
            await self._ask_store(partial(number.addresses.note_canonical, address, canonical))
        return canonical

    async def show_typing(self, jid: str, seconds: float) -> None:
        task = asyncio.create_task(self._show_typing(jid, seconds))
        self._typing.add(task)
        task.add_done_callback(self._typing.discard)

    async def _show_typing(self, jid: str, seconds: float) -> None:
        with contextlib.suppress(SendError, CallFailed, Wedged):
            client, number = await self._ready()
            address = to_address(jid)
            known = await self._ask_store(partial(number.addresses.find_canonical, address))
            left = min(max(seconds, 0.0), 60.0)
            while left > 0:
                await client.show_typing(known or address, True)
                await asyncio.sleep(min(left, _TYPING_SLICE))
                left -= _TYPING_SLICE
            await client.show_typing(known or address, False)
