"""The books: for every message what the store says, and what the simulator's ledger knows. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.plan import CODE, Job, Kind

ARRIVED = frozenset({"sent", "delivered", "read"})
NOT_SENT = frozenset({"failed", "cancelled", "expired", "refused"})
"""refused: the request itself was; nothing was ever accepted."""

_CODE = re.compile(CODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What the store says of a message; error: the code of its failure."""

    status: str
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One line of the ledger."""

    to: str
    text: str


@dataclass(slots=True, kw_only=True)
class Account:
    """Codes of messages. lost: said to have arrived, or promised, and it did not. repeated: arrived more than once.
    wrong: arrived although it was said not to, or at another phone, or nobody had asked for it.
    """

    messages: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)


def compare(jobs: Iterable[Job], claims: Mapping[str, Claimed], deliveries: Iterable[Delivery]) -> Account:
    """claims: by code; one that is not there was promised, and nothing is known of it. Questions that were never
    asked are no jobs.
    """
    account = Account()
    reached: dict[str, list[str]] = {}
    for delivery in deliveries:
        for code in _CODE.findall(delivery.text) or [f"no code, to …{delivery.to[-4:]}"]:
            reached.setdefault(code, []).append(delivery.to)
    for job in jobs:
        for letter in job.letters:
            account.messages[job.kind] += 1
            _enter(account, letter.code, letter.number, claims.get(letter.code), reached.pop(letter.code, []))
    account.wrong += reached
    return account


def _enter(account: Account, code: str, number: str, claim: Claimed | None, reached: list[str]) -> None:
    status = claim.status if claim is not None else "unknown"
    account.statuses[status] += 1
    if len(reached) > 1:
        account.repeated.append(code)
    if any(to != number for to in reached) or (reached and status in NOT_SENT):
        account.wrong.append(code)
    if status == "unconfirmed":
        account.unconfirmed.append(code)
    elif status not in NOT_SENT and not (reached and status in ARRIVED):
        account.lost.append(code)  # also what is still queued when everything has settled
    if claim is not None and claim.error is not None and status == "failed":
        account.failed[claim.error] += 1


def choose_answer(answers: Iterable[Claimed]) -> Claimed | None:
    """Of all that the bot drafted to one question: what was said, else what was given up. An answer that was
    composed anew leaves a cancelled draft.
    """
    ranked = sorted(answers, key=lambda answer: (answer.status not in ARRIVED, answer.status == "cancelled"))
    return ranked[0] if ranked else None


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event, as far as it is looked at."""

    seq: int
    type: str
    id: str
    text: str = ""


def check_events(
    events: list[Told], jobs: Iterable[Job], accepted: Mapping[str, str], claims: Mapping[str, Claimed]
) -> list[str]:
    """What is wrong with them: gaps, and what was told twice or never."""
    jobs = tuple(jobs)
    ends, firings = (Counter(event.id for event in events if event.type == type) for type in _ENDINGS)
    heard = Counter(code for event in events if event.type == "message.received" for code in _CODE.findall(event.text))
    sends = [accepted[job.key] for job in jobs if job.kind in _SENDS and job.key in accepted]
    asked = [letter.code for job in jobs if job.kind is Kind.CUSTOMER for letter in job.letters]
    fired = [accepted[job.key] for job in jobs if job.kind is Kind.REMINDER and _has_arrived(job, claims)]
    return [
        *(f"event {one.seq} follows {before.seq}" for before, one in _pairs(events) if one.seq != before.seq + 1),
        *(f"send.finished was told {ends[id]} times of {id}" for id in sends if ends[id] != 1),
        *(f"message.received was told {heard[code]} times of {code}" for code in asked if heard[code] != 1),
        *(f"reminder.fired was told {firings[id]} times of {id}" for id in fired if firings[id] != 1),
    ]


def _has_arrived(job: Job, claims: Mapping[str, Claimed]) -> bool:
    return all(letter.code in claims and claims[letter.code].status in ARRIVED for letter in job.letters)


_ENDINGS = ("send.finished", "reminder.fired")
_SENDS = (Kind.DIRECT, Kind.BULK, Kind.OPENING)


def _pairs(events: list[Told]) -> Iterable[tuple[Told, Told]]:
    first = Told(seq=0, type="", id="")
    return zip([first, *events], events, strict=False)
