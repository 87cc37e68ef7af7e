"""The books of the bot's turns: what the store says, and what the ledger and the events know. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from boton.domain.chats import AnswerDecision
from boton.domain.conversations import Occasion, TurnStatus
from tests.chaos.books import ARRIVED, NOT_SENT, Claimed, Delivery
from tests.chaos.chats.plan import Question, Talk
from tests.chaos.chats.script import PROMISE
from tests.chaos.plan import CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A customer's message. answer: as the store decided; turn: which one answered it."""

    answer: str | None
    turn: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """occasion: why the bot spoke."""

    status: str
    occasion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the bot wrote. turn: None for what it had promised."""

    number: str
    text: str
    status: str
    turn: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """heard: by code; turns: by id; rounds: when each answer of the model was stored, by (turn, number). calls: what
    each tool was called with successfully, and in which turn.
    """

    heard: Mapping[str, Heard]
    turns: Mapping[str, Turn]
    said: Sequence[Said]
    rounds: Mapping[tuple[str, int], float]
    calls: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class ChatAccount:
    """lost: messages without the answer that they were to have, and what the bot said and nobody got. repeated: texts
    that arrived more than once; twice: messages that two turns answered. wrong: whatever else does not fit.
    """

    answers: Counter[str] = field(default_factory=Counter)
    turns: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)


def compare_chats(
    talks: Iterable[Talk],
    stored: Stored,
    deliveries: Sequence[Delivery],
    told: Iterable[tuple[str, str]],
    openings: Mapping[str, Claimed],
) -> ChatAccount:
    """told: the type and the words of each event that says what came of a tool; openings: by code."""
    account = ChatAccount()
    account.turns.update(_name(turn) for turn in stored.turns.values())
    _check_texts(account, stored, deliveries)
    answers = _find_answers(stored, deliveries)
    for talk in talks:
        if talk.opening is not None:
            _check_opening(account, talk, openings.get(talk.opening.letters[0].code), answers)
        for question in talk.questions:
            _check_question(account, talk, question, stored.heard.get(question.code), answers)
    _check_effects(account, stored, [*told, *(("promise", delivery.text) for delivery in deliveries)])
    return account


def _name(turn: Turn) -> str:
    return turn.occasion if turn.status == TurnStatus.CLOSED else turn.status


# ---------------------------------------------------------------- what was said


def _check_texts(account: ChatAccount, stored: Stored, deliveries: Iterable[Delivery]) -> None:
    """Each text of the bot's is another one."""
    reached: dict[str, list[str]] = defaultdict(list)
    for delivery in deliveries:
        reached[delivery.text].append(delivery.to)
    for said in stored.said:
        _check_text(account, said, stored.turns.get(said.turn or ""), reached.pop(said.text, []))
    account.wrong += [f"«{text[:40]}» is not in the store" for text in reached]


def _check_text(account: ChatAccount, said: Said, turn: Turn | None, reached: list[str]) -> None:
    head = said.text[:40]
    dropped = turn is not None and turn.status != TurnStatus.CLOSED
    opens = turn is not None and turn.occasion == Occasion.OPENING
    if len(reached) > 1:
        account.repeated.append(head)
    if reached and (said.status in NOT_SENT or dropped or any(to != said.number for to in reached)):
        account.wrong.append(f"«{head}» arrived ({said.status})")
    if said.status == "unconfirmed":
        account.unconfirmed.append(head)
    elif not dropped and not opens and not (reached and said.status in ARRIVED):
        account.lost.append(f"«{head}» ({said.status})")


# ---------------------------------------------------------------- what was answered


def _find_answers(stored: Stored, deliveries: Iterable[Delivery]) -> dict[str, set[str]]:
    """Which turns have answered each message, by what its customer has got."""
    turns = {said.text: said.turn for said in stored.said if said.turn is not None}
    answers: dict[str, set[str]] = defaultdict(set)
    for delivery in deliveries:
        for code in re.findall(CODE, delivery.text):
            answers[code].add(turns.get(delivery.text, "?"))
    return dict(answers)


def _check_opening(account: ChatAccount, talk: Talk, claim: Claimed | None, answers: Mapping[str, set[str]]) -> None:
    """It is too late for one whose customer wrote first and asked for a person."""
    assert talk.opening is not None
    if claim is not None and claim.error == "held_by_human" and talk.asks_for_person:
        account.answers["opening too late"] += 1
        return
    _check_answered(account, talk.opening.letters[0].code, answers)
    if claim is None or claim.status not in ARRIVED:
        account.lost.append(talk.opening.key)


def _check_question(
    account: ChatAccount, talk: Talk, question: Question, heard: Heard | None, answers: Mapping[str, set[str]]
) -> None:
    """Who asks for a person is answered by that person from then on."""
    code, answer = question.code, heard.answer if heard is not None else "unknown"
    account.answers[str(answer)] += 1
    if answer == AnswerDecision.HELD and talk.asks_for_person:
        account.wrong += [f"{code} was a human's to answer"] if code in answers else []
        return
    _check_answered(account, code, answers)
    if code in answers and (answer != AnswerDecision.ANSWERED or heard is None or heard.turn not in answers[code]):
        account.wrong.append(f"{code} was answered, and the store says otherwise")


def _check_answered(account: ChatAccount, code: str, answers: Mapping[str, set[str]]) -> None:
    turns = answers.get(code, set())
    if not turns:
        account.lost.append(code)
    if len(turns) > 1:
        account.twice.append(code)


# ---------------------------------------------------------------- what followed


def _check_effects(account: ChatAccount, stored: Stored, told: Iterable[tuple[str, str]]) -> None:
    """One of each call, and none of a turn that was dropped."""
    seen = Counter(code for _, words in told for code in re.findall(PROMISE, words))
    for code, turn in stored.calls.items():
        closed = stored.turns[turn].status == TurnStatus.CLOSED
        account.effects["applied" if closed else "of dropped turns"] += 1
        if seen.pop(code, 0) != closed:
            account.wrong.append(f"{code} had not one effect")
    account.wrong += [f"{code} had an effect and was not called" for code in seen]
