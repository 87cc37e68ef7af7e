"""A number's own phone, which links devices: it scans the codes that it is shown, and lists who is linked."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from boton.whatsapp.device_store import DeviceStore
from tests.whatsapp import events
from tests.whatsapp.devices import add_device
from tests.whatsapp.ffi import Refusal, Session
from tests.whatsapp.network import FakeNetwork


class Step(IntEnum):
    """How far a linking goes, as the library does it: with what comes before."""

    DEVICE_WRITTEN = 1
    PAIRED = 2
    CONNECTED = 3


class OwnersPhone(FakeNetwork):
    """One number, for device stores that are files. linked: the JIDs of the devices that it lists, oldest first."""

    def __init__(self, number: str, devices: DeviceStore) -> None:
        super().__init__(number, create_engine("sqlite://"))
        self._devices = devices
        self._offers: dict[str, Session] = {}
        self.linked: list[str] = []

    def use(self, code: str, until: Step = Step.CONNECTED) -> str:
        """Scans a QR code, or has a pairing code typed in; the JID of the new device."""
        session = self._offers[code]
        jid = f"{self.business}:{len(self._offers)}@s.whatsapp.net"
        steps: tuple[Callable[[], Any], ...] = (
            lambda: add_device(self._devices, _connection_of(session), jid),
            lambda: (self.linked.append(jid), session.push(events.paired(jid))),
            lambda: session.push(events.connected()),
        )
        for step in steps[:until]:
            step()
        return jid

    def remove(self, jid: str) -> None:
        """Its owner removes a device: whoever is connected as it hears of it, or when it connects."""
        self.linked.remove(jid)
        for session in [one for one in self.sessions if one.address == jid and one.connected]:
            self._log_out(session)

    # ---------------------------------------------------- the library's side

    def pair(self, session: Session) -> None:
        self._devices.close()  # the files of a device that was logged out are gone, and these may be others
        self._database = self._devices.engine(_connection_of(session))
        self.sessions.append(session)
        code = f"https://wa.me/settings/linked_devices#2@{len(self._offers)}"
        self._offers[code] = session
        session.call(lambda: session.show_qr(code))

    def ask_code(self, session: Session, phone: str) -> str:
        if phone != self.business:
            raise Refusal("server returned error 400")
        code = f"QG4X-{len(self._offers):04}"
        self._offers[code] = session
        return code

    def connect(self, session: Session) -> None:
        if session.address in self.linked:
            super().connect(session)
        else:
            self._log_out(session)

    def log_out(self, session: Session) -> None:
        super().log_out(session)
        self.linked.remove(session.address)

    def _log_out(self, session: Session) -> None:
        session.connected = False
        self._forget(session.address)
        session.push(events.logged_out())


def _connection_of(session: Session) -> str:
    """By the name of its database."""
    return Path(session.address.partition("?")[0]).stem
