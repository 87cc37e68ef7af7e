"""What nobody checks before it comes here, all the way into the store: it must hold up nothing."""

from __future__ import annotations

import random
import string
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from neonize.events import EVENT_TO_INT
from neonize.proto import Neonize_pb2 as pb
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message as M

from boton.clock import utc_now
from boton.store.engine import Database
from boton.whatsapp.device_store import DeviceStore
from boton.whatsapp.line import Line
from boton.whatsapp.neonize_library import migrate
from boton.whatsapp.number import Number
from boton.whatsapp.ownership import Ownership
from tests.store.stage import Stage, set_stage
from tests.whatsapp import events
from tests.whatsapp.devices import link_device

STRANGER = "777@lid"
PHONE = "5491112345678@s.whatsapp.net"
ANA = "5491198765432@s.whatsapp.net"
NO_TEXT = "\ue000"
"""Stands for as many bytes that are no text."""

ENDLESS = "".join(random.Random(1).choices(string.ascii_letters, k=20_000))
LATE = 253_402_300_799
"""The last second of the year 9999."""


class Premises:
    """A number whose events go into a store."""

    def __init__(self, stage: Stage, number: Number, line: Line) -> None:
        self._stage, self._number, self._line = stage, number, line

    async def hear(self, *told: Any) -> dict[str, list[str]]:
        """As the library tells it and the link stores it: the texts in each chat, Ana's among them."""
        for event in (*told, events.message(events.info("3EBA", events.source(ANA)), "hola")):
            payload = event.SerializeToString().replace(NO_TEXT.encode(), b"\xff\xed\xa0")
            self._number.take_event(EVENT_TO_INT[type(event)], payload)
        assert self._line.broken is None
        cursor = 0
        while said := self._number.read(cursor):
            await self._stage.inbox.record_events(self._stage.connection.id, self._stage.epoch, said, utc_now())
            cursor = said[-1].cursor
        texts: dict[str, list[str]] = {}
        for row in await self._stage.messages():
            texts.setdefault(str(row.jid), []).append(str(row.text))
        return texts


@pytest.fixture
async def premises(database: Database, store_url: str, tmp_path: Path) -> AsyncIterator[Premises]:
    stage = await set_stage(database)
    store, connection_id = DeviceStore(tmp_path, store_url), stage.connection.id
    migrate(store, connection_id)
    link_device(store, connection_id, "5491138620812")
    device = store.find_device(connection_id)
    assert device is not None
    line = Line(lambda: 0.0)
    yield Premises(stage, Number(store, connection_id, device, Ownership(store, connection_id), line), line)
    store.close()


def written(content: Any, *, id: str = "3EB0", from_me: bool = False, **about: Any) -> Any:
    return events.message(events.info(id, events.source(STRANGER, alt=PHONE, from_me=from_me), **about), content)


def history(*chats: Any) -> Any:
    return pb.HistorySync(Data={"syncType": "INITIAL_BOOTSTRAP", "conversations": chats})


def old(jid: str, content: Any, *, id: str = "3EBH", at: int = 1_790_000_000) -> Any:
    message = {"key": {"ID": id, "fromMe": False}, "message": content, "messageTimestamp": at}
    return {"ID": jid, "messages": [{"message": message}]}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param(written(f"a{NO_TEXT}b"), "a���b", id="no text"),
        pytest.param(written(M(imageMessage={"caption": f"a{NO_TEXT}"})), "Picture: a���", id="no text in a caption"),
        pytest.param(written("hola", name=f"a{NO_TEXT}"), "hola", id="no text in a name"),
        pytest.param(written("hola", id=f"3{NO_TEXT}"), "hola", id="no text in an id"),
        pytest.param(written("a\0b", name="a\0b", id="3\0"), "ab", id="NUL"),
        pytest.param(written("hola", id=ENDLESS), "hola", id="endless id"),
        pytest.param(written("hola", at_ms=LATE * 1000), "hola", id="year 9999"),
        pytest.param(written("hola", at_ms=2**62), "hola", id="no time at all"),
        pytest.param(written("hola", from_me=True, at_ms=LATE * 1000), "hola", id="typed in the year 9999"),
    ],
)
async def test_message_is_stored_and_holds_up_nothing(premises: Premises, message: Any, text: str) -> None:
    assert await premises.hear(message) == {PHONE: [text], ANA: ["hola"]}


async def test_messages_with_endless_ids_that_begin_alike_are_not_taken_for_one(premises: Premises) -> None:
    first, second = written("hola", id=f"{ENDLESS}1"), written("¿hay alguien?", id=f"{ENDLESS}2")
    assert await premises.hear(first, first, second) == {PHONE: ["hola", "¿hay alguien?"], ANA: ["hola"]}


@pytest.mark.parametrize("id", ["3\0", f"3{NO_TEXT}", ENDLESS], ids=["NUL", "no text", "endless"])
async def test_receipt_holds_up_nothing(premises: Premises, id: str) -> None:
    receipt = events.receipt(events.source(STRANGER, alt=PHONE), [id], at=LATE)
    assert await premises.hear(written("hola"), receipt) == {PHONE: ["hola"], ANA: ["hola"]}


@pytest.mark.parametrize(
    ("chat", "text"),
    [
        pytest.param(old(PHONE, M(conversation=NO_TEXT)), "���", id="no text"),
        pytest.param(
            old(PHONE, M(contactsArrayMessage={"contacts": [{"displayName": NO_TEXT}]})), "Contacts: ���", id="no name"
        ),
        pytest.param(old(PHONE, M(conversation="a"), id="3\0"), "a", id="NUL in an id"),
        pytest.param(old(PHONE, M(conversation="a"), at=2**62), "a", id="no time at all"),
    ],
)
async def test_history_does_not_cost_the_other_chats_theirs(premises: Premises, chat: Any, text: str) -> None:
    leo = "5491100000001@s.whatsapp.net"
    told = history(chat, old(leo, M(conversation="de antes")))
    assert await premises.hear(told) == {PHONE: [text], leo: ["de antes"], ANA: ["hola"]}


async def test_whatsapps_own_announcements_are_no_customers(premises: Premises) -> None:
    nobody = "0@s.whatsapp.net"
    two = [events.message(events.info("3EB0", events.source(lid, alt=nobody)), "hola") for lid in ("1@lid", "2@lid")]
    stored = await premises.hear(history(old(nobody, M(conversation="¡Novedades!"))), *two)
    assert stored == {"1@lid": ["hola"], "2@lid": ["hola"], ANA: ["hola"]}
