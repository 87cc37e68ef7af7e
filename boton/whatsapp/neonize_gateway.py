"""The gateway to WhatsApp itself. Implements `WhatsAppGateway`.

What this library cannot give, beside what the port promises: an attempt that is on its way cannot be stopped, so that
`find_outcome` answers UNKNOWN for it; and a message that WhatsApp acknowledged to the library may be lost before the
library has told us of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from boton.domain.gateway import Attempt, GatewayEvent, Outcome, Sent
from boton.domain.jid import LID_SERVER
from boton.errors import ConnectionAway, OutcomeUnknown, RecipientRefused, RefusedForNow, SendError
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_client import CallFailed, NeonizeClient, Wedged
from boton.whatsapp.number import Number
from boton.whatsapp.outbound import to_address, to_message
from boton.whatsapp.presence import Presence
from boton.whatsapp.reach import is_reachable
from boton.whatsapp.refusals import NOT_ON_WHATSAPP, deserves_fresh_address, may_hide_a_send, to_send_error
from boton.whatsapp.session import Patience, Session, ask_store, in_own_thread

log = logging.getLogger(__name__)

_TYPING_SLICE = 20.0
"""Seconds after which WhatsApp's clients stop showing it."""

_LONGEST_TYPING = 60.0
_OWNER_CHECK = 2.0


class NeonizeGateway:
    """One linked phone number, on the event loop that it was made on. Its device store is closed with it."""

    def __init__(
        self,
        store: DeviceStore,
        connection_id: str,
        patience: Patience | None = None,
        reach: Callable[[], Awaitable[bool]] = is_reachable,
        clock: Callable[[], float] = time.monotonic,
        phone: str | None = None,
    ) -> None:
        """phone: the connection's, digits only: no other phone's device is driven. None: whichever is linked."""
        self._patience = patience or Patience()
        self._session = Session(store, connection_id, self._patience, reach, clock, phone)
        self._typing: set[asyncio.Task[None]] = set()
        self._presence = Presence(self._show_online)

    async def open(self, epoch: int) -> None:
        """Also raises NumberLost when no phone is linked any more, ProcessSpent when a fresh process must go on."""
        await self._session.open(epoch)

    async def close(self) -> None:
        for task in self._typing:
            task.cancel()
        self._presence.close()
        await self._session.close()

    async def log_out(self) -> bool:
        """The device is taken off the phone, and nothing of it stays here; where WhatsApp cannot be told, its owner
        does that there.
        """
        told = False
        with contextlib.suppress(SendError, CallFailed, Wedged):
            client, _ = await self._session.ready()
            await client.logout()
            told = True
        await self.close()
        if told:
            await self._session.forget()
        return told

    # ------------------------------------------------------------ coming in

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        """Also raises NumberLost."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            _, number = self._session.opened()
            await self._session.check_owner()
            heard = number.heard
            events = await ask_store(partial(number.read, after))
            if events:
                return events
            self._session.check_line()
            left = deadline - loop.time()
            if left <= 0:
                return []
            await self._session.wait_for_news(number, heard, min(left, _OWNER_CHECK))

    async def prove_connected(self) -> None:
        """Also raises NumberLost. WhatsApp is asked at most about once a minute: where it has told and answered nothing
        for that long.
        """
        await self._session.prove_connected()
        await self._presence.introduce(self._session.line.connections)

    async def watch_typing(self, seconds: float) -> None:
        self._presence.be_online(seconds)

    async def _show_online(self, on: bool) -> bool:
        with contextlib.suppress(SendError, CallFailed, Wedged):
            client, _ = await self._session.ready()
            await client.show_online(on)
            return True
        return False

    # ------------------------------------------------------------ going out

    async def send_text(self, attempt: Attempt) -> Sent:
        address = to_address(attempt.jid)
        client, number = await self._session.ready(attempt.epoch)
        known = await ask_store(partial(number.addresses.write_to, address))
        try:
            return await self._send(client, number, attempt, known or address)
        except RecipientRefused as error:
            try:
                if known is not None:
                    await ask_store(partial(number.addresses.forget, address))
                if not deserves_fresh_address(error, known):
                    raise
                fresh = await self._look_up(client, number, address)
            except ConnectionAway:  # it counts as a refusal all the same: not to be tried as often as after a cut
                raise RefusedForNow(error.detail) from None
            if fresh is None or (error.code == NOT_ON_WHATSAPP and fresh == address):
                raise
        return await self._send(client, number, attempt, fresh)

    async def _send(self, client: NeonizeClient, number: Number, attempt: Attempt, address: str) -> Sent:
        message = to_message(attempt, number.attempts.to_secret(attempt))
        number.attempts.begin(attempt)
        done, connects = partial(number.attempts.end, attempt), client.connects
        try:
            message_id, at = await client.send(address, message, self._patience.send, done)
        except CallFailed as failed:
            raise await self._judge(number, attempt, str(failed)) from None
        except Wedged:
            await self._session.unwedge(client, connects)
            raise OutcomeUnknown("A send hung; the connection is made anew.") from None
        try:
            await in_own_thread(partial(number.journal.note_sent, attempt.id, message_id, at))
        except SQLAlchemyError as error:
            log.error("sent message not noted", extra={"reason": type(error).__name__})
        return Sent(whatsapp_id=message_id, at=at)

    async def _judge(self, number: Number, attempt: Attempt, words: str) -> SendError:
        """What a failed send means, also where the library's words alone do not tell."""
        error = to_send_error(words)
        if not may_hide_a_send(words):
            return error
        with contextlib.suppress(ConnectionAway):
            if not await ask_store(partial(number.attempts.may_have_left, attempt)):
                return error
        return OutcomeUnknown("The connection was lost while the message was sent.")

    async def find_outcome(self, attempt: Attempt) -> Outcome:
        """Waits a moment for a receipt, where nothing else is missing to the proof."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience.proof
        while True:
            _, number = await self._session.ready()
            heard = number.heard
            outcome = await ask_store(partial(number.attempts.find_outcome, attempt))
            left = deadline - loop.time()
            if left <= 0 or not number.attempts.lacks_proof_only(attempt, outcome, datetime.now(UTC)):
                return outcome
            await self._session.wait_for_news(number, heard, left)

    async def find_on_whatsapp(self, jid: str) -> Sequence[str]:
        """Who was found once is not asked for again: WhatsApp counts such questions."""
        client, number = await self._session.ready()
        address = to_address(jid)
        if address.endswith(LID_SERVER):
            return (address,)
        canonical = await ask_store(partial(number.addresses.find_canonical, address))
        canonical = canonical or await self._look_up(client, number, address)
        return () if canonical is None else (address, canonical)

    async def _look_up(self, client: NeonizeClient, number: Number, address: str) -> str | None:
        """How WhatsApp calls a number (Argentina and Mexico write theirs in two ways), from now on remembered."""
        if address.endswith(LID_SERVER):
            return address
        try:
            canonical = await client.look_up(address.partition("@")[0])
        except (CallFailed, Wedged):
            raise ConnectionAway("WhatsApp did not tell who is there.") from None
        if canonical is not None:
            await ask_store(partial(number.addresses.note_canonical, address, canonical))
        return canonical

    async def show_typing(self, jid: str, seconds: float) -> None:
        task = asyncio.create_task(self._show_typing(jid, seconds))
        self._typing.add(task)
        task.add_done_callback(self._typing.discard)

    async def _show_typing(self, jid: str, seconds: float) -> None:
        with contextlib.suppress(SendError, CallFailed, Wedged):
            client, number = await self._session.ready()
            address = to_address(jid)
            known = await ask_store(partial(number.addresses.find_canonical, address))
            left = min(max(seconds, 0.0), _LONGEST_TYPING)
            while left > 0:
                await client.show_typing(known or address, True)
                await asyncio.sleep(min(left, _TYPING_SLICE))
                left -= _TYPING_SLICE
            await client.show_typing(known or address, False)
