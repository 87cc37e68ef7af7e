"""Idempotency-Key: the same request again gives the first answer again, and does nothing twice."""

from __future__ import annotations

import hashlib
import json

from fastapi import Header
from pydantic import BaseModel

from boton.ports import IdempotencyKey

KEY = Header(
    alias="Idempotency-Key",
    min_length=1,
    max_length=255,
    pattern=r"^[\x21-\x7e]+$",
    description="any text without spaces that names this request, kept for 30 days; a repetition does nothing twice",
    examples=["turno-4711"],
)


def to_idempotency(key: str | None, path: str, body: BaseModel) -> IdempotencyKey | None:
    """None without a key. Two bodies are the same when they mean the same, however they were written; also when a later
    version knows more fields.
    """
    if key is None:
        return None
    meaning = json.dumps(body.model_dump(mode="json", exclude_defaults=True, warnings=False), sort_keys=True).encode()
    return IdempotencyKey(key=key, path=path, body_hash=hashlib.sha256(meaning).hexdigest())
