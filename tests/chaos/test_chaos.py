"""The short version of `make chaos`: every part dies, something freezes, answers get lost; the books balance."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.stack import Stack, running
from tests.chaos.plan import EVERY_PART, Plan, Size, make_plan
from tests.chaos.run import SETTINGS, run_chaos

pytestmark = pytest.mark.timeout(600)

SIZE = Size(messages=400, kills=8)


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from running(Stack(tmp_path_factory.mktemp("chaos"), **SETTINGS))


@pytest.fixture
def postgres_stack(tmp_path_factory: pytest.TempPathFactory, empty_postgres_url: str) -> Iterator[Stack]:
    settings = SETTINGS | {"DATABASE_URL": empty_postgres_url}
    yield from running(Stack(tmp_path_factory.mktemp("chaos"), **settings))


def test_nothing_is_lost_or_repeated(stack: Stack) -> None:
    assert_books_balance(stack, make_plan(7, SIZE))


def test_network_that_forgets_leaves_doubts_but_no_second_copy(postgres_stack: Stack) -> None:
    """On PostgreSQL, for once."""
    assert_books_balance(postgres_stack, make_plan(9, SIZE, forgetful=True))


def assert_books_balance(stack: Stack, plan: Plan) -> None:
    report = run_chaos(stack, plan)
    assert report.passed, f"{report}\n{stack.logs()}"
    assert report.mischief.kills.keys() >= set(EVERY_PART)
    assert report.account.messages.total() >= 0.9 * plan.size.messages
    assert sum(report.account.statuses[status] for status in ("sent", "delivered", "read")) >= plan.size.messages / 2
