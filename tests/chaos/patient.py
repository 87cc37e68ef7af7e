"""A client that asks until it is answered, as an integrator does who has heard of Idempotency-Key."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import httpx

_PATIENCE = 300.0
_PAUSE = 0.5


class Unanswered(Exception):
    """Nobody answered for minutes."""


class Patient:
    """`base`: the address under which everything is. For many threads. repeated: requests made again, by reason."""

    def __init__(self, base: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        limits = httpx.Limits(max_connections=64, keepalive_expiry=2)
        self._client = httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=40, limits=limits)
        self._lock = threading.Lock()
        self.repeated: Counter[str] = Counter()

    def __enter__(self) -> Patient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The first answer that comes. Only for what may be asked twice: the first may have been heard."""
        deadline = time.monotonic() + _PATIENCE
        while (answer := self.try_once(method, path, **options)) is None:
            if time.monotonic() > deadline:
                raise Unanswered(f"{method} {path}")
            time.sleep(_PAUSE)
        return answer

    def try_once(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """None when the answer was lost, or says that the other side failed."""
        try:
            answer = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            self._count(type(error).__name__)
            return None
        if answer.status_code < 500:
            return answer
        self._count(str(answer.status_code))
        return None

    def fetch(self, path: str, **query: Any) -> dict[str, Any]:
        """The document there. Raises AssertionError where there is none."""
        answer = self.request("GET", path, params=query)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def list_all(self, path: str, things: str, **query: Any) -> list[dict[str, Any]]:
        """All pages of a list."""
        found: list[dict[str, Any]] = []
        page, more = 0, True
        while more:
            listed = self.fetch(path, page=page, pageSize=50, **query)
            found += listed[things]
            page, more = page + 1, listed["hasMore"]
        return found

    def list_events(self) -> list[dict[str, Any]]:
        """All that happened, in order."""
        found: list[dict[str, Any]] = []
        after, more = 0, True
        while more:
            page = self.fetch("/events", after=after, limit=1000)
            found += page["events"]
            after, more = page["lastSeq"], page["hasMore"]
        return found

    def _count(self, reason: str) -> None:
        with self._lock:
            self.repeated[reason] += 1
