"""Tokens of the language model: counted in the turn and in the business's day, whatever comes of the answer."""

from __future__ import annotations

import asyncio

import pytest

from boton.errors import NotFound
from boton.store.engine import Database
from boton.store.tables import TokenDayRow, TurnRow
from boton.store.token_days import SqlTokenStore
from tests.store.builders import NOW, at
from tests.store.stage import incoming, set_stage


async def test_what_is_spent_counts_in_the_turn_and_in_the_day(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.receive(incoming())
    turn_id = (await stage.open_turn()).turn_id
    tokens = SqlTokenStore(database)
    await asyncio.gather(*(tokens.count_spent(turn_id, 11, 7, at(1)) for _ in range(5)))
    (turn,), (day,) = await stage.all(TurnRow), await stage.all(TokenDayRow)
    assert (turn.tokens_in, turn.tokens_out, day.tokens) == (55, 35, 90)


async def test_budget_that_is_spent_without_an_answer_leaves_the_chat_to_a_human(database: Database) -> None:
    stage = await set_stage(database, bot_new_chats=True)
    await stage.businesses.update_config(stage.business.id, {"daily_token_budget": 18})
    await stage.receive(incoming())
    turn_id = (await stage.open_turn()).turn_id
    await SqlTokenStore(database).count_spent(turn_id, 11, 7, at(1))
    assert (await stage.look(now=at(2))).brief is None
    (turn,) = await stage.all(TurnRow)
    assert (turn.status, turn.reason) == ("dropped", "token_budget")


async def test_turn_that_is_not_there(database: Database) -> None:
    with pytest.raises(NotFound):
        await SqlTokenStore(database).count_spent("trn_nope", 1, 1, NOW)
