"""Who is meant by what came in. A LID and a phone number that are told of one person prove two names to be one's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlmodel import Session, col

from boton.domain.jid import is_lid
from boton.store.aliases import add_aliases, ensure_chats, find_names, select_with_chats, spell
from boton.store.tables import ChatRow


class Known(NamedTuple):
    """A chat to which a name of a customer leads."""

    id: str
    jid: str
    known: bool


@dataclass(slots=True, eq=False)
class Customer:
    """jids: as told, in that order. names: every spelling of them. chats: those to which they lead; more than one: they
    are to be merged. new: names that lead to none.
    """

    jids: list[str]
    names: set[str]
    chats: list[Known] = field(default_factory=list)
    new: set[str] = field(default_factory=set)

    @property
    def chat_id(self) -> str | None:
        """The customer's chat, once there is one."""
        return self.chats[0].id if self.chats else None

    @property
    def preferred(self) -> str:
        """What the customer is called: the phone number, where one is told."""
        return spell(next((jid for jid in self.jids if not is_lid(jid)), self.jids[0]))[0]


_CHATS = select_with_chats(col(ChatRow.id), col(ChatRow.jid), col(ChatRow.known))


def find_customers(session: Session, business_id: str, told: Iterable[Sequence[str]]) -> list[Customer]:
    """Those of whom something is told, each under one JID or several, with the chats to which these lead now."""
    customers = _tell_apart(told)
    names = sorted({name for customer in customers for name in customer.names})
    found = {name: Known(*row) for name, row in find_names(session, _CHATS, business_id, names).items()}
    for customer in customers:
        customer.chats = sorted({found[name] for name in customer.names & found.keys()})
        customer.new = customer.names - found.keys()
    return customers


def note_names(session: Session, business_id: str, customers: Iterable[Customer]) -> None:
    """Every name of a customer leads to their chat from now on; nothing is asked where all of them do already."""
    missing = {name: one.chats[0].id for one in customers if one.chats for name in one.new}
    if missing:
        add_aliases(session, business_id, missing)


def ensure_chat(session: Session, business_id: str, customer: Customer, now: datetime) -> str:
    """The customer's chat, which is created where there is none."""
    if not customer.chats:
        jid = customer.preferred
        chat_id = ensure_chats(session, business_id, [jid], now)[jid]
        customer.chats.append(Known(chat_id, jid, known=False))
        customer.new -= set(spell(jid))
        note_names(session, business_id, [customer])
    return customer.chats[0].id


def _tell_apart(told: Iterable[Sequence[str]]) -> list[Customer]:
    """By any name in common, whichever event tells of it."""
    customers: list[Customer] = []
    for jids in dict.fromkeys(map(tuple, told)):
        customer = Customer(list(jids), {name for jid in jids for name in spell(jid)})
        for same in [each for each in customers if not each.names.isdisjoint(customer.names)]:
            customers.remove(same)
            customer = Customer(list(dict.fromkeys([*same.jids, *customer.jids])), same.names | customer.names)
        customers.append(customer)
    return customers
