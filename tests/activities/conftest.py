"""The sending and chatting activities over a real store, with a gateway and a model by script."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count

import pytest_asyncio

from activities.courier import Courier
from activities.pacer import Pacer
from activities.sending import SendingActivities
from boton.domain.businesses import Business
from boton.domain.connections import Connection
from boton.domain.gateway import Attempt
from boton.domain.messages import MessageStatus
from boton.domain.sends import AcceptedSend
from boton.ports import OutboxStore, Page
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.outbox import SqlOutboxStore
from boton.store.sends import SqlSendStore
from boton.store.tables import MessageRow
from tests.activities.fakes import Clock, ScriptedGateway, Watcher
from tests.store.builders import NOW, a_business, a_send


class Bench:
    """One business with a connected number, held under an epoch, and what sends through it."""

    def __init__(self, database: Database, business: Business, connection: Connection, epoch: int) -> None:
        self.database, self.business, self.connection, self.epoch = database, business, connection, epoch
        self.gateway = ScriptedGateway()
        self.watcher = Watcher()
        self.clock = Clock()
        self.outbox: OutboxStore = SqlOutboxStore(database)

    def courier(self) -> Courier:
        return Courier(
            self.gateway,
            self.outbox,
            connection_id=self.connection.id,
            epoch=self.epoch,
            observer=self.watcher,
            clock=self.clock,
        )

    def sending(self, pacer: Pacer | None = None) -> SendingActivities:
        return SendingActivities(self.courier(), pacer or self.pacer(), self.clock)

    def pacer(self, seconds: Callable[[], float] = time.monotonic) -> Pacer:
        return Pacer(lambda: self.outbox.fetch_pace(self.connection.id), self.clock, clock=seconds)

    def fresh_pacer(self) -> Pacer:
        """One that takes no pacing for the present one that it has not just read."""
        return self.pacer(count(step=10.0).__next__)

    async def pace(self, **pacing: object) -> None:
        """`pacing` as POST /config stores it."""
        await SqlBusinessStore(self.database).update_config(self.business.id, {"pacing": pacing})

    async def raise_epoch(self) -> int:
        return await SqlConnectionStore(self.database).raise_epoch(self.connection.id, NOW)

    async def accept(self, numbers: int = 1) -> AcceptedSend:
        customers = [f"54911000{number:05}" for number in range(numbers)]
        return await SqlSendStore(self.database).accept_send(a_send(self.business, customers))

    async def claim(self, courier: Courier) -> Attempt:
        """A fresh message, claimed."""
        attempt = await courier.claim((await self.accept()).recipients[0].message_id)
        assert attempt is not None
        return attempt

    async def status(self, attempt: Attempt) -> tuple[str, str | None]:
        """The message's status and its error's code."""
        row = await self.database.read(lambda session: session.get_one(MessageRow, attempt.message_id).model_dump())
        return row["status"], row["error_code"]

    async def statuses(self, send: AcceptedSend) -> Sequence[MessageStatus]:
        recipients, _ = await SqlSendStore(self.database).list_recipients(
            self.business.id, send.send.id, Page(page=0, page_size=50)
        )
        return [recipient.status for recipient in recipients]


@pytest_asyncio.fixture
async def bench(sqlite_url: str) -> AsyncIterator[Bench]:
    database = open_database(sqlite_url)
    business, connection = await a_business(database, bot_new_chats=True)
    epoch = await SqlConnectionStore(database).raise_epoch(connection.id, NOW)
    yield Bench(database, business, connection, epoch)
    await database.close()
