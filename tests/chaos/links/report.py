"""What a run came to: a page for people, and whether it passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.chaos.links.books import Account
from tests.chaos.links.kills import Kill
from tests.chaos.links.plan import LinksPlan
from tests.chaos.report import list_some, tell

BACK_WITHIN = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksReport:
    """unsettled: messages without a final status. memory: of all link processes at the end, in MB (PSS)."""

    plan: LinksPlan
    kills: Sequence[Kill]
    account: Account
    unsettled: int
    problems: Sequence[str]
    memory: float
    seconds: float

    @property
    def passed(self) -> bool:
        return self.is_honest and self.longest <= BACK_WITHIN

    @property
    def is_honest(self) -> bool:
        """Whether the books balance, however long it took."""
        return self.account.balances and not self.unsettled and not self.problems

    @property
    def longest(self) -> float:
        """Seconds from a kill to `connected`, unless the number was killed again meanwhile."""
        return max(self._away, default=0.0)

    @property
    def _away(self) -> list[float]:
        return [float("inf") if kill.away is None else kill.away for kill in self.kills if not kill.again]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        account, most = self.account, max(Counter(kill.number.connection_id for kill in self.kills).values())
        starting = sum(not kill.connected for kill in self.kills)
        yield f"seed         {self.plan.seed}, {self.seconds:.0f} s"
        yield f"links        {self.plan.links}, {self.memory:.0f} MB together"
        yield f"kills        {len(self.kills)}, of a link that was starting {starting}; one number {most} times"
        yield f"back         within {self.longest:.1f} s, median {median(self._away):.1f} s"
        yield f"away         at most {max(kill.away or 0 for kill in self.kills):.1f} s, further kills included"
        yield f"sending      again within {self._sending()}"
        yield f"statuses     {tell(account.statuses)}"
        yield f"customers    {account.written['written']} messages, {account.written['stored']} stored"
        yield f"lost         {list_some(account.lost)}"
        yield f"repeated     {list_some(account.repeated)}"
        yield f"wrong        {list_some(account.wrong)}"
        yield f"unconfirmed  {list_some(account.without)}; arrived: {list_some(account.doubtful)}"
        yield f"unheard      {list_some(account.unheard)}; swallowed by the library: {list_some(account.swallowed)}"
        yield f"twice        {list_some(account.stored_twice)}, out of order {list_some(account.disordered)}"
        yield f"not settled  {self.unsettled}"
        yield f"problems     {list_some(list(self.problems))}"

    def _sending(self) -> str:
        """From a kill to the next message that left through a session of the next link, where there was one to send."""
        waits = []
        for kill in (each for each in self.kills if not each.again):
            later = [at for at, began in kill.number.network.left if began > kill.at]
            waits += [at - kill.at for at in sorted(later)[:1]]
        return f"{median(waits):.1f} s (median)"
