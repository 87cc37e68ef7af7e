"""What a run came to: a page for people, and whether it passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

from tests.chaos.books import Account
from tests.chaos.mischief import LOST_ACKS, Mischief
from tests.chaos.plan import Plan

_IN_FLIGHT = 20
"""Attempts between claim and record at a blow: the windows of two bulks. More with several, mostly far less: 3 to 15 in
all of a short run with five such blows, once 66, with three of them within six seconds.
"""

_HONEST = frozenset({"number_refused", "expired"})
_OVERLOADED = "503"
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """unsettled: jobs with something that is not final. problems: whatever else may not happen. replayed: requests
    that were made on purpose once more. repeated: those made again because nobody had answered.
    """

    plan: Plan
    account: Account
    mischief: Mischief
    unsettled: list[str]
    problems: list[str]
    replayed: int
    repeated: Counter[str]
    seconds: float

    @property
    def doubtful(self) -> int:
        """How many messages may stay unconfirmed at most: those in flight at a blow, and those with a lost ack."""
        if not self.plan.forgetful:
            return 0
        lost = LOST_ACKS * self.account.messages.total()
        return ceil(lost + 4 * sqrt(lost)) + _IN_FLIGHT * self.mischief.doubts

    @property
    def passed(self) -> bool:
        account = self.account
        broken = account.lost or account.repeated or account.wrong or self.unsettled or self.all_problems
        return not broken and len(account.unconfirmed) <= self.doubtful

    @property
    def all_problems(self) -> list[str]:
        strange = sorted(set(self.account.failed) - _HONEST)
        crashes = sorted(reason for reason in self.repeated if reason.isdecimal() and reason != _OVERLOADED)
        found = [f"{self.account.failed[code]} failed with {code}" for code in strange]
        return self.problems + found + [f"the API answered {status}" for status in crashes]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        account, mischief = self.account, self.mischief
        yield f"seed         {self.plan.seed}, {self.seconds:.0f} s"
        yield f"kills        {tell(mischief.kills)}"
        yield f"freezes      {tell(mischief.freezes)}"
        yield f"cuts         {tell(mischief.cuts)}"
        yield f"messages     {tell(account.messages)}"
        yield f"statuses     {tell(account.statuses)}"
        yield f"requests     made again: {tell(self.repeated)}; on purpose: {self.replayed}"
        yield f"lost         {list_some(account.lost)}"
        yield f"repeated     {list_some(account.repeated)}"
        yield f"wrong        {list_some(account.wrong)}"
        yield f"unconfirmed  {list_some(account.unconfirmed)}, may be {self.doubtful}"
        yield f"failed       {tell(account.failed)}"
        yield f"not settled  {list_some(self.unsettled)}"
        yield f"problems     {list_some(self.all_problems)}"


def tell(tally: Counter[Any]) -> str:
    kinds = ", ".join(f"{name} {times}" for name, times in sorted(tally.items()))
    return f"{tally.total()}" + (f" ({kinds})" if kinds else "")


def list_some(things: list[str]) -> str:
    more = f", and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return f"{len(things)}" + (f": {', '.join(things[:_SHOWN])}{more}" if things else "")
