"""What the API is built from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from api.bell import EventBell
from api.dashboard.admin import AdminAccess
from boton.clock import utc_now
from boton.domain.connections import Connection, Gateway
from boton.names import workflow_page
from boton.ports import (
    AssistantStore,
    BusinessStore,
    ChatStore,
    ConnectionStore,
    ConversationStore,
    EventStore,
    HoldStore,
    LinkingStore,
    ReminderStore,
    SendStore,
    WorkflowStarter,
)
from boton.telemetry import Metrics

Check = Callable[[], Awaitable[None]]
"""Looks at one part; raises `api.health.Down` when it does not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where an administrator finds the rest; None: there is none, or nobody knows where."""

    simulator: str | None = None
    temporal_ui: str | None = None
    temporal_namespace: str = "default"

    def find_workflow_page(self, workflow_id: str) -> str | None:
        """Of the workflow, in the Temporal UI."""
        return workflow_page(self.temporal_ui, self.temporal_namespace, workflow_id) if self.temporal_ui else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Ports and a few values; everything a request needs comes from here.

    public: bound to more than loopback, so that any Host is allowed and /metrics wants a token.
    gateways: those that exist here. is_stopping: whether the server was asked to stop, so that long polls end.
    """

    businesses: BusinessStore
    chats: ChatStore
    sends: SendStore
    reminders: ReminderStore
    conversations: ConversationStore
    assistant: AssistantStore
    events: EventStore
    bell: EventBell
    connections: ConnectionStore
    linking: LinkingStore
    holds: HoldStore
    starter: WorkflowStarter
    admin: AdminAccess
    metrics: Metrics
    checks: Mapping[str, Check]
    links: Links = field(default_factory=Links)
    gateways: frozenset[Gateway] = frozenset(Gateway)
    public: bool = False
    now: Callable[[], datetime] = utc_now
    is_stopping: Callable[[], bool] = lambda: False

    async def fetch_connection(self, business_id: str) -> Connection | None:
        """The business's connection, as it is to be believed now."""
        connection = await self.connections.fetch_active_connection(business_id)
        return connection.as_seen(self.now()) if connection else None
