"""A customer whom WhatsApp tells under a LID first and with a number later is one chat: through a link process on the
played network, a worker and the API.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import httpx
from temporalio.worker import Worker

from activities.chatting import ChatActivities
from activities.thinking import Thinking
from api.composition import build_services
from api.main import create_app
from boton import names
from boton.clock import utc_now
from boton.llm.factory import open_model
from boton.settings import read_settings
from boton.store.businesses import SqlBusinessStore
from boton.store.token_days import SqlTokenStore
from boton.store.turns import SqlTurnStore
from boton.telemetry import Metrics
from boton.temporal import sandbox_runner
from tests.store.builders import NOW
from tests.waiting import eventually
from tests.whatsapp import events
from tests.whatsapp.network import Phone
from tests.workers.conftest import World
from tests.workers.test_played_numbers import Played, held, is_up, networks, numbers  # noqa: F401
from workers.main import TOOLS, to_prompt
from workflows.chat import ChatWorkflow
from workflows.send import SendWorkflow

_ids = itertools.count(1)


@contextlib.asynccontextmanager
async def api(world: World, number: Played) -> AsyncIterator[httpx.AsyncClient]:
    """Asked in-process, over the store and the Temporal that the link has."""
    token = await SqlBusinessStore(world.database).create_token(number.business.id, "test", NOW)
    services = build_services(read_settings(), world.database, world.client, Metrics(), lambda: False)
    transport = httpx.ASGITransport(app=create_app(services))
    headers = {"Authorization": f"Bearer {token.secret}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as http:
        yield http


def worker(world: World) -> Worker:
    turns = SqlTurnStore(world.database)
    thinking = Thinking(turns, SqlTokenStore(world.database), open_model(None, None, None), to_prompt, utc_now)
    chats = ChatActivities(turns, thinking, TOOLS, utc_now)
    return Worker(
        world.client,
        task_queue=names.WORK_QUEUE,
        workflows=[SendWorkflow, ChatWorkflow],
        activities=[chats.advance_chat, chats.run_tool, chats.give_up_turn],
        workflow_runner=sandbox_runner(),
    )


def writes_unknown(number: Played, phone: Phone, text: str) -> None:
    """The customer writes, and WhatsApp does not tell their number."""
    about = events.info(f"UNKNOWN{next(_ids)}", events.source(phone.chat), name=phone.name)
    number.network.tell(events.message(about, text))


async def test_lid_and_number_are_one_chat_as_soon_as_it_is_proved(world: World, numbers: list[Played]) -> None:  # noqa: F811
    number = numbers[0]
    phone = number.network.phones[number.phone]
    number.network.change_phone(number.phone, online=False)  # no receipt tells who it is
    async with worker(world), held([number]), api(world, number) as http:

        async def get(path: str) -> Any:
            return (await http.get(f"/api/v1{path}")).raise_for_status().json()

        async def post(path: str, body: object) -> Any:
            return (await http.post(f"/api/v1{path}", json=body)).raise_for_status().json()

        async def texts(jid: str) -> list[str]:
            answer = await http.get(f"/api/v1/chats/{jid}/messages")
            return [message["text"] for message in answer.json().get("messages", [])]

        await is_up(world, number)
        await post("/config", {"botNewChats": True, "debounceSeconds": 0})
        writes_unknown(number, phone, "BAJA")
        confirmed = await eventually(lambda: texts(phone.chat), lambda told: len(told) == 2)
        await eventually(lambda: get(f"/chats/{phone.chat}/messages"), lambda told: _ours(told)[0]["status"] == "sent")
        await post("/send", {"to": number.phone, "message": "Tu turno es mañana a las 15"})
        await eventually(lambda: get("/sends"), lambda told: told["sends"][0]["status"] == "finished")
        assert {chat["jid"] for chat in (await get("/chats"))["chats"]} == {phone.chat, phone.jid}
        assert not (await get(f"/chats/{phone.jid}"))["optedOut"]

        number.network.customer_writes(number.phone, "¿Me lo confirmás?")

        chats = await eventually(lambda: get("/chats"), lambda told: told["total"] == 1)
        assert [chat["jid"] for chat in chats["chats"]] == [phone.jid]
        both = [*confirmed, "Tu turno es mañana a las 15", "¿Me lo confirmás?"]
        told = await eventually(lambda: texts(phone.jid), lambda told: len(told) > len(both))
        assert told[: len(both)] == both
        assert told == await texts(phone.chat)
        assert (await get(f"/chats/{phone.chat}"))["optedOut"]
        await eventually(lambda: get(f"/chats/{phone.chat}"), lambda chat: chat["messageCount"] == len(told))

        number.network.change_phone(number.phone, online=True)
        sent = await post("/send", {"to": number.phone, "message": "¡Oferta!", "category": "marketing"})
        path = f"/sends/{sent['id']}/recipients"
        (recipient,) = (await eventually(lambda: get(path), lambda told: told["recipients"][0]["error"]))["recipients"]
        assert recipient["error"]["code"] == "opted_out"

        await eventually(lambda: get(f"/chats/{phone.jid}/messages"), _are_delivered)
        assert phone.received == [confirmed[1], "Tu turno es mañana a las 15", *told[len(both) :]]


def _ours(told: Any) -> list[Any]:
    return [message for message in told["messages"] if message["direction"] == "outgoing"]


def _are_delivered(told: Any) -> bool:
    return all(message["status"] == "delivered" for message in _ours(told) if message["error"] is None)
