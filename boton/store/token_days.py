"""How many tokens of the language model a business uses a day, and whether it may use more."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlmodel import Session, col

from boton.domain.pacing import day_of, to_zone
from boton.errors import NotFound
from boton.store.asking import ask
from boton.store.engine import Database
from boton.store.inserts import insert_or_ignore
from boton.store.steps import lock_chat
from boton.store.tables import BusinessRow, TokenDayRow, TurnRow

_USED = select(col(TokenDayRow.tokens)).where(
    col(TokenDayRow.business_id) == bindparam("business_id"), col(TokenDayRow.day) == bindparam("day")
)


class SqlTokenStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def count_spent(self, turn_id: str, tokens_in: int, tokens_out: int, now: datetime) -> None:
        await self._db.write(lambda session: _count_spent(session, turn_id, tokens_in, tokens_out, now))


def _count_spent(session: Session, turn_id: str, tokens_in: int, tokens_out: int, now: datetime) -> None:
    """The chat is locked, as by all who write its turns."""
    turn = session.get(TurnRow, turn_id)
    if turn is None:
        raise NotFound("turn", turn_id)
    lock_chat(session, turn.chat_id)
    session.refresh(turn)
    count_tokens(session, session.get_one(BusinessRow, turn.business_id), tokens_in + tokens_out, now)
    turn.tokens_in, turn.tokens_out = turn.tokens_in + tokens_in, turn.tokens_out + tokens_out


def count_tokens(session: Session, business: BusinessRow, tokens: int, now: datetime) -> None:
    """Adds to the business's day; several transactions may do so at once."""
    if tokens == 0:
        return
    key = {"business_id": business.id, "day": day_of(now, to_zone(business.timezone))}
    session.execute(insert_or_ignore(session.get_bind().dialect, TokenDayRow), {**key, "tokens": 0})
    mine = (col(TokenDayRow.business_id) == key["business_id"], col(TokenDayRow.day) == key["day"])
    more = update(TokenDayRow).where(*mine).values(tokens=TokenDayRow.tokens + tokens)
    session.execute(more.execution_options(synchronize_session=False))


def is_budget_used(session: Session, business: BusinessRow, now: datetime) -> bool:
    key = {"business_id": business.id, "day": day_of(now, to_zone(business.timezone))}
    used = ask(session, _USED, **key).scalar_one_or_none() or 0
    return bool(used >= business.daily_token_budget)
