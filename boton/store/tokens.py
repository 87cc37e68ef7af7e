"""API tokens: the store knows only the SHA-256 of a secret, which is random enough to need no salt."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import bindparam, select
from sqlmodel import Session, col

from boton.domain.businesses import Caller, Token
from boton.errors import NotFound
from boton.ids import Prefix, new_id
from boton.store.rows import to_business, to_token
from boton.store.tables import BusinessRow, TokenRow

_USE_RECORDED_EVERY = timedelta(minutes=1)

_CALLER = (
    select(TokenRow, BusinessRow)
    .join(BusinessRow, col(BusinessRow.id) == col(TokenRow.business_id))
    .where(col(TokenRow.secret_hash) == bindparam("secret_hash"), col(TokenRow.revoked_at).is_(None))
)
"""Built once: building it took half of the time of what every request begins with (measured)."""


def new_secret() -> str:
    return f"boton_{secrets.token_urlsafe(32)}"


def create(session: Session, business_id: str, name: str, secret: str, now: datetime) -> Token:
    if session.get(BusinessRow, business_id) is None:
        raise NotFound("business", business_id)
    row = TokenRow(
        id=new_id(Prefix.TOKEN),
        business_id=business_id,
        name=name,
        hint=secret[-4:],
        secret_hash=_hash(secret),
        created_at=now,
    )
    session.add(row)
    session.flush()
    return to_token(row)


def list_tokens(session: Session, business_id: str | None) -> list[Token]:
    """Oldest first, revoked ones too; of one business, or of all."""
    statement = select(TokenRow).order_by(col(TokenRow.id))
    if business_id is not None:
        statement = statement.where(col(TokenRow.business_id) == business_id)
    return [to_token(row) for row in session.scalars(statement)]


def revoke(session: Session, token_id: str, now: datetime) -> Token:
    row = session.get(TokenRow, token_id)
    if row is None:
        raise NotFound("token", token_id)
    row.revoked_at = row.revoked_at or now
    session.flush()
    return to_token(row)


def find_by_secret(session: Session, secret: str) -> Caller | None:
    """Read at every request, so that both come at once. None for a revoked token."""
    found = session.execute(_CALLER, {"secret_hash": _hash(secret)}).one_or_none()
    return None if found is None else Caller(token=to_token(found[0]), business=to_business(found[1]))


def is_use_due(token: Token, now: datetime) -> bool:
    """Whether its last recorded use is so long ago that this one is worth a write."""
    return token.last_used_at is None or now - token.last_used_at >= _USE_RECORDED_EVERY


def record_use(session: Session, token_id: str, now: datetime) -> Token | None:
    """The token with its use recorded; None when it was revoked meanwhile."""
    row = session.get(TokenRow, token_id, with_for_update=True)
    if row is None or row.revoked_at is not None:
        return None
    row.last_used_at = now
    session.flush()
    return to_token(row)


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
