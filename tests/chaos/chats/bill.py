"""What the model was asked, held against its answers that are stored: no answer is paid for twice. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.chats.model import Asked, Outcome

_WORKERS = ("worker", "everything")
"""With whose death an answer may be lost on its way to the store."""

Round = tuple[str, int]
"""A turn, and which of its answers."""


@dataclass(slots=True, kw_only=True)
class Bill:
    """outcomes: of the requests. again: how often an answer was asked for anew; unfounded: although no worker had died;
    needless: although the answer was stored.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    again: int = 0
    unfounded: list[str] = field(default_factory=list)
    needless: list[str] = field(default_factory=list)


def check_bill(asked: Iterable[Asked], stored: Mapping[Round, float], deaths: Sequence[tuple[float, str]]) -> Bill:
    """stored: when each answer was; deaths: when each process died."""
    bill = Bill(stored=len(stored))
    requests: dict[Round, list[Asked]] = defaultdict(list)
    for one in sorted(asked, key=lambda one: one.began):
        bill.outcomes[one.outcome] += 1
        requests[one.turn, one.round].append(one)
    for round, made in requests.items():
        late = [one for one in made if round in stored and one.began > stored[round]]
        bill.needless += [_name(one) for one in late]
        for before, one in pairwise(made):
            _check_again(bill, before, one, deaths)
    return bill


def _check_again(bill: Bill, before: Asked, one: Asked, deaths: Sequence[tuple[float, str]]) -> None:
    """A request that was refused may be made again, and one whose worker has died since."""
    if before.outcome is Outcome.REFUSED:
        return
    bill.again += 1
    if not any(part in _WORKERS and before.began <= at <= one.began for at, part in deaths):
        bill.unfounded.append(_name(one))


def _name(asked: Asked) -> str:
    return f"{asked.turn}-{asked.round}"
