"""Every example of the public API document, as it is written there."""

from __future__ import annotations

import re

from boton.domain.connections import ConnectionStatus
from tests.api.conftest import JUAN, JUAN_JID, Tenant

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_status(tenant: Tenant) -> None:
    await tenant.hear("hola")
    await tenant.patch(f"/chats/{5491100000001}@s.whatsapp.net", {"untouchable": True})
    answer = await tenant.get("/status")
    assert answer.status_code == 200
    document = answer.json()
    assert document.pop("connection") == {"status": "connected", "reason": None}
    assert document.pop("assistant") == {"status": "ok", "reason": None, "since": None}
    assert document.pop("slowLane") == {"open": True, "reason": None, "code": None, "reopensAt": None}
    assert document == {
        "business": "Mi Negocio",
        "connected": True,
        "phone": "5491138620812",
        "botPurpose": "attend",
        "botNewChats": True,
        "activeBotChats": 1,
        "untouchableChats": 1,
    }


async def test_status_tells_why_the_phone_is_away(tenant: Tenant) -> None:
    await tenant.connect(ConnectionStatus.LOGGED_OUT, "Link the phone again.")
    document = (await tenant.get("/status")).json()
    assert document["connected"] is False
    assert document["connection"] == {"status": "logged_out", "reason": "Link the phone again."}


async def test_chats(tenant: Tenant) -> None:
    await tenant.hear("hola", name="Juan")
    answer = await tenant.get("/chats", page=0, pageSize=20)
    assert answer.status_code == 200
    document = answer.json()
    timestamp = document["chats"][0]["lastMessage"].pop("timestamp")
    assert TIMESTAMP.fullmatch(timestamp)
    assert document == {
        "chats": [
            {
                "jid": JUAN_JID,
                "name": "Juan",
                "lastMessage": {"text": "hola", "direction": "incoming"},
                "messageCount": 1,
                "botEnabled": True,
            }
        ],
        "total": 1,
        "page": 0,
        "pageSize": 20,
        "hasMore": False,
    }


async def test_messages(tenant: Tenant) -> None:
    await tenant.hear("hola")
    answer = await tenant.get(f"/chats/{JUAN_JID}/messages")
    assert answer.status_code == 200
    document = answer.json()
    assert document["jid"] == JUAN_JID
    [message] = document["messages"]
    assert TIMESTAMP.fullmatch(message["timestamp"])
    assert message["timestamp"] == "2026-11-20T18:04:06.678Z"
    assert {key: message[key] for key in ("text", "direction", "botGenerated", "status", "type", "sender")} == {
        "text": "hola",
        "direction": "incoming",
        "botGenerated": False,
        "status": "received",
        "type": "text",
        "sender": "customer",
    }


async def test_send_a_message(tenant: Tenant) -> None:
    answer = await tenant.post("/send", {"to": JUAN, "message": "Hola, tu turno es manana a las 15hs"})
    assert answer.status_code == 202
    document = answer.json()
    assert re.fullmatch(r"snd_\w{26}", document["id"])
    assert (document["status"], document["kind"], document["total"]) == ("queued", "message", 1)
    [recipient] = document["recipients"]
    assert (recipient["to"], recipient["jid"], recipient["status"]) == (JUAN, JUAN_JID, "queued")
    assert re.fullmatch(r"msg_\w{26}", recipient["messageId"])
    assert document["rejected"] == []
    [message] = (await tenant.get(f"/chats/{JUAN_JID}/messages")).json()["messages"]
    assert (message["id"], message["text"]) == (recipient["messageId"], "Hola, tu turno es manana a las 15hs")
    assert (message["sender"], message["sendId"]) == ("api", document["id"])


async def test_send_an_instruction_to_several(tenant: Tenant) -> None:
    answer = await tenant.post("/send", {"to": [JUAN, "5491198765432"], "instruction": "Ofrece turno para manana"})
    assert answer.status_code == 202
    document = answer.json()
    assert (document["kind"], document["total"]) == ("instruction", 2)
    assert [one["to"] for one in document["recipients"]] == [JUAN, "5491198765432"]
    assert all(one["conversationId"].startswith("cnv_") for one in document["recipients"])
    chat = (await tenant.get(f"/chats/{JUAN_JID}")).json()
    assert chat["jid"] == JUAN_JID


async def test_config(tenant: Tenant) -> None:
    given = {"botPurpose": "attend", "botNewChats": True, "customInstructions": "Responde solo en espanol"}
    answer = await tenant.post("/config", given)
    assert answer.status_code == 200
    assert answer.json().items() >= given.items()
    assert answer.json() == (await tenant.get("/config")).json()


async def test_every_field_of_config_in_the_document(tenant: Tenant) -> None:
    given = {
        "businessName": "Peluquería Ana",
        "businessDescription": "Cortes",
        "botPurpose": "sell",
        "guardrails": "No des precios",
        "customInstructions": "Sé breve",
        "botNewChats": False,
    }
    assert (await tenant.post("/config", given)).json().items() >= given.items()
    status = (await tenant.get("/status")).json()
    assert (status["business"], status["botPurpose"], status["botNewChats"]) == ("Peluquería Ana", "sell", False)
