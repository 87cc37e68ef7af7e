"""What a run sends and breaks, drawn from its seed. When exactly a blow falls is up to the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count, pairwise
from random import Random
from typing import TypeVar

T = TypeVar("T")

CODE = r"c\d+-\d{6}"
"""Every text bears one: by it a message is known in the store, in the ledger and in the bot's answer."""

EVERY_PART = ("link", "connections", "worker", "temporal", "simulator", "api")
_VICTIMS = ("link", *EVERY_PART, "link")
"""Killed in this order, round and round. Most can go wrong in the link, which is restarted at once."""

_SHARES = {"bulk": 0.6, "opening": 0.08, "reminder": 0.08, "customer": 0.09}
"""Of the messages; the rest are direct."""

_LARGEST_BULK, _LARGEST_INSTRUCTION = 600, 60
_ACT_EVERY = (0.2, 5.0)
"""Seconds between two blows."""


class Kind(StrEnum):
    DIRECT = "direct"
    BULK = "bulk"
    OPENING = "opening"
    REMINDER = "reminder"
    CUSTOMER = "customer"


class Twist(StrEnum):
    """What else is done with a request. TWIN: made twice at once; AGAIN: made once more later."""

    NONE = "none"
    TWIN = "twin"
    AGAIN = "again"
    PAUSE = "pause"
    CANCEL = "cancel"


class Moment(StrEnum):
    """What a blow is aimed at: a request is open at the language model; something that the bot wrote is on its way."""

    ANY = "any"
    THINKING = "thinking"
    REPLYING = "replying"


class Deed(StrEnum):
    KILL = "kill"
    FREEZE = "freeze"
    CUT = "cut"
    REFUSE = "refuse"
    FALL = "fall"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message that is to arrive, or the question that is to be answered, once. code: in its text."""

    code: str
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request, or one customer. key: its Idempotency-Key. Seconds from now: send_in, expires_in."""

    key: str
    kind: Kind
    letters: tuple[Letter, ...]
    twist: Twist = Twist.NONE
    send_in: float | None = None
    expires_in: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One blow, `wait` seconds after the requests before it. part: killed or frozen. seconds: how long it lasts, where
    it does. FALL: all of `boton up` at once, and Temporal's file with it.
    """

    deed: Deed
    wait: float
    part: str = ""
    seconds: float = 0.0
    code: int = 0
    moment: Moment = Moment.ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    messages: int
    kills: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """steps: requests, and the blow that follows them. last: requests for when nothing moves any more."""

    seed: int
    size: Size
    forgetful: bool
    steps: tuple[tuple[tuple[Job, ...], Act], ...]
    last: tuple[Job, ...]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Without the last ones."""
        return tuple(job for jobs, _ in self.steps for job in jobs)


def make_plan(seed: int, size: Size, *, forgetful: bool = False) -> Plan:
    """The same for the same seed and size."""
    random = Random(f"chaos:{seed}")
    source = _Jobs(seed, random)
    jobs, last = source.draw(size.messages), source.draw_last()
    acts = draw_acts(size.kills, random) + [_refuse(code, random) for code in _take((429, 463), size.kills // 8)]
    random.shuffle(acts)
    return Plan(seed=seed, size=size, forgetful=forgetful, steps=spread(jobs, acts), last=last)


def spread(things: Sequence[T], acts: Sequence[Act]) -> tuple[tuple[tuple[T, ...], Act], ...]:
    """As many of them before each blow."""
    ends = [at * len(things) // len(acts) for at in range(len(acts) + 1)]
    return tuple((tuple(things[start:end]), act) for (start, end), act in zip(pairwise(ends), acts, strict=True))


# ---------------------------------------------------------------- blows


def draw_acts(
    kills: int, random: Random, victims: Sequence[str] = _VICTIMS, aims: Sequence[Moment] = (Moment.ANY,)
) -> list[Act]:
    """So many kills, each at the next of `aims`, and what belongs to them of everything else; not yet mixed."""
    acts = [Act(deed=Deed.KILL, part=part, wait=_draw_wait(random)) for part in _take(victims, kills)]
    acts += [_freeze(part, random) for part in _take(random.sample(EVERY_PART, len(EVERY_PART)), kills // 8)]
    acts += [Act(deed=Deed.CUT, seconds=random.uniform(1, 5), wait=_draw_wait(random)) for _ in range(kills // 8)]
    acts += [Act(deed=Deed.FALL, wait=_draw_wait(random)) for _ in range(kills // 40)]
    return [replace(act, moment=moment) for act, moment in zip(acts, _take(aims, len(acts)), strict=True)]


def _freeze(part: str, random: Random) -> Act:
    """Longer than the 10 s after which Temporal takes a silent process for dead."""
    return Act(deed=Deed.FREEZE, part=part, seconds=random.uniform(11, 14), wait=_draw_wait(random))


def _refuse(code: int, random: Random) -> Act:
    return Act(deed=Deed.REFUSE, code=code, seconds=random.uniform(1, 3), wait=_draw_wait(random))


def _draw_wait(random: Random) -> float:
    return random.uniform(*_ACT_EVERY)


def _take(things: Sequence[T], how_many: int) -> list[T]:
    return [things[at % len(things)] for at in range(how_many)]


# ---------------------------------------------------------------- requests


class _Jobs:
    """Draws the requests. Recipients of instructions and reminders have numbers of their own; many others come back,
    as known contacts.
    """

    def __init__(self, seed: int, random: Random) -> None:
        self._seed = seed
        self._random = random
        self._codes = count(1)
        self._numbers = count(30_000_001)
        self._known: list[str] = []

    def draw(self, messages: int) -> list[Job]:
        """In a random order; the largest first, for they take longest."""
        parts = {name: round(messages * share) for name, share in _SHARES.items()}
        large = [*self._draw_bulks(parts["bulk"]), *self._draw_instructions(parts["opening"])]
        small = list(self._draw_customers(parts["customer"]))
        small += [self._draw_reminder() for _ in range(parts["reminder"])]
        small += [self._draw_direct() for _ in range(messages - sum(parts.values()))]
        self._random.shuffle(large)
        self._random.shuffle(small)
        return _mix(large, small)

    def draw_last(self) -> tuple[Job, ...]:
        """A message and a question."""
        return self._job(Kind.DIRECT, [self._letter(self._new_number())]), self._draw_customer(1)

    def _draw_bulks(self, messages: int) -> Iterator[Job]:
        for at, size in enumerate(_chunks(messages, min(_LARGEST_BULK, messages // 4 or 1))):
            letters = [self._letter(self._new_number()) for _ in range(size)]
            self._known += [letter.number for letter in letters]
            yield self._job(Kind.BULK, letters, (Twist.PAUSE, Twist.TWIN, Twist.CANCEL, Twist.PAUSE)[at % 4])

    def _draw_instructions(self, messages: int) -> Iterator[Job]:
        for size in _chunks(messages, _LARGEST_INSTRUCTION):
            yield self._job(Kind.OPENING, [self._letter(self._new_number()) for _ in range(size)], Twist.AGAIN)

    def _draw_customers(self, questions: int) -> Iterator[Job]:
        """Every fourth asks twice."""
        while questions > 0:
            asked = min(questions, self._random.choice((1, 1, 1, 2)))
            yield self._draw_customer(asked)
            questions -= asked

    def _draw_customer(self, questions: int) -> Job:
        number = self._new_number()
        self._known.append(number)
        return self._job(Kind.CUSTOMER, [self._letter(number) for _ in range(questions)])

    def _draw_reminder(self) -> Job:
        twist = self._choose({Twist.CANCEL: 0.1, Twist.TWIN: 0.1})
        send_in = self._random.uniform(2, 12)
        return self._job(Kind.REMINDER, [self._letter(self._new_number())], twist, send_in=send_in)

    def _draw_direct(self) -> Job:
        known = self._known and self._random.random() < 0.5
        number = self._random.choice(self._known) if known else self._new_number()
        self._known.append(number)
        twist = self._choose({Twist.TWIN: 0.1, Twist.AGAIN: 0.1})
        send_in = self._random.uniform(2, 10) if self._random.random() < 0.1 else None
        expires_in = self._random.uniform(15, 30) if self._random.random() < 0.05 else None
        return self._job(Kind.DIRECT, [self._letter(number)], twist, send_in=send_in, expires_in=expires_in)

    def _job(
        self,
        kind: Kind,
        letters: list[Letter],
        twist: Twist = Twist.NONE,
        *,
        send_in: float | None = None,
        expires_in: float | None = None,
    ) -> Job:
        key = f"{kind}-{letters[0].code}"
        return Job(key=key, kind=kind, letters=tuple(letters), twist=twist, send_in=send_in, expires_in=expires_in)

    def _choose(self, chances: dict[Twist, float]) -> Twist:
        draw = self._random.random()
        for twist, chance in chances.items():
            if draw < chance:
                return twist
            draw -= chance
        return Twist.NONE

    def _letter(self, number: str) -> Letter:
        return Letter(code=f"c{self._seed}-{next(self._codes):06}", number=number)

    def _new_number(self) -> str:
        return f"54911{next(self._numbers)}"


def _chunks(total: int, size: int) -> Iterator[int]:
    while total > 0:
        yield min(size, total)
        total -= size


def _mix(large: list[Job], small: list[Job]) -> list[Job]:
    """The large ones evenly in the first half of the small ones."""
    mixed = list(small)
    for at, job in enumerate(large):
        mixed.insert(at * (len(small) // 2 + len(large)) // max(len(large), 1), job)
    return mixed
