"""`kill -9` of every part, one after the other, while messages go in."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.acceptance.histories import assert_clean, fetch_runs
from tests.acceptance.stack import Stack
from tests.acceptance.talk import Numbers, await_delivered
from tests.acceptance.traffic import Traffic
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.timeout(600)

SETTLE_SECONDS = 180.0
PARTS = ("api", "worker", "link", "connections", "temporal", "simulator")


def test_kill_of_each_part_loses_nothing_and_repeats_nothing(rough: Stack, numbers: Numbers) -> None:
    """With a latency, so that there is always something between claim and record."""
    rough.simulator.set_faults(latencyMs=200)
    traffic = Traffic(rough.api, rough.simulator, numbers)
    with traffic.going_in():
        for part in PARTS:
            traffic.await_more()
            rough.wait_replaced(part, rough.kill(part))
        traffic.await_more()
    traffic.await_settled(SETTLE_SECONDS)
    wait_for(lambda: not traffic.unsettled_sends(), SETTLE_SECONDS, "receipts for all sends")
    assert traffic.repeated() == {}
    assert len(traffic.doubtful) <= 2 * len(PARTS)
    for part in PARTS:
        assert part == "link" or f"{part} died (signal SIGKILL" in rough.terminal
    assert_clean(fetch_runs(rough), rough.simulator)


@pytest.mark.parametrize("parts", [("link",), ("connections",), ("temporal", "worker", "link", "api")])
def test_kill_in_mid_batch_leaves_each_phone_one_copy(rough: Stack, numbers: Numbers, parts: tuple[str, ...]) -> None:
    api, simulator, recipients = rough.api, rough.simulator, numbers.take(120)
    text = f"en tanda, sin {' ni '.join(parts)}"
    simulator.set_faults(latencyMs=40)
    accepted = api.send(recipients, message=text)
    wait_for(lambda: simulator.copies(text)[text] >= 20, SETTLE_SECONDS, "the middle of the batch")
    killed = {part: rough.kill(part) for part in parts}
    for part, pid in killed.items():
        rough.wait_replaced(part, pid)
    await_delivered(api, accepted["id"], SETTLE_SECONDS)
    reached = Counter(delivery["to"] for delivery in simulator.ledger() if delivery["text"] == text)
    assert reached == dict.fromkeys(recipients, 1)
