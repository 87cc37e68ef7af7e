"""Answers that were paid for twice are found out, and those that a death has cost are told."""

from __future__ import annotations

import pytest

from tests.chaos.chats.bill import Bill, check_bill
from tests.chaos.chats.model import Asked, Outcome

STORED = {("trn_1", 0): 12.0}


def asked(began: float, outcome: Outcome = Outcome.ANSWERED) -> Asked:
    return Asked(turn="trn_1", round=0, began=began, outcome=outcome)


def findings(bill: Bill) -> tuple[int, list[str], list[str]]:
    return bill.again, bill.unfounded, bill.needless


def test_one_request_for_each_answer_is_in_order() -> None:
    assert findings(check_bill([asked(10)], STORED, [])) == (0, [], [])


def test_refused_request_may_be_made_again() -> None:
    assert findings(check_bill([asked(8, Outcome.REFUSED), asked(10)], STORED, [])) == (0, [], [])


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.GONE])
def test_request_whose_worker_died_may_be_made_again(outcome: Outcome) -> None:
    assert findings(check_bill([asked(10), asked(8, outcome)], STORED, [(9, "worker")])) == (1, [], [])


@pytest.mark.parametrize("death", [(9, "link"), (7, "worker"), (11, "worker")])
def test_request_made_again_without_a_death_is_unfounded(death: tuple[float, str]) -> None:
    assert findings(check_bill([asked(8), asked(10)], STORED, [death])) == (1, ["trn_1-0"], [])


def test_request_for_a_stored_answer_is_needless() -> None:
    assert findings(check_bill([asked(10), asked(13)], STORED, [(11, "worker")])) == (1, [], ["trn_1-0"])
