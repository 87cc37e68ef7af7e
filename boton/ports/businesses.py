"""Businesses and their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from boton.domain.businesses import Business, Caller, NewToken, Tally, Token


class BusinessStore(Protocol):
    async def create_business(self, name: str, *, bot_new_chats: bool, now: datetime) -> Business: ...
    async def list_businesses(self) -> Sequence[Business]: ...
    async def fetch_business(self, business_id: str) -> Business:
        """Raises NotFound."""

    async def update_config(self, business_id: str, changes: dict[str, Any]) -> Business:
        """Sets the named fields of BusinessConfig (snake_case, validated by the caller), leaves the others."""

    async def fetch_tally(self, business_id: str) -> Tally: ...
    async def create_token(self, business_id: str, name: str, now: datetime) -> NewToken:
        """Raises NotFound for an unknown business. The store keeps only the secret's SHA-256."""

    async def list_tokens(self, business_id: str | None = None) -> Sequence[Token]: ...
    async def revoke_token(self, token_id: str, now: datetime) -> Token:
        """Raises NotFound; revoking twice changes nothing."""

    async def authenticate(self, secret: str, now: datetime) -> Caller | None:
        """Who calls with this secret; None when it is unknown or revoked. Records its use, at most once a minute."""
