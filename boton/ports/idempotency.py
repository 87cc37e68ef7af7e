"""A request that may come twice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """A request's key with the SHA-256 of its parsed body."""

    key: str
    path: str
    body_hash: str
