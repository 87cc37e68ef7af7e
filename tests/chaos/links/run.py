"""One run: numbers on the played network, under a stack that runs already; all of them send and receive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import psutil

from boton.domain.messages import Direction
from tests.acceptance.stack import Stack
from tests.acceptance.waiting import wait_for
from tests.chaos.links.books import Account, account_heard, account_sent
from tests.chaos.links.kills import Kills
from tests.chaos.links.plan import LinksPlan
from tests.chaos.links.report import LinksReport
from tests.chaos.links.talk import Talk
from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.played import PlayedNumber, Premises, add_numbers
from tests.whatsapp.stored import PlayedStore

FAULTS = {"latencyMs": 100, "arriveAnywayRate": 0.5, "atMostOnce": True}
"""Of the network: what is on its way when a process dies may arrive or not, as with a real one."""

_START_SECONDS = 180.0
_AT_REST = 35.0
"""Seconds in which nothing moves any more: longer than what a link settles now and then."""

_UNSETTLED = ("queued", "sending")
_MB = 1024 * 1024


def run_links(
    stack: Stack, plan: LinksPlan, networks: dict[str, FakeNetwork], say: Callable[[str], None] = lambda _: None
) -> LinksReport:
    """networks: of `played_links`, in whose environment the stack was started."""
    up, began = stack.up(), time.monotonic()
    premises = Premises(store_url=stack.store_url, data_dir=stack.data_dir, temporal=up["temporal"])
    numbers = asyncio.run(add_numbers(premises, networks, plan.links))
    kills, talks = Kills(premises, numbers), [Talk(up["api"], number) for number in numbers]
    store = PlayedStore(stack.store_url)
    kills.begin()
    try:
        say("waiting until every number is connected")
        wait_for(lambda: kills.are_connected, _START_SECONDS, lambda: f"every number to be connected\n{stack.logs()}")
        for number, talk in zip(numbers, talks, strict=True):
            number.network.set_faults(**FAULTS)
            talk.begin(len(plan.victims))
        kills.strike(plan.victims, say)
        say("waiting until every number is back, and nothing moves")
        wait_for(lambda: kills.are_connected, _START_SECONDS, lambda: f"every number to be back\n{stack.logs()}")
        for talk in talks:
            talk.end()
        unsettled = _await_rest(store, numbers, talks)
        return LinksReport(
            plan=plan,
            kills=kills.all,
            account=_compare(store, numbers, talks),
            unsettled=unsettled,
            problems=[problem for talk in talks for problem in talk.problems],
            memory=_measure(premises, numbers),
            seconds=time.monotonic() - began,
        )
    finally:
        kills.end()
        store.close()


def _await_rest(store: PlayedStore, numbers: Sequence[PlayedNumber], talks: Sequence[Talk]) -> int:
    """Until everything is final, or nothing moves any more; how much is not."""
    left, changed = (-1, -1), time.monotonic()
    while left != (0, 0) and time.monotonic() - changed < _AT_REST:
        now = _count_open(store, numbers, talks)
        if now != left:
            left, changed = now, time.monotonic()
        time.sleep(0.5)
    return left[0]


def _count_open(store: PlayedStore, numbers: Sequence[PlayedNumber], talks: Sequence[Talk]) -> tuple[int, int]:
    """What must become final; and what may: messages in doubt, and customers' that the library had already."""
    account = _compare(store, numbers, talks)
    unsettled = sum(store.count(one.connection_id, Direction.OUTGOING, *_UNSETTLED) for one in numbers)
    doubts = len(account.without) + len(account.doubtful) + account.statuses["sent"] + len(account.swallowed)
    return unsettled + len(account.unheard), doubts


def _compare(store: PlayedStore, numbers: Sequence[PlayedNumber], talks: Sequence[Talk]) -> Account:
    account = Account()
    for number, talk in zip(numbers, talks, strict=True):
        account_sent(account, number.network, talk.asked, store.list_messages(number.connection_id, Direction.OUTGOING))
        heard = store.list_messages(number.connection_id, Direction.INCOMING)
        account_heard(account, number.network, talk.written, heard)
    return account


def _measure(premises: Premises, numbers: Sequence[PlayedNumber]) -> float:
    return sum(psutil.Process(premises.find_link(one)).memory_full_info().pss for one in numbers) / _MB
