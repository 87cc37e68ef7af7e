"""The API over a real SQLite store, asked in-process; the only fake is the port that starts workflows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from api import health, starting
from api.bell import EventBell
from api.dashboard.admin import AdminAccess
from api.main import create_app
from api.services import Check, Links, Services
from boton.domain.businesses import Business
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.gateway import GatewayEvent, Inbound
from boton.domain.messages import Lane
from boton.domain.sends import SendCategory
from boton.store.assistant import SqlAssistantStore
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.connections import SqlConnectionStore
from boton.store.conversations import SqlConversationStore
from boton.store.engine import Database, open_database
from boton.store.events import SqlEventStore
from boton.store.holds import SqlHoldStore
from boton.store.inbox import SqlInboxStore
from boton.store.linking import SqlLinkingStore
from boton.store.meta import SqlMetaStore
from boton.store.reminders import SqlReminderStore
from boton.store.sends import SqlSendStore
from boton.telemetry import Metrics

BASE = "http://127.0.0.1:8000"
PASSWORD = "correct horse"
JUAN = "5491112345678"
JUAN_JID = f"{JUAN}@s.whatsapp.net"
PATIENCE = 3600.0


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, 18, 4, 5, 678000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **time: float) -> None:
        self.at += timedelta(**time)


@dataclass
class FakeStarter:
    """Starts nothing and remembers what it was asked for. `trouble` is raised, `hangs` never answers."""

    sends: list[tuple[str, str, str, tuple[Lane, ...]]] = field(default_factory=list)
    reminders: list[tuple[str, datetime | None, bool]] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    chats: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    trouble: Exception | None = None
    hangs: bool = False

    async def end_send(self, send_id: str) -> None: ...

    async def start_send(
        self,
        send_id: str,
        business_id: str,
        connection_id: str,
        *,
        lanes: Sequence[Lane],
        category: SendCategory = SendCategory.TRANSACTIONAL,
        wake: bool = False,
    ) -> None:
        if wake:
            self.woken.append(send_id)
        else:
            self.sends.append((send_id, business_id, connection_id, tuple(lanes)))
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble

    async def start_reminder(
        self, reminder_id: str, business_id: str, *, due_at: datetime | None, wake: bool = False
    ) -> None:
        self.reminders.append((reminder_id, due_at, wake))
        if self.trouble is not None:
            raise self.trouble

    async def look_at_chat(self, chat_id: str, business_id: str, *, quiet_seconds: float = 0.0) -> None:
        self.chats.append(chat_id)
        if self.trouble is not None:
            raise self.trouble

    async def look_at_connection(self, connection_id: str, business_id: str) -> None:
        self.connections.append(connection_id)
        if self.trouble is not None:
            raise self.trouble


@dataclass(kw_only=True)
class Tenant:
    """A business with its connected phone, and a client that bears its token."""

    business: Business
    connection: Connection
    token: str
    http: httpx.AsyncClient
    database: Database
    clock: Clock
    cursor: int = 0
    epoch: int = 0

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.http.get(f"/api/v1{path}", params=query)

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(f"/api/v1{path}", json=body)

    async def patch(self, path: str, body: Any) -> httpx.Response:
        return await self.http.patch(f"/api/v1{path}", json=body)

    async def connect(self, status: ConnectionStatus = ConnectionStatus.CONNECTED, reason: str | None = None) -> None:
        connections = SqlConnectionStore(self.database)
        self.epoch = await connections.raise_epoch(self.connection.id, self.clock())
        await connections.record_status(self.connection.id, self.epoch, status, reason, self.clock())

    async def hear(self, text: str, *, number: str = JUAN, name: str | None = None) -> None:
        """A customer writes."""
        self.cursor += 1
        self.clock.advance(seconds=1)
        inbound = Inbound(
            whatsapp_id=f"WA{self.cursor}",
            jid=f"{number}@s.whatsapp.net",
            push_name=name,
            text=text,
            at=self.clock(),
        )
        events = [GatewayEvent(cursor=self.cursor, body=inbound)]
        await SqlInboxStore(self.database).record_events(self.connection.id, self.epoch, events, self.clock())


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is slow because the machine is, is not taken for dead."""
    monkeypatch.setattr(starting, "_PATIENCE", PATIENCE)
    monkeypatch.setattr(health, "_PATIENCE", PATIENCE)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def starter() -> FakeStarter:
    return FakeStarter()


@pytest_asyncio.fixture
async def store(sqlite_url: str) -> AsyncIterator[Database]:
    database = open_database(sqlite_url)
    yield database
    await database.close()


@pytest.fixture
def checks() -> dict[str, Check]:
    """Of /health/ready; tests add what they need."""
    return {}


@pytest.fixture
def services(store: Database, clock: Clock, starter: FakeStarter, checks: dict[str, Check]) -> Services:
    return make_services(store, clock, starter, checks)


def make_services(store: Database, clock: Clock, starter: FakeStarter, checks: dict[str, Check]) -> Services:
    return Services(
        businesses=SqlBusinessStore(store),
        chats=SqlChatStore(store),
        sends=SqlSendStore(store),
        reminders=SqlReminderStore(store),
        conversations=SqlConversationStore(store),
        assistant=SqlAssistantStore(store),
        events=SqlEventStore(store),
        bell=EventBell(SqlEventStore(store)),
        connections=SqlConnectionStore(store),
        linking=SqlLinkingStore(store),
        holds=SqlHoldStore(store),
        starter=starter,
        admin=AdminAccess(SqlMetaStore(store), PASSWORD),
        metrics=Metrics(),
        checks=checks,
        links=Links(simulator="http://127.0.0.1:8900", temporal_ui="http://127.0.0.1:8233"),
        now=clock,
    )


@pytest.fixture
def app(services: Services) -> FastAPI:
    return create_app(services)


def ask(app: FastAPI, **options: Any) -> httpx.AsyncClient:
    """A client of the app, in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE, **options)


@pytest_asyncio.fixture
async def anyone(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Someone without a token."""
    async with ask(app) as http:
        yield http


@pytest_asyncio.fixture
async def tenant(app: FastAPI, store: Database, clock: Clock) -> AsyncIterator[Tenant]:
    async with ask(app) as http:
        yield await open_business(store, clock, http, "Mi Negocio", "5491138620812")


@pytest_asyncio.fixture
async def browser(app: FastAPI, tenant: Tenant) -> AsyncIterator[httpx.AsyncClient]:
    """Follows redirects and keeps cookies; there is one business."""
    async with ask(app, follow_redirects=True) as http:
        yield http


@pytest_asyncio.fixture
async def stranger(app: FastAPI, store: Database, clock: Clock) -> AsyncIterator[Tenant]:
    """Another business."""
    async with ask(app) as http:
        yield await open_business(store, clock, http, "Otro Negocio", "5491138620999")


async def open_business(store: Database, clock: Clock, http: httpx.AsyncClient, name: str, phone: str) -> Tenant:
    businesses = SqlBusinessStore(store)
    business = await businesses.create_business(name, bot_new_chats=True, now=clock())
    connection = await SqlConnectionStore(store).create_connection(business.id, Gateway.SIMULATOR, phone, clock())
    token = (await businesses.create_token(business.id, "test", clock())).secret
    http.headers["Authorization"] = f"Bearer {token}"
    tenant = Tenant(business=business, connection=connection, token=token, http=http, database=store, clock=clock)
    await tenant.connect()
    return tenant


def replaced(services: Services, **changes: Any) -> FastAPI:
    """An app over the same services with some of them changed."""
    return create_app(replace(services, **changes))


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document, after checking that it is one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    assert document["detail"]
    return document
