"""The short version of `make chaos ARGS="--links 20"` and of the bench link.flood: real link processes, killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import pytest

from tests.acceptance.stack import Stack, running
from tests.acceptance.waiting import wait_for
from tests.chaos.links.plan import make_links_plan
from tests.chaos.links.run import run_links
from tests.whatsapp.flood import Flood
from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.played import Premises, add_numbers
from tests.whatsapp.remote import played_links
from tests.whatsapp.stored import PlayedStore

pytestmark = pytest.mark.timeout(300)

MESSAGES = 1000
ENOUGH = 120.0


@dataclass(frozen=True)
class Played:
    stack: Stack
    networks: dict[str, FakeNetwork]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    networks: dict[str, FakeNetwork] = {}
    with played_links(networks) as variables, patch.dict(os.environ, variables):
        for stack in running(Stack(tmp_path_factory.mktemp("links"))):
            yield Played(stack, networks)


def test_links_killed_each_second_lose_and_repeat_nothing(played: Played) -> None:
    report = run_links(played.stack, make_links_plan(7, links=4, kills=8), played.networks)
    assert report.is_honest, f"{report}\n{played.stack.logs()}"
    assert report.account.statuses["delivered"] > 4 * 8 / 2
    assert report.account.written["stored"] > 4 * 8 / 2


def test_flood_is_stored_once_and_in_order_whoever_dies(played: Played) -> None:
    """Some of it is told twice, and its link is killed in the midst."""
    stack = played.stack
    premises = Premises(store_url=stack.store_url, data_dir=stack.data_dir, temporal=stack.up()["temporal"])
    (number,) = asyncio.run(add_numbers(premises, played.networks, 1))
    store = PlayedStore(stack.store_url)
    find_link = partial(wait_for, lambda: premises.find_link(number), ENOUGH, "a link")
    find_link()
    flood = Flood(number, store, repeats=0.05)
    with ThreadPoolExecutor(1) as pouring:
        poured = pouring.submit(flood.pour, MESSAGES)
        wait_for(lambda: flood.stored > MESSAGES / 4, ENOUGH, "a part of the flood")
        os.kill(find_link(), signal.SIGKILL)
        poured.result()
        wait_for(lambda: flood.is_stored, ENOUGH, lambda: f"the flood, of which {flood.stored} came\n{stack.logs()}")
    assert flood.check() == []
    store.close()
