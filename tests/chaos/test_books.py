"""Books that do not balance are found out: without this a chaos run that finds nothing would say nothing."""

from __future__ import annotations

import pytest

from tests.chaos.books import Account, Claimed, Delivery, Told, check_events, choose_answer, compare
from tests.chaos.plan import Job, Kind, Letter, Size, make_plan

CODE, NUMBER = "c1-000001", "5491130000001"
SEND = Job(key="k", kind=Kind.DIRECT, letters=(Letter(code=CODE, number=NUMBER),))
QUESTION = Job(key="q", kind=Kind.CUSTOMER, letters=(Letter(code=CODE, number=NUMBER),))
COPY = Delivery(to=NUMBER, text=f"Aviso {CODE}")


def audit(status: str | None, *deliveries: Delivery) -> Account:
    claims = {} if status is None else {CODE: Claimed(status=status)}
    return compare([SEND], claims, deliveries)


def findings(account: Account) -> set[str]:
    return {name for name in ("lost", "repeated", "wrong", "unconfirmed") if getattr(account, name)}


@pytest.mark.parametrize("status", ["sent", "delivered", "read"])
def test_one_copy_of_what_arrived_is_in_order(status: str) -> None:
    assert findings(audit(status, COPY)) == set()


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired", "refused"])
def test_no_copy_of_what_was_not_sent_is_in_order(status: str) -> None:
    assert findings(audit(status)) == set()


@pytest.mark.parametrize("status", ["sent", "delivered", "read", "queued", "sending", None])
def test_promised_without_a_copy_is_lost(status: str | None) -> None:
    assert findings(audit(status)) == {"lost"}


@pytest.mark.parametrize("status", ["queued", "sending", None])
def test_copy_of_which_the_store_knows_nothing_is_lost(status: str | None) -> None:
    assert findings(audit(status, COPY)) == {"lost"}


def test_two_copies_are_repeated() -> None:
    assert findings(audit("delivered", COPY, COPY)) == {"repeated"}


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired", "refused"])
def test_copy_of_what_was_not_sent_is_wrong(status: str) -> None:
    assert findings(audit(status, COPY)) == {"wrong"}


def test_copy_at_another_phone_is_wrong() -> None:
    assert findings(audit("delivered", Delivery(to="5491130000002", text=COPY.text))) == {"wrong"}


@pytest.mark.parametrize("text", ["Aviso c1-000099", "sin código"])
def test_copy_that_nobody_asked_for_is_wrong(text: str) -> None:
    assert findings(audit("delivered", COPY, Delivery(to=NUMBER, text=text))) == {"wrong"}


@pytest.mark.parametrize("deliveries", [(), (COPY,)])
def test_unconfirmed_is_told_whether_it_arrived_or_not(deliveries: tuple[Delivery, ...]) -> None:
    assert findings(audit("unconfirmed", *deliveries)) == {"unconfirmed"}


def test_said_answer_counts_before_drafts_that_were_dropped() -> None:
    said, failed, dropped = (Claimed(status=status) for status in ("delivered", "failed", "cancelled"))
    assert choose_answer([dropped, failed, said]) == said
    assert choose_answer([dropped, failed]) == failed
    assert choose_answer([]) is None


def test_events_without_a_gap_and_with_each_end_once_are_in_order() -> None:
    told = [Told(seq=1, type="message.received", id="", text=f"pregunta {CODE}"), finished(2)]
    assert check_events(told, [SEND, QUESTION], {"k": "snd_1"}, {}) == []


@pytest.mark.parametrize("seqs", [(2,), (1, 3), (1, 2, 2)])
def test_gap_and_repetition_of_seq_are_found(seqs: tuple[int, ...]) -> None:
    assert any("follows" in problem for problem in check_events([finished(seq) for seq in seqs], [], {}, {}))


@pytest.mark.parametrize("times", [0, 2])
def test_end_told_never_or_twice_is_found(times: int) -> None:
    told = [finished(seq) for seq in range(1, times + 1)]
    assert check_events(told, [SEND], {"k": "snd_1"}, {}) == [f"send.finished was told {times} times of snd_1"]


@pytest.mark.parametrize("times", [0, 2])
def test_question_told_never_or_twice_is_found(times: int) -> None:
    told = [Told(seq=seq, type="message.received", id="", text=CODE) for seq in range(1, times + 1)]
    assert check_events(told, [QUESTION], {}, {}) == [f"message.received was told {times} times of {CODE}"]


@pytest.mark.parametrize("times", [0, 2])
def test_firing_told_never_or_twice_is_found(times: int) -> None:
    reminder = Job(key="r", kind=Kind.REMINDER, letters=SEND.letters)
    told = [Told(seq=seq, type="reminder.fired", id="rem_1") for seq in range(1, times + 1)]
    problems = check_events(told, [reminder], {"r": "rem_1"}, {CODE: Claimed(status="delivered")})
    assert problems == [f"reminder.fired was told {times} times of rem_1"]


def test_plan_repeats_with_its_seed_and_has_as_many_messages_and_kills() -> None:
    size = Size(messages=1000, kills=40)
    plan = make_plan(7, size)
    codes = [letter.code for job in plan.jobs for letter in job.letters]
    assert plan == make_plan(7, size)
    assert plan != make_plan(8, size)
    assert len(codes) == len(set(codes)) == 1000
    assert sum(act.deed == "kill" for _, act in plan.steps) == 40
    assert {job.kind for job in plan.jobs} == set(Kind)


def finished(seq: int) -> Told:
    return Told(seq=seq, type="send.finished", id="snd_1")
