"""A link's sending half in the process of a yardstick: same store type, same simulator, a phone number of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from activities.courier import Courier
from activities.pacer import Pacer
from boton.clock import utc_now
from boton.domain.connections import Gateway
from boton.domain.pacing import Closure
from boton.domain.sends import AcceptedSend, NewRecipient, NewSend, SendCategory, SendKind
from boton.ports import Result
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import Database, open_database
from boton.store.migrate import migrate
from boton.store.outbox import SqlOutboxStore
from boton.store.sends import SqlSendStore
from boton.whatsapp.simulator import SimulatorGateway

TEXT = "Your appointment is tomorrow at 15:00."


class _Unobserved:
    """Nobody measures a yardstick from inside."""

    def settled(self, result: Result, seconds: float) -> None:
        """Nothing to be done."""

    def refused(self, closure: Closure) -> None:
        """Nothing to be done."""

    def lost_ownership(self) -> None:
        """Nothing to be done: its process ends with an error."""

    def merged(self, chat_ids: Sequence[str]) -> None:
        """Nothing to be done."""


class Outbound:
    """`courier` and `pacer` as a link has them."""

    def __init__(self, database: Database, business_id: str, connection_id: str, courier: Courier) -> None:
        self._database = database
        self._business_id = business_id
        self.courier = courier
        outbox = SqlOutboxStore(database)
        self.pacer = Pacer(lambda: outbox.fetch_pace(connection_id), utc_now)

    async def accept(self, numbers: Sequence[str]) -> AcceptedSend:
        """As POST /send stores it."""
        recipients = (NewRecipient(to=one, jid=f"{one}@s.whatsapp.net", text=TEXT) for one in numbers)
        new = NewSend(
            business_id=self._business_id,
            kind=SendKind.MESSAGE,
            category=SendCategory.TRANSACTIONAL,
            recipients=tuple(recipients),
            rejected=(),
            accepted_at=utc_now(),
        )
        return await SqlSendStore(self._database).accept_send(new)


@asynccontextmanager
async def open_outbound(folder: Path, simulator: str, phone: str) -> AsyncIterator[Outbound]:
    """On a new SQLite store in this folder, with the phone's session open on that simulator."""
    url = f"sqlite:///{folder / 'boton.db'}"
    migrate(url)
    database, gateway = open_database(url), SimulatorGateway(simulator, phone)
    try:
        now = utc_now()
        business = await SqlBusinessStore(database).create_business("Bench", bot_new_chats=False, now=now)
        connections = SqlConnectionStore(database)
        connection = await connections.create_connection(business.id, Gateway.SIMULATOR, phone, now)
        epoch = await connections.raise_epoch(connection.id, now)
        await gateway.open(epoch)
        courier = Courier(
            gateway,
            SqlOutboxStore(database),
            connection_id=connection.id,
            epoch=epoch,
            observer=_Unobserved(),
            clock=utc_now,
        )
        yield Outbound(database, business.id, connection.id, courier)
    finally:
        await gateway.close()
        await database.close()
