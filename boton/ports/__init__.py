"""What is needed of the outside. Every port has at least two implementations that pass the same contract tests.

Times are aware datetimes in UTC. Methods of a store are one transaction each, and safe to call twice.
"""

from __future__ import annotations

from boton.ports.assistant import AssistantStore
from boton.ports.businesses import BusinessStore
from boton.ports.chats import ChatStore
from boton.ports.connections import ConnectionStore
from boton.ports.conversations import CancelledConversation, ConversationStore
from boton.ports.events import EventStore
from boton.ports.gateway import WhatsAppGateway
from boton.ports.holds import HoldStore
from boton.ports.idempotency import IdempotencyKey
from boton.ports.inbox import InboxStore, Recorded
from boton.ports.linking import ConnectionSteps, Linked, LinkingStore, PairingStore, UnlinkingStore
from boton.ports.model import LanguageModel, ModelAnswer, Prompt, Toolbox, ToolSpec
from boton.ports.outbox import Idle, NumberPace, OutboxStore, Preview, Result
from boton.ports.paging import Page
from boton.ports.reminders import AcceptedReminder, Advanced, CancelledReminder, ReminderPatch, ReminderStore
from boton.ports.sends import SendStore
from boton.ports.starter import WorkflowStarter
from boton.ports.turns import CallKey, ChatStep, TokenStore, TurnStore
from boton.ports.work import Overdue, WorkStore

__all__ = [
    "AcceptedReminder",
    "Advanced",
    "AssistantStore",
    "BusinessStore",
    "CallKey",
    "CancelledConversation",
    "CancelledReminder",
    "ChatStep",
    "ChatStore",
    "ConnectionSteps",
    "ConnectionStore",
    "ConversationStore",
    "EventStore",
    "HoldStore",
    "IdempotencyKey",
    "Idle",
    "InboxStore",
    "LanguageModel",
    "Linked",
    "LinkingStore",
    "ModelAnswer",
    "NumberPace",
    "OutboxStore",
    "Overdue",
    "Page",
    "PairingStore",
    "Preview",
    "Prompt",
    "Recorded",
    "ReminderPatch",
    "ReminderStore",
    "Result",
    "SendStore",
    "TokenStore",
    "ToolSpec",
    "Toolbox",
    "TurnStore",
    "UnlinkingStore",
    "WhatsAppGateway",
    "WorkStore",
    "WorkflowStarter",
]
