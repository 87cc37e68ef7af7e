"""Who may see the page at `/`: the admin password, sessions in a signed cookie, and a brake on guessing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from itsdangerous import BadData, URLSafeTimedSerializer

from boton.passwords import verify_password

PASSWORD_KEY = "admin_password_hash"  # noqa: S105 - the name of a row, not a password
SESSION_KEY = "session_key"
SESSION_SECONDS = 7 * 24 * 3600

_MOST_ATTEMPTS = 5
_ATTEMPT_SECONDS = 60.0
_MOST_CLIENTS = 1000


class MetaStore(Protocol):
    """Keys and values that belong to the whole installation."""

    async def get(self, key: str) -> str | None: ...
    async def put_if_absent(self, key: str, value: str) -> str:
        """Answers what is stored now."""


class AdminAccess:
    """Checks the admin password and signs sessions. A changed password ends every session.

    password: given by the settings; None: the hash in the store counts.
    """

    def __init__(self, meta: MetaStore, password: str | None = None) -> None:
        self._meta = meta
        self._password = password
        self._one_at_a_time = asyncio.Lock()  # scrypt takes 16 MB and some 50 ms each

    async def verify(self, password: str) -> bool:
        """Whether this is the admin password; never true as long as none was set."""
        if self._password is not None:
            return hmac.compare_digest(_digest(password), _digest(self._password))
        stored = await self._meta.get(PASSWORD_KEY)
        if stored is None:
            return False
        async with self._one_at_a_time:
            return await asyncio.to_thread(verify_password, password, stored)

    async def open_session(self) -> str:
        """The value of a cookie for someone who knew the password."""
        return (await self._signer("session")).dumps(secrets.token_urlsafe(16))

    async def find_session(self, cookie: str | None) -> str | None:
        """The session's id, unless the cookie is missing, forged, too old or from before a new password."""
        return await self._read("session", cookie)

    async def make_form_token(self, session: str) -> str:
        """What a form of this session carries, so that no other page can send it."""
        return (await self._signer("form")).dumps(session)

    async def is_form_token(self, token: str, session: str) -> bool:
        signed = await self._read("form", token)
        return signed is not None and hmac.compare_digest(signed, session)

    async def _read(self, purpose: str, value: str | None) -> str | None:
        if not value:
            return None
        try:
            return str((await self._signer(purpose)).loads(value, max_age=SESSION_SECONDS))
        except BadData:
            return None

    async def _signer(self, purpose: str) -> URLSafeTimedSerializer:
        key = await self._meta.get(SESSION_KEY)
        if key is None:
            key = await self._meta.put_if_absent(SESSION_KEY, secrets.token_urlsafe(32))
        credential = self._password or await self._meta.get(PASSWORD_KEY) or ""
        return URLSafeTimedSerializer([hmac.digest(key.encode(), credential.encode(), "sha256")], salt=purpose)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


class GuessBrake:
    """Five tries a minute from one address, a right password starts anew. In memory: one process, one page."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._attempts: dict[str, deque[float]] = {}

    def wait_seconds(self, client: str) -> float:
        """How long this client has to wait; 0 when it may try."""
        attempts = self._attempts.get(client)
        if attempts is None or len(attempts) < _MOST_ATTEMPTS:
            return 0.0
        return max(0.0, attempts[0] + _ATTEMPT_SECONDS - self._clock())

    def note_attempt(self, client: str) -> None:
        """Counted before the password is checked, so that many at once are braked too."""
        if client not in self._attempts and len(self._attempts) >= _MOST_CLIENTS:
            del self._attempts[next(iter(self._attempts))]
        self._attempts.setdefault(client, deque(maxlen=_MOST_ATTEMPTS)).append(self._clock())

    def forget(self, client: str) -> None:
        self._attempts.pop(client, None)
