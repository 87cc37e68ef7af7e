"""The store held against the played network: what was lost, repeated, or is in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.stored import Stored

_LEFT = frozenset({"sent", "delivered", "read"})


@dataclass(frozen=True, slots=True)
class Account:
    """Names of messages. lost: said to have left, and nobody has it; or not to be found at all. wrong: said not to have
    left, and somebody has it. doubtful: unconfirmed, and somebody has it; without: unconfirmed, and nobody has it.

    unheard: a customer's that is not stored; swallowed: one that is not, but the library had acknowledged it and could
    not hand it over before it was killed: nobody on our side can do anything about it. disordered: customers whose
    messages are not shown in the order in which they wrote them.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)
    swallowed: list[str] = field(default_factory=list)
    stored_twice: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)

    @property
    def balances(self) -> bool:
        wrong = self.lost or self.repeated or self.wrong or self.unheard or self.stored_twice or self.disordered
        return not wrong


def account_sent(
    account: Account, network: FakeNetwork, asked: Iterable[tuple[str, str]], sent: Iterable[Stored]
) -> None:
    """asked: whom to send what, each once."""
    stored = {(one.number, one.text): one.status for one in sent}
    received = Counter((number, text) for number, phone in network.phones.items() for text in phone.received)
    for number, text in {*asked, *received}:
        name, status = f"{number}: {text}", stored.get((number, text), "unknown")
        copies = received[number, text]
        account.statuses[status] += 1
        if copies > 1:
            account.repeated.append(name)
        if status == "unconfirmed":
            (account.doubtful if copies else account.without).append(name)
        elif not copies:
            account.lost.append(f"{name} ({status})")
        elif status not in _LEFT:
            account.wrong.append(f"{name} ({status})")


def account_heard(
    account: Account, network: FakeNetwork, written: Mapping[str, Sequence[str]], heard: Sequence[Stored]
) -> None:
    """written: by the customers' numbers, in order."""
    messages = [event for event in network.gone if event.DESCRIPTOR.name == "Message"]
    gone = {(one.Info.MessageSource.SenderAlt.User, one.Message.conversation) for one in messages}
    for number, texts in written.items():
        shown = [one.text for one in heard if one.number == number]
        account.written["written"] += len(texts)
        account.written["stored"] += len(shown)
        account.stored_twice.extend(f"{number}: {text}" for text, times in Counter(shown).items() if times > 1)
        for text in texts:
            if text not in shown:
                (account.swallowed if (number, text) in gone else account.unheard).append(f"{number}: {text}")
        if shown != [text for text in texts if text in set(shown)]:
            account.disordered.append(number)
