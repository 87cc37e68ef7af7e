"""What a run with chats came to: a page for people, and whether it passed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.chaos.chats.bill import Bill
from tests.chaos.chats.books import ChatAccount
from tests.chaos.chats.plan import ChatPlan
from tests.chaos.mischief import Mischief
from tests.chaos.report import list_some, tell


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReport:
    """unsettled: how much was not final in the end. problems: whatever else may not happen."""

    plan: ChatPlan
    account: ChatAccount
    bill: Bill
    mischief: Mischief
    unsettled: int
    problems: list[str]
    seconds: float

    @property
    def passed(self) -> bool:
        account, bill = self.account, self.bill
        broken = account.lost or account.repeated or account.twice or account.wrong or account.unconfirmed
        return not (broken or bill.needless or bill.unfounded or self.unsettled or self.problems)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        account, bill, mischief = self.account, self.bill, self.mischief
        yield f"seed         {self.plan.seed}, {self.seconds:.0f} s"
        yield f"kills        {tell(mischief.kills)}"
        yield f"at           {tell(mischief.moments)}"
        yield f"freezes      {tell(mischief.freezes)}"
        yield f"cuts         {tell(mischief.cuts)}"
        yield f"customers    {len(self.plan.talks)}, of whom {len(self.plan.openings)} were written to first"
        yield f"messages     {tell(account.answers)}"
        yield f"turns        {tell(account.turns)}"
        yield f"tools        {tell(account.effects)}"
        yield f"model        asked {tell(bill.outcomes)}; stored {bill.stored}; asked again after a death {bill.again}"
        yield f"lost         {list_some(account.lost)}"
        yield f"repeated     {list_some(account.repeated)}"
        yield f"twice        {list_some(account.twice)}"
        yield f"wrong        {list_some(account.wrong)}"
        yield f"unconfirmed  {list_some(account.unconfirmed)}"
        yield f"paid twice   {list_some(bill.needless)}, asked again without a death {list_some(bill.unfounded)}"
        yield f"not settled  {self.unsettled}"
        yield f"problems     {list_some(self.problems)}"
