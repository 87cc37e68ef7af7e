"""Numbers on the played network, for a running stack: made in its store and held by its host, as if linked before."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from boton.clock import utc_now
from boton.domain.connections import Gateway
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import open_database
from boton.temporal import TemporalAddress, connect
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_library import migrate
from tests.whatsapp.devices import link_device
from tests.whatsapp.ffi import Session
from tests.whatsapp.network import FakeNetwork
from workflows.starter import TemporalStarter

_FIRST = 5491138700000


class WatchedNetwork(FakeNetwork):
    """Knows when messages left, and through sessions that began when."""

    def __init__(self, business: str, database: Engine) -> None:
        super().__init__(business, database)
        self._began: dict[int, float] = {}
        self.left: list[tuple[float, float]] = []
        """When a message was acknowledged, and when its session had begun."""

    def connect(self, session: Session) -> None:
        self._began[id(session)] = time.monotonic()
        super().connect(session)

    def send(self, session: Session, to: str, message: Any) -> tuple[str, int]:
        sent = super().send(session, to, message)
        self.left.append((time.monotonic(), self._began[id(session)]))
        return sent


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedNumber:
    """A business with a number. token: of its API."""

    business_id: str
    token: str
    connection_id: str
    network: WatchedNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """Of a running stack: where its store, its files and its Temporal are."""

    store_url: str
    data_dir: Path
    temporal: str

    def find_link(self, number: PlayedNumber) -> int:
        """The process that its host runs for a number; 0 when there is none just now."""
        running = json.loads((self.data_dir / "run" / "links.json").read_text())
        pid = int(running.get(number.connection_id, {"pid": 0})["pid"])
        try:
            return pid if b"workers.nursery" in Path(f"/proc/{pid}/cmdline").read_bytes() else 0  # a dead one has none
        except OSError:
            return 0


async def add_numbers(premises: Premises, networks: dict[str, FakeNetwork], how_many: int) -> Sequence[PlayedNumber]:
    """So many more of them, unpaced and without a bot; their links are started. networks: of `played_links`."""
    database = open_database(premises.store_url)
    devices = DeviceStore(premises.data_dir, premises.store_url)
    starter = TemporalStarter(await connect(TemporalAddress(target=premises.temporal)))
    businesses, connections = SqlBusinessStore(database), SqlConnectionStore(database)
    numbers = []
    try:
        for phone in map(str, range(_FIRST + len(networks), _FIRST + len(networks) + how_many)):
            business = await businesses.create_business(phone, bot_new_chats=False, now=utc_now())
            await businesses.update_config(business.id, {"pacing": {"profile": "off"}})
            token = (await businesses.create_token(business.id, "played", utc_now())).secret
            connection = await connections.create_connection(business.id, Gateway.WHATSAPP, phone, utc_now())
            migrate(devices, connection.id)
            network = WatchedNetwork(phone, devices.engine(connection.id))
            networks[link_device(devices, connection.id, phone)] = network
            await starter.look_at_connection(connection.id, business.id)
            numbers.append(
                PlayedNumber(business_id=business.id, token=token, connection_id=connection.id, network=network)
            )
    finally:
        await database.close()
    return numbers
