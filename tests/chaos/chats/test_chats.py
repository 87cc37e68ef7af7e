"""The short version of `make chaos ARGS="--chats"`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.stack import Stack, running
from tests.chaos.chats.model import SlowModel, slow_model
from tests.chaos.chats.plan import make_chat_plan
from tests.chaos.chats.run import run_chats
from tests.chaos.plan import Size
from tests.chaos.run import SETTINGS

pytestmark = pytest.mark.timeout(400)

SEED = 3


@pytest.fixture
def model() -> Iterator[SlowModel]:
    with slow_model(SEED) as model:
        yield model


@pytest.fixture
def stack(model: SlowModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from running(Stack(tmp_path_factory.mktemp("chats"), **SETTINGS, **model.settings))


def test_every_message_is_answered_by_one_turn(stack: Stack, model: SlowModel) -> None:
    report = run_chats(stack, make_chat_plan(SEED, Size(messages=30, kills=5)), model)
    assert report.passed, f"{report}\n{stack.logs()}"
    assert report.mischief.kills.keys() >= {"worker", "link", "connections", "temporal", "api"}
    assert report.mischief.moments["thinking"] >= 1
    assert report.account.turns["reply"] >= 15
    assert report.account.effects["applied"] >= 1
