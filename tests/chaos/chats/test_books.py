"""Books of chats that do not balance are found out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.books import Claimed, Delivery
from tests.chaos.chats.books import ChatAccount, Heard, Said, Stored, Turn, compare_chats
from tests.chaos.chats.plan import Question, Talk, Wish
from tests.chaos.plan import Job, Kind, Letter

CODE, NUMBER, TURN = "c1-000001", "5491140000001", "trn_1"
QUESTION = Question(code=CODE, wish=Wish.FINISH, wait=None)
TALK = Talk(number=NUMBER, opening=None, questions=(QUESTION,))
TEXT, PROMISE = f"r000001.1 a {CODE}", "k000002 convenido"
SAID = Said(number=NUMBER, text=TEXT, status="delivered", turn=TURN)
PROMISED = replace(SAID, text=PROMISE, turn=None)
COPY = Delivery(to=NUMBER, text=TEXT)
ENDED = ("conversation.ended", PROMISE)
STORED = Stored(
    heard={CODE: Heard(answer="answered", turn=TURN)},
    turns={TURN: Turn(status="closed", occasion="reply")},
    said=[SAID],
    rounds={(TURN, 0): 1.0},
    calls={},
)
OPENING, SENT = "c1-000009", Claimed(status="delivered")
LATE = Claimed(status="cancelled", error="held_by_human")
OPENED = replace(TALK, opening=Job(key="opening", kind=Kind.OPENING, letters=(Letter(code=OPENING, number=NUMBER),)))
FINISHED = replace(STORED, calls={"k000002": TURN})


def findings(
    stored: Stored,
    *deliveries: Delivery,
    told: tuple[tuple[str, str], ...] = (),
    talk: Talk = TALK,
    claim: Claimed = SENT,
) -> set[str]:
    account = compare_chats([talk], stored, deliveries, told, {OPENING: claim})
    return {name for name in ("lost", "repeated", "twice", "wrong", "unconfirmed") if getattr(account, name)}


def test_message_answered_once_is_in_order() -> None:
    account: ChatAccount = compare_chats([TALK], STORED, [COPY], [], {})
    assert (findings(STORED, COPY), account.turns) == (set(), {"reply": 1})


def test_answer_that_never_arrived_is_lost() -> None:
    assert findings(STORED) == {"lost"}


def test_message_of_which_the_store_knows_nothing_is_lost() -> None:
    assert findings(replace(STORED, heard={}, said=[])) == {"lost"}


@pytest.mark.parametrize("answer", ["due", "failed", "too_old", "held", None])
def test_message_that_the_bot_left_unanswered_is_lost(answer: str | None) -> None:
    assert findings(replace(STORED, heard={CODE: Heard(answer=answer, turn=None)}, said=[])) == {"lost"}


def test_message_after_the_hand_over_is_left_to_the_person_and_to_nobody_else() -> None:
    talk = replace(TALK, questions=(replace(QUESTION, wish=Wish.PERSON),))
    held = replace(STORED, heard={CODE: Heard(answer="held", turn=None)})
    assert findings(replace(held, said=[]), talk=talk) == set()
    assert findings(held, COPY, talk=talk) == {"wrong"}


def test_opening_arrives_unless_its_customer_was_left_to_a_person_before() -> None:
    first = replace(SAID, text=f"r000003.1 a {OPENING}", turn="trn_0")
    turns = {**STORED.turns, "trn_0": Turn(status="closed", occasion="opening")}
    opened, copy = replace(STORED, said=[SAID, first], turns=turns), Delivery(to=NUMBER, text=first.text)
    left = replace(OPENED, questions=(replace(QUESTION, wish=Wish.PERSON),))
    assert findings(opened, COPY, copy, talk=OPENED) == set()
    assert findings(opened, COPY, talk=OPENED) == {"lost"}
    assert findings(STORED, COPY, talk=OPENED, claim=LATE) == {"lost"}
    assert findings(STORED, COPY, talk=left, claim=LATE) == set()


def test_second_copy_is_repeated() -> None:
    assert findings(STORED, COPY, COPY) == {"repeated"}


def test_second_turn_for_the_same_message_is_told() -> None:
    other = replace(SAID, text=f"r000002.1 a {CODE}", turn="trn_2")
    turns = {**STORED.turns, "trn_2": Turn(status="closed", occasion="reply")}
    both = replace(STORED, said=[SAID, other], turns=turns)
    assert findings(both, COPY, Delivery(to=NUMBER, text=other.text)) == {"twice"}


@pytest.mark.parametrize("status", ["queued", "sending", "unconfirmed", "cancelled"])
def test_copy_that_the_store_does_not_own_up_to_is_found(status: str) -> None:
    assert findings(replace(STORED, said=[replace(SAID, status=status)]), COPY) & {"lost", "wrong", "unconfirmed"}


@pytest.mark.parametrize(
    "delivery", [Delivery(to="5491140000002", text=TEXT), Delivery(to=NUMBER, text=f"r000009.1 a {CODE}")]
)
def test_copy_at_another_phone_or_written_by_nobody_is_wrong(delivery: Delivery) -> None:
    assert "wrong" in findings(STORED, delivery)


def test_draft_of_a_dropped_turn_may_not_arrive() -> None:
    turns = {**STORED.turns, "trn_0": Turn(status="dropped", occasion="reply")}
    draft = replace(SAID, text=f"r000000.1 a {CODE}", turn="trn_0", status="cancelled")
    taken_back = replace(STORED, said=[draft, SAID], turns=turns)
    assert findings(taken_back, COPY) == set()
    assert "wrong" in findings(taken_back, COPY, Delivery(to=NUMBER, text=draft.text))


def test_tool_has_one_effect() -> None:
    assert findings(FINISHED, COPY, told=(ENDED,)) == set()
    assert findings(FINISHED, COPY) == {"wrong"}
    assert findings(FINISHED, COPY, told=(ENDED, ENDED)) == {"wrong"}
    assert findings(STORED, COPY, told=(ENDED,)) == {"wrong"}


def test_promise_is_kept_once() -> None:
    kept, promise = replace(FINISHED, said=[SAID, PROMISED]), Delivery(to=NUMBER, text=PROMISE)
    assert findings(kept, COPY, promise) == set()
    assert findings(kept, COPY, promise, promise) == {"repeated", "wrong"}


def test_tool_of_a_dropped_turn_has_no_effect() -> None:
    turns = {**STORED.turns, "trn_0": Turn(status="dropped", occasion="reply")}
    dropped = replace(STORED, turns=turns, calls={"k000002": "trn_0"})
    assert findings(dropped, COPY) == set()
    assert findings(dropped, COPY, told=(ENDED,)) == {"wrong"}
