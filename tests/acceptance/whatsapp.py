"""A stack whose WhatsApp is played: one number's own phone, its customers, and the processes that link it."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from boton.whatsapp.device_store import DeviceStore
from tests.acceptance.api import Api
from tests.acceptance.stack import Stack, running
from tests.acceptance.waiting import wait_for
from tests.whatsapp.network import FakeNetwork
from tests.whatsapp.owner import OwnersPhone
from tests.whatsapp.remote import played_links

NUMBER = "5491138620899"
SECONDS = 120.0


class PlayedStack:
    """`phone`: the business's own. Everything else is the product, as `boton up` runs it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.devices = DeviceStore(stack.data_dir, stack.store_url)
        self.phone = OwnersPhone(NUMBER, self.devices)

    @property
    def api(self) -> Api:
        return self.stack.api

    def ask(self, **wanted: Any) -> Any:
        return post(self.api, "/connection", {"gateway": "whatsapp", **wanted})

    def await_code(self, kind: str = "qr", *, but: str = "") -> str:
        """The code that the API shows now; another one than `but`."""
        state = wait_for(
            lambda: (now := self.api.get("/connection")).get(kind) not in {None, but} and now,
            SECONDS,
            lambda: f"a code\n{self.api.get('/connection')}\n{self.stack.logs()}",
        )
        return str(state[kind])

    def await_status(self, *wanted: str) -> Any:
        return wait_for(
            lambda: (now := self.api.get("/connection"))["status"] in wanted and now,
            SECONDS,
            lambda: f"{wanted}\n{self.api.get('/connection')}\n{self.stack.logs()}",
        )

    def link(self, **wanted: Any) -> str:
        """From the request to a running link; the JID of the device."""
        self.ask(**wanted)
        jid = self.phone.use(self.await_code())
        self.await_status("connected")
        return jid

    def log_out(self) -> None:
        """Until nothing of the number runs."""
        self.api.request("DELETE", "/connection")
        wait_for(lambda: not self.links() and not self.find("workers.pairing"), SECONDS, "the end of its processes")

    def find(self, *modules: str) -> list[int]:
        """Pids of processes of the stack that run one of these modules."""
        return [pid for pid, command in self.stack.processes().items() if any(one in command for one in modules)]

    def links(self) -> list[int]:
        """Pids of the links: what the nursery has forked."""
        forked = self.find("workers.nursery")
        return [pid for pid in forked if parent_of(pid) in forked]

    def kill_pairing(self) -> None:
        (pid,) = self.find("workers.pairing")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: pid not in self.stack.processes(), SECONDS, "the end of the process")

    def has_device(self, jid: str) -> bool:
        """Whether the device is that of some connection here."""
        names = {file.name.partition(".")[0] for file in self.devices.folder.glob("con_*.boton.db")}
        found = [self.devices.find_device(name) for name in names]
        return jid in {device.jid for device in found if device is not None}

    def received(self, customer: str) -> list[str]:
        """The texts that reached a customer's phone over WhatsApp, repeats included."""
        return list(self.phone.phones[customer].received)


def played(folder: Path, **settings: str) -> Iterator[PlayedStack]:
    """For fixtures: started, and nothing of it left at the end."""
    world = PlayedStack(Stack(folder, **settings))
    networks: defaultdict[str, FakeNetwork] = defaultdict(lambda: world.phone)
    with played_links(networks) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for _ in running(world.stack):
            world.api.configure(pacing={"profile": "off"})
            yield world
    world.devices.close()


def parent_of(pid: int) -> int | None:
    try:
        return psutil.Process(pid).ppid()
    except psutil.NoSuchProcess:
        return None


def post(api: Api, path: str, body: Any) -> Any:
    answer = api.request("POST", path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()
