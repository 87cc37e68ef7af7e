"""Businesses, how their bots behave, and what is counted of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlmodel import Session, col

from boton.domain.businesses import Business, BusinessConfig, Caller, NewToken, Tally, Token
from boton.errors import NotFound
from boton.ids import Prefix, new_id
from boton.store import tokens
from boton.store.engine import Database
from boton.store.rows import config_columns, to_business, to_tally
from boton.store.tables import BusinessRow, TallyRow


class SqlBusinessStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def create_business(self, name: str, *, bot_new_chats: bool, now: datetime) -> Business:
        config = BusinessConfig(business_name=name, bot_new_chats=bot_new_chats)
        return await self._db.write(lambda session: _create(session, config, now))

    async def list_businesses(self) -> Sequence[Business]:
        return await self._db.read(_list)

    async def fetch_business(self, business_id: str) -> Business:
        return await self._db.read(lambda session: to_business(_get(session, business_id)))

    async def update_config(self, business_id: str, changes: dict[str, Any]) -> Business:
        columns = config_columns(changes)
        return await self._db.write(lambda session: _update_config(session, business_id, columns))

    async def fetch_tally(self, business_id: str) -> Tally:
        return await self._db.read(lambda session: _fetch_tally(session, business_id))

    async def create_token(self, business_id: str, name: str, now: datetime) -> NewToken:
        secret = tokens.new_secret()
        token = await self._db.write(lambda session: tokens.create(session, business_id, name, secret, now))
        return NewToken(token=token, secret=secret)

    async def list_tokens(self, business_id: str | None = None) -> Sequence[Token]:
        return await self._db.read(lambda session: tokens.list_tokens(session, business_id))

    async def revoke_token(self, token_id: str, now: datetime) -> Token:
        return await self._db.write(lambda session: tokens.revoke(session, token_id, now))

    async def authenticate(self, secret: str, now: datetime) -> Caller | None:
        caller = await self._db.read(lambda session: tokens.find_by_secret(session, secret))
        if caller is None or not tokens.is_use_due(caller.token, now):
            return caller
        token = await self._db.write(lambda session: tokens.record_use(session, caller.token.id, now))
        return None if token is None else Caller(token=token, business=caller.business)


def _create(session: Session, config: BusinessConfig, now: datetime) -> Business:
    columns = config_columns({name: getattr(config, name) for name in BusinessConfig.__dataclass_fields__})
    row = BusinessRow(id=new_id(Prefix.BUSINESS), created_at=now, **columns)
    session.add(row)
    session.flush()
    session.add(TallyRow(business_id=row.id))
    session.flush()
    return to_business(row)


def _list(session: Session) -> list[Business]:
    return [to_business(row) for row in session.scalars(select(BusinessRow).order_by(col(BusinessRow.id)))]


def _get(session: Session, business_id: str, *, lock: bool = False) -> BusinessRow:
    row = session.get(BusinessRow, business_id, with_for_update={"key_share": True} if lock else None)
    if row is None:
        raise NotFound("business", business_id)
    return row


def _update_config(session: Session, business_id: str, columns: dict[str, Any]) -> Business:
    row = _get(session, business_id, lock=True)
    for name, value in columns.items():
        setattr(row, name, value)
    session.flush()
    return to_business(row)


def _fetch_tally(session: Session, business_id: str) -> Tally:
    row = session.get(TallyRow, business_id)
    if row is None:
        raise NotFound("business", business_id)
    return to_tally(row)
