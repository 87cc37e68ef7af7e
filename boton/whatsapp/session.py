"""One process's hold on one number: who owns it, its client of the library, how its line stands."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from boton.domain.linking import is_same_phone
from boton.errors import ConnectionAway, ProcessSpent, SessionReplaced
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.line import Line
from boton.whatsapp.neonize_client import CallFailed, NeonizeClient, Wedged
from boton.whatsapp.number import Number
from boton.whatsapp.ownership import Ownership
from boton.whatsapp.refusals import OTHER_PHONE, REPLACED, UNLINKED

log = logging.getLogger(__name__)

_MOST_CONNECTS = 50
_MOST_CONNECTS_SHARED = 5
"""The library leaks a database handle with each, which is a file's or one of PostgreSQL's few connections."""

_REPLACED_AGAIN = 600.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds. send: after which a send hangs (the library's own time-out is 75). proof: how long a receipt is awaited.
    silence: after which WhatsApp is asked something, though the library says that it is connected; answer: how long it
    may take to answer that.
    """

    predecessors: float = 10.0
    connect: float = 30.0
    reconnect: float = 30.0
    sync: float = 10.0
    send: float = 90.0
    proof: float = 5.0
    silence: float = 45.0
    answer: float = 25.0


_OWN_THREADS = ThreadPoolExecutor(8, "boton-store")
"""Not the loop's: calls of the library that hang may hold all of those."""


async def in_own_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_OWN_THREADS, work)


async def ask_store(question: Callable[[], T]) -> T:
    """In a thread. Raises ConnectionAway where the device store fails: nothing can be sent without it."""
    try:
        return await in_own_thread(question)
    except SQLAlchemyError as error:
        raise ConnectionAway(f"The device store is out of reach ({type(error).__name__}).") from None


class Session:
    """Opened under an epoch, again and again; closed once."""

    def __init__(
        self,
        store: DeviceStore,
        connection_id: str,
        patience: Patience,
        reach: Callable[[], Awaitable[bool]],
        clock: Callable[[], float],
        phone: str | None,
    ) -> None:
        self.line = Line(clock)
        self._reach = reach
        self._store = store
        self._connection_id = connection_id
        self._phone = phone
        self._patience = patience
        self._ownership = Ownership(store, connection_id)
        self._opening = asyncio.Lock()
        self._epoch = 0
        self._number: Number | None = None
        self._client: NeonizeClient | None = None
        self._replaced_at: float | None = None
        self._question: asyncio.Future[None] | None = None

    async def open(self, epoch: int) -> None:
        """Raises SessionReplaced, ConnectionAway, NumberLost, ProcessSpent."""
        async with self._opening:
            await ask_store(partial(self._ownership.take, epoch))
            self._epoch = epoch
            if self.line.up:
                return
            if self.line.loss is not None:
                raise self.line.loss.to_error()
            client = self._client or await self._load()
            if await self._comes_back(client):
                self.check_line()
            else:
                await self._connect(client)

    async def close(self) -> None:
        client, self._client, self._epoch = self._client, None, 0
        self.line.wake()
        if client is not None:
            await client.stop()
        if client is None or client.is_idle:
            await in_own_thread(self._ownership.leave)
        await in_own_thread(self._store.close)

    async def forget(self) -> None:
        """After `close`, of a device that the phone has forgotten: its keys and its journal go."""
        try:
            await asyncio.to_thread(self._store.remove, self._connection_id)
            await asyncio.to_thread(self._store.close)
        except (SQLAlchemyError, OSError) as error:
            extra = {"connection": self._connection_id, "reason": type(error).__name__}
            log.warning("logged-out device not removed", extra=extra)

    async def ready(self, epoch: int | None = None) -> tuple[NeonizeClient, Number]:
        """For a request, of that epoch. Raises SessionReplaced, ConnectionAway."""
        client, number = self.opened()
        if epoch is not None and epoch != self._epoch:
            raise SessionReplaced("The attempt belongs to another epoch.")
        await self.check_owner()
        if not self.line.up:
            raise ConnectionAway("WhatsApp is not connected.")
        return client, number

    def opened(self) -> tuple[NeonizeClient, Number]:
        """Raises ConnectionAway before `open` and after `close`."""
        if self._client is None or self._number is None:
            raise ConnectionAway("This gateway is not open.")
        return self._client, self._number

    async def check_owner(self) -> None:
        """Raises SessionReplaced once a process of a higher epoch has opened the number."""
        await ask_store(self._ownership.check)

    def check_line(self) -> None:
        """Raises NumberLost, ConnectionAway."""
        self.opened()
        if self.line.loss is not None:
            raise self.line.loss.to_error()
        if self.line.replaced:
            raise ConnectionAway("Another process took the connection over.")
        if not self.line.up:
            raise ConnectionAway(f"WhatsApp is not connected ({self.line.broken or 'it reconnects by itself'}).")

    async def wait_for_news(self, number: Number, heard: int, seconds: float) -> None:
        """Until there is something to read, or to notice."""
        await self.line.wait(lambda: number.heard != heard or self._client is None or not self.line.up, seconds)

    async def prove_connected(self) -> None:
        """A connection can die without a word. Raises SessionReplaced, NumberLost, ConnectionAway."""
        client, _ = self.opened()
        await self.check_owner()
        self.check_line()
        await self._ask_library(client)
        if self.line.up and self.line.silence > self._patience.silence:
            await self._ask_whatsapp(client)
        self.check_line()

    async def unwedge(self, client: NeonizeClient, connects: int) -> None:
        """A send that hangs makes every later one hang; only a stop ends them. connects: the client's when it began."""
        if client.connects == connects:
            self.line.break_("a send hung")
            await client.stop()

    # ------------------------------------------------------------ asking

    async def _ask_library(self, client: NeonizeClient) -> None:
        try:
            if not await client.is_connected():
                self.line.break_("the library is not connected, and did not say so")
        except (Wedged, ConnectionAway):
            self.line.break_("the library gives no answer")

    async def _ask_whatsapp(self, client: NeonizeClient) -> None:
        """Whatever WhatsApp tells or answers meanwhile will do. One question at a time: each holds a thread."""
        asked_with = self.line.silence
        if self._question is None or self._question.done():
            self._question = asyncio.ensure_future(self._question_of(client))
        question = self._question
        await self.line.wait(
            lambda: self.line.silence < asked_with or not self.line.up or question.done(), self._patience.answer
        )
        if self.line.silence >= asked_with:
            self.line.break_("WhatsApp gives no answer")

    async def _question_of(self, client: NeonizeClient) -> None:
        with contextlib.suppress(Wedged, CallFailed, ConnectionAway):
            await client.ask_something()
        self.line.wake()

    # ------------------------------------------------------------ opening

    async def _load(self) -> NeonizeClient:
        device = await ask_store(partial(self._store.find_device, self._connection_id))
        if device is None:
            raise UNLINKED.to_error()
        if self._phone and not is_same_phone(self._phone, device.phone):
            raise OTHER_PHONE.to_error()
        await self._await_predecessors()
        load = partial(Number, self._store, self._connection_id, device, self._ownership, self.line)
        self._number = number = await ask_store(load)
        name = self._store.library_name(self._connection_id)
        line = self.line
        self._client = NeonizeClient(name, device.jid, number.take_event, on_answer=line.prove, on_end=line.break_)
        return self._client

    async def _await_predecessors(self) -> None:
        """Two processes must not drive one device; but one that is frozen elsewhere is not waited for long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience.predecessors
        while not await ask_store(self._ownership.is_predecessor_dead):
            if loop.time() >= deadline:
                log.warning("an earlier process may be alive", extra={"connection": self._connection_id})
                return
            await asyncio.sleep(min(0.25, self._patience.predecessors))

    async def _comes_back(self, client: NeonizeClient) -> bool:
        """Whether the library, connected before, reconnects by itself."""
        if not client.connects or self.line.replaced or self.line.broken:
            return False
        return await self.line.wait(lambda: self.line.decided, self._patience.reconnect)

    async def _connect(self, client: NeonizeClient) -> None:
        self._yield_to_replacement()
        if client.connects >= (_MOST_CONNECTS_SHARED if self._store.is_shared else _MOST_CONNECTS):
            raise ProcessSpent("This process has connected often enough.")
        await client.stop()
        if await ask_store(partial(self._store.find_device, self._connection_id)) is None:
            raise UNLINKED.to_error()
        if not await self._reach():
            raise ConnectionAway("WhatsApp is out of reach.")
        self.line.reset()
        await client.connect()
        if not await self.line.wait(lambda: self.line.decided, self._patience.connect):
            self.line.break_("WhatsApp does not answer")
        self.check_line()
        await self.line.wait(lambda: self.line.synced or not self.line.up, self._patience.sync)
        self.check_line()

    def _yield_to_replacement(self) -> None:
        """Whoever took the connection over is thrown out once, in case it was a leftover; then it may keep it."""
        if not self.line.replaced:
            return
        now = asyncio.get_running_loop().time()
        if self._replaced_at is not None and now - self._replaced_at < _REPLACED_AGAIN:
            raise REPLACED.to_error()
        self._replaced_at = now
