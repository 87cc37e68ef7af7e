"""What customers write, singly and in bursts, and what is broken meanwhile, drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from random import Random

from tests.chaos.plan import Act, Job, Kind, Letter, Moment, Size, draw_acts, spread

_VICTIMS = ("worker", "link", "api", "connections", "temporal", "worker", "link", "simulator")
_AIMS = (Moment.THINKING, Moment.REPLYING, Moment.THINKING, Moment.REPLYING, Moment.ANY)
"""As many as share no divisor with the victims: each of these meets each of those."""

_WITHIN_BURST = (0.02, 0.25)
_WHILE_IT_THINKS = (0.5, 2.5)
"""Seconds after the message before: one turn with it; about when it is being answered."""


class Wish(StrEnum):
    """What the model does with a message. The value stands in its text.

    LONG: answers in two parts. LATER: promises to write again. FINISH: ends the conversation, PERSON: hands it over.
    """

    ANSWER = "duda"
    LONG = "detalle"
    LATER = "recordar"
    FINISH = "acordado"
    PERSON = "persona"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One message of a customer. wait: seconds after the one before; None: once that was answered."""

    code: str
    wish: Wish
    wait: float | None

    @property
    def text(self) -> str:
        return f"pregunta {self.code} {self.wish}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """One customer. opening: where the bot writes first, by an instruction."""

    number: str
    opening: Job | None
    questions: tuple[Question, ...]

    @property
    def asks_for_person(self) -> bool:
        return any(question.wish is Wish.PERSON for question in self.questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatPlan:
    """steps: customers who begin, and the blow that follows. last: who writes when nothing moves any more."""

    seed: int
    steps: tuple[tuple[tuple[Talk, ...], Act], ...]
    last: Talk

    @property
    def talks(self) -> tuple[Talk, ...]:
        return (*(talk for talks, _ in self.steps for talk in talks), self.last)

    @property
    def openings(self) -> tuple[Job, ...]:
        return tuple(talk.opening for talk in self.talks if talk.opening is not None)


def make_chat_plan(seed: int, size: Size) -> ChatPlan:
    """The same for the same seed and size; messages: of customers."""
    random = Random(f"chats:{seed}")
    source = _Talks(seed, random)
    talks = list(source.draw(size.messages))
    acts = draw_acts(size.kills, random, _VICTIMS, _AIMS)
    random.shuffle(acts)
    return ChatPlan(seed=seed, steps=spread(talks, acts), last=source.draw_last())


class _Talks:
    def __init__(self, seed: int, random: Random) -> None:
        self._seed = seed
        self._random = random
        self._codes = count(1)
        self._numbers = count(40_000_001)

    def draw(self, messages: int) -> Iterator[Talk]:
        while messages > 0:
            talk = self._draw_talk(min(messages, self._random.choice((1, 2, 3, 4, 6))))
            messages -= len(talk.questions)
            yield talk

    def draw_last(self) -> Talk:
        return Talk(number=self._new_number(), opening=None, questions=(self._ask(Wish.ANSWER, None),))

    def _draw_talk(self, messages: int) -> Talk:
        number, opened = self._new_number(), self._random.random() < 0.5
        opening = self._draw_opening(number) if opened else None
        wishes = [self._draw_wish(opened=opened) for _ in range(messages - 1)]
        wishes.append(self._draw_end(opened=opened, promised=Wish.LATER in wishes))
        waits = [None, *(self._draw_wait() for _ in wishes[1:])]
        questions = [self._ask(wish, wait) for wish, wait in zip(wishes, waits, strict=True)]
        if wishes[-1] is Wish.PERSON:
            questions.append(self._ask(Wish.ANSWER, None))  # which the bot leaves to that person
        return Talk(number=number, opening=opening, questions=tuple(questions))

    def _draw_opening(self, number: str) -> Job:
        letter = Letter(code=self._new_code(), number=number)
        return Job(key=f"opening-{letter.code}", kind=Kind.OPENING, letters=(letter,))

    def _draw_wish(self, *, opened: bool) -> Wish:
        later = 2 if opened else 0
        return self._random.choices((Wish.ANSWER, Wish.LONG, Wish.LATER), (7, 1, later))[0]

    def _draw_end(self, *, opened: bool, promised: bool) -> Wish:
        """Who is left to a person is not written to later."""
        finish, person = 5 if opened else 0, 0 if promised else 1
        return self._random.choices((Wish.ANSWER, Wish.FINISH, Wish.PERSON), (4, finish, person))[0]

    def _draw_wait(self) -> float | None:
        within, while_it_thinks = self._random.uniform(*_WITHIN_BURST), self._random.uniform(*_WHILE_IT_THINKS)
        return self._random.choices((None, within, while_it_thinks), (5, 2, 3))[0]

    def _ask(self, wish: Wish, wait: float | None) -> Question:
        return Question(code=self._new_code(), wish=wish, wait=wait)

    def _new_code(self) -> str:
        return f"c{self._seed}-{next(self._codes):06}"

    def _new_number(self) -> str:
        return f"54911{next(self._numbers)}"
