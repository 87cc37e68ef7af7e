"""A REST client on one connection that stays open, and as little besides as possible: it is part of what is timed."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bench.progress import BenchFailed

_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """seconds: from the request's first byte to the answer's last."""

    status: int
    body: Any
    seconds: float


class Rest:
    """`url`: scheme, host, port and the path that every request's path is appended to. Not for several threads."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT)
        self._base = parts.path
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """Raises BenchFailed unless the answer is a success."""
        content = None if body is None else json.dumps(body)
        began = time.perf_counter()
        try:
            self._connection.request(method, self._base + path, content, self._headers)
            response = self._connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchFailed(f"{method} {self._base}{path}: {type(error).__name__}") from error
        seconds = time.perf_counter() - began
        if response.status >= 300:
            raise BenchFailed(f"{method} {self._base}{path}: {response.status} {raw[:300]!r}")
        return Answer(response.status, json.loads(raw) if raw else None, seconds)

    def get(self, path: str) -> Any:
        return self.call("GET", path).body

    def post(self, path: str, body: Any) -> Any:
        return self.call("POST", path, body).body

    def close(self) -> None:
        self._connection.close()
