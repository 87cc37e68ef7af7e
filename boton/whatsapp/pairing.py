"""What linking a phone tells while it goes on, and how it ends. Light to import: no library behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from boton.errors import BotonError

_BETWEEN_PARTS = 3.0
_AFTER_SCAN = timedelta(minutes=1)
"""More than what follows the first connection takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingStep:
    """What the owner of the phone is to be shown now: the QR code's content, or the pairing code (`QG4X-CMR2`).

    It replaces the step before. scanned: there is nothing more to be shown, the phone has taken the link. expires_at:
    when the next step comes or the pairing fails.
    """

    qr: str | None = None
    code: str | None = None
    scanned: bool = False
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The phone is linked. jid: of the new device (`5491138620812:7@s.whatsapp.net`); phone: digits only."""

    jid: str
    phone: str


def read_paired(event: Any) -> Paired | None:
    """The new device, where an event of the library tells that the phone has taken the link."""
    if event.DESCRIPTOR.name != "PairStatus" or event.Status != event.SUCCESS:
        return None
    return Paired(jid=f"{event.ID.User}:{event.ID.Device}@{event.ID.Server}", phone=event.ID.User)


class PairingFailed(BotonError):
    """The phone was not linked; `detail` says why and what to do. Trying again is safe."""

    code = "pairing_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Pairing:
    """One new device, from its first QR code to its first connection. On one event loop."""

    def __init__(self, phone: str | None, tell: Callable[[PairingStep], Awaitable[None]], deadline: float) -> None:
        self._phone, self._tell, self._deadline = phone, tell, deadline
        self._ends_at = datetime.now(UTC) + timedelta(seconds=deadline)
        self._codes = 0
        self._paired: Paired | None = None
        self._telling: asyncio.Future[None] | None = None
        self._parts = 0
        self._part = asyncio.Event()
        self._end: asyncio.Future[Paired] = asyncio.get_running_loop().create_future()

    async def wait(self, connecting: asyncio.Future[Any]) -> Paired:
        """Until the phone is linked and the device connected; one that does not connect any more is its link's to
        connect. Raises PairingFailed.
        """
        await asyncio.wait({connecting, self._end}, timeout=self._deadline, return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            return self._end.result()
        if self._paired is not None:
            return self._paired
        if connecting.done():
            connecting.exception()  # taken note of
            raise PairingFailed("WhatsApp is out of reach, or ended the pairing; try again.")
        raise PairingFailed("Nobody linked the phone in time; ask for a new code.")

    async def hear_history(self, seconds: float) -> None:
        """The phone hands over its chats right after the link, in parts. Until none has come for a moment; at most so
        many seconds.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        with contextlib.suppress(TimeoutError):
            while (left := deadline - loop.time()) > 0:
                await asyncio.wait_for(self._part.wait(), min(left, _BETWEEN_PARTS) if self._parts else left)
                self._part.clear()

    async def show_qr(self, qr: str, ask_code: Callable[[str], Awaitable[str]]) -> None:
        """A new QR code: the first lives for a minute, the others for 20 seconds. From the first on, a pairing code can
        be asked for instead.
        """
        self._codes += 1
        try:
            if self._phone is None:
                lives = timedelta(seconds=60 if self._codes == 1 else 20)
                await self._tell(PairingStep(qr=qr, expires_at=min(datetime.now(UTC) + lives, self._ends_at)))
            elif self._codes == 1:
                code = await ask_code(self._phone)
                await self._tell(PairingStep(code=code, expires_at=self._ends_at))
        except PairingFailed as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever `tell` raises
            self._fail(PairingFailed(f"The code could not be shown ({type(error).__name__})."))

    def hear(self, event: Any) -> None:
        """An event of the library: the phone's answer, then the first connection, then what the phone hands over."""
        match event.DESCRIPTOR.name:
            case "PairStatus" if (paired := read_paired(event)) is not None:
                self._paired = paired
                ends_at = max(self._ends_at, datetime.now(UTC) + _AFTER_SCAN)
                taken = PairingStep(scanned=True, expires_at=ends_at)
                self._telling = asyncio.ensure_future(self._tell(taken))
            case "PairStatus":
                self._fail(PairingFailed("WhatsApp did not accept the link; try again."))
            case "Connected" if self._paired is not None and not self._end.done():
                self._end.set_result(self._paired)
            case "HistorySync":
                self._parts += 1
                self._part.set()

    def _fail(self, error: PairingFailed) -> None:
        if not self._end.done():
            self._end.set_exception(error)
