"""The tables, as SQLModel sees them. They never leave the store: what crosses is a domain object.

A column `next_step_at` says when unfinished work is due again; NULL: nothing is owed. The sweeper reads only that.
"""

from __future__ import annotations

from boton.store.tables.businesses import BusinessRow, TallyRow, TokenDayRow, TokenRow
from boton.store.tables.chats import AliasRow, ChatRow
from boton.store.tables.conditions import DRAFTED, DUE, IN_FLIGHT, OF_TURN, PENDING, SUSPENDED, UNFINISHED
from boton.store.tables.connections import ConnectionRow, LaneDayRow, OutageRow, PairingRow
from boton.store.tables.conversations import ConversationRow, FollowUpRow
from boton.store.tables.events import EventRow
from boton.store.tables.idempotency import IdempotencyRow
from boton.store.tables.installation import LeaseRow, MetaRow
from boton.store.tables.messages import MessageRow, ReceiptRow
from boton.store.tables.reminders import FiringRow, ReminderRow
from boton.store.tables.sends import SendRow
from boton.store.tables.turns import RoundRow, ToolCallRow, TurnRow

__all__ = [
    "DRAFTED",
    "DUE",
    "IN_FLIGHT",
    "OF_TURN",
    "PENDING",
    "SUSPENDED",
    "UNFINISHED",
    "AliasRow",
    "BusinessRow",
    "ChatRow",
    "ConnectionRow",
    "ConversationRow",
    "EventRow",
    "FiringRow",
    "FollowUpRow",
    "IdempotencyRow",
    "LaneDayRow",
    "LeaseRow",
    "MessageRow",
    "MetaRow",
    "OutageRow",
    "PairingRow",
    "ReceiptRow",
    "ReminderRow",
    "RoundRow",
    "SendRow",
    "TallyRow",
    "TokenDayRow",
    "TokenRow",
    "ToolCallRow",
    "TurnRow",
]
