"""Requests as the tests make them: straight, and with far more patience than they need; the machine may be busy."""

from __future__ import annotations

from typing import Any

import httpx

_SECONDS = 40.0


def open_client(**options: Any) -> httpx.Client:
    return httpx.Client(trust_env=False, timeout=_SECONDS, **options)


def fetch(url: str, **options: Any) -> httpx.Response:
    with open_client() as client:
        return client.get(url, **options)
