"""The simulator as a gateway: one phone number on the simulated network (boton/simulator/private.py answers)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx

from boton.domain.gateway import Attempt, GatewayEvent, Outcome, Sent
from boton.errors import ConnectionAway, OutcomeUnknown, RecipientRefused, SendError, SessionReplaced
from boton.whatsapp.simulator_json import (
    parse_events,
    parse_outcome,
    parse_refusal,
    parse_registered,
    parse_sent,
    to_number,
)

_SEND_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_ASK_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_CLOSE_TIMEOUT = httpx.Timeout(2.0)
_GRACE = 10.0
"""Seconds that a long poll may take beyond its wait."""

_JSON = {"Content-Type": "application/json"}

_IDLE = 30.0
"""Seconds that an unused connection is kept; the simulator keeps it longer."""

_NOT_WRITTEN = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Nothing of the request left this process. After anything else it may have been heard."""


T = TypeVar("T")


class SimulatorGateway:
    """Implements `WhatsAppGateway`. One session, opened by `open`; after `close` everything is ConnectionAway."""

    def __init__(self, base_url: str, phone: str) -> None:
        """`phone`: the business's number, digits only."""
        self._path = f"/gateway/{phone}"
        self._epoch = 0
        # Loopback: no proxy of the environment, and no certificates to be loaded into memory.
        self._client = httpx.AsyncClient(
            base_url=base_url,
            trust_env=False,
            verify=False,
            timeout=_ASK_TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=20, keepalive_expiry=_IDLE),
        )

    async def open(self, epoch: int) -> None:
        await self._ask("PUT", "/session", _nothing, {"epoch": epoch})
        self._epoch = epoch

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        query = f"/events?epoch={self._epoch}&after={after}&wait={wait:.3f}"
        timeout = httpx.Timeout(wait + _GRACE, connect=5.0)
        return await self._ask("GET", query, parse_events, timeout=timeout)

    async def prove_connected(self) -> None:
        await self.open(self._epoch)

    async def send_text(self, attempt: Attempt) -> Sent:
        to = to_number(attempt.jid)
        body = {"epoch": attempt.epoch, "attempt": attempt.id, "to": to, "text": attempt.text}
        return await self._request("POST", "/send", parse_sent, body, _SEND_TIMEOUT)

    async def find_outcome(self, attempt: Attempt) -> Outcome:
        return await self._ask("POST", "/outcome", parse_outcome, {"epoch": self._epoch, "attempt": attempt.id})

    async def find_on_whatsapp(self, jid: str) -> Sequence[str]:
        try:
            number = to_number(jid)
        except RecipientRefused:
            return (jid,)  # a LID, which the simulated network does not know: sending to it tells
        is_there = await self._ask("POST", "/lookup", parse_registered, {"epoch": self._epoch, "number": number})
        return (jid,) if is_there else ()

    async def show_typing(self, jid: str, seconds: float) -> None:
        with contextlib.suppress(SendError):
            body = {"epoch": self._epoch, "to": to_number(jid), "seconds": max(0.0, min(seconds, 60.0))}
            await self._ask("POST", "/typing", _nothing, body)

    async def watch_typing(self, seconds: float) -> None:
        """The simulated network always tells."""

    async def log_out(self) -> bool:
        await self.close()
        return True

    async def close(self) -> None:
        with contextlib.suppress(SendError):
            await self._ask("DELETE", f"/session?epoch={self._epoch}", _nothing, timeout=_CLOSE_TIMEOUT)
        await self._client.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        parse: Callable[[Any], T],
        body: Mapping[str, Any] | None = None,
        timeout: httpx.Timeout = _ASK_TIMEOUT,
    ) -> T:
        """A request that may be made twice: without an answer it counts as not made. Raises ConnectionAway,
        SessionReplaced."""
        try:
            return await self._request(method, path, parse, body, timeout)
        except (ConnectionAway, SessionReplaced):
            raise
        except SendError as error:
            raise ConnectionAway(error.detail) from error

    async def _request(
        self,
        method: str,
        path: str,
        parse: Callable[[Any], T],
        body: Mapping[str, Any] | None,
        timeout: httpx.Timeout,
    ) -> T:
        """The answer, parsed. Raises the SendError that the simulator names, or that the lack of an answer means."""
        if self._client.is_closed:
            raise ConnectionAway("This gateway is closed.")
        # Escaped to ASCII: half a surrogate pair is then the simulator's to refuse, not ours to stumble over.
        content = None if body is None else json.dumps(body)
        try:
            response = await self._client.request(
                method, self._path + path, content=content, headers=_JSON, timeout=timeout
            )
        except _NOT_WRITTEN as error:
            raise ConnectionAway(f"The simulator is out of reach ({type(error).__name__}).") from error
        except httpx.HTTPError as error:
            raise OutcomeUnknown(f"The simulator gave no answer ({type(error).__name__}).") from error
        return _read_answer(response, parse)


def _read_answer(response: httpx.Response, parse: Callable[[Any], T]) -> T:
    """Raises the SendError that a problem document names; OutcomeUnknown for an answer nobody can read."""
    try:
        answer = response.json() if response.content else {}
        if response.is_success:
            return parse(answer)
        refusal = parse_refusal(answer)
    except (ValueError, KeyError, TypeError, AttributeError):
        refusal = None
    raise refusal or OutcomeUnknown(f"The simulator's answer ({response.status_code}) cannot be read.")


def _nothing(_answer: object) -> None:
    """What requests answer that only succeed or fail."""
