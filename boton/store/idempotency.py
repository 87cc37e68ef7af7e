"""The first answer to a request with an Idempotency-Key, kept beside what the request created."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Session, col

from boton.errors import Invalid
from boton.ports import IdempotencyKey
from boton.store.inserts import insert_or_ignore
from boton.store.tables import IdempotencyRow


def claim_key(
    session: Session, business_id: str, key: IdempotencyKey, status_code: int, answer: dict[str, Any], now: datetime
) -> bool:
    """Whether this request is the first with its key; a concurrent twin waits here for the first one's commit."""
    values = {
        "business_id": business_id,
        "path": key.path,
        "key": key.key,
        "body_hash": key.body_hash,
        "status_code": status_code,
        "answer": answer,
        "created_at": now,
    }
    claimed = insert_or_ignore(session.get_bind().dialect, IdempotencyRow).returning(col(IdempotencyRow.key))
    return session.execute(claimed, values).first() is not None


def find_answer(session: Session, business_id: str, key: IdempotencyKey) -> dict[str, Any] | None:
    """What was kept with this key; None when it is new. Raises Invalid when it came with another body."""
    first = session.get(IdempotencyRow, (business_id, key.path, key.key))
    if first is None:
        return None
    if first.body_hash != key.body_hash:
        detail = "came with another body before: use a new key for a new request"
        raise Invalid(f"This Idempotency-Key {detail}.", (("Idempotency-Key", detail),))
    return first.answer
