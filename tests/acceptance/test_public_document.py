"""Every example of the public API document, as it is written there, pasted into a shell."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from tests.acceptance.simulator import Simulator
from tests.acceptance.stack import Stack
from tests.acceptance.talk import ANSWER_SECONDS, answers, await_delivered
from tests.acceptance.waiting import wait_for

HOST = "https://boton.etthore.com"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

STATUS = """curl -H "Authorization: Bearer YOUR_TOKEN" \\
  https://boton.etthore.com/api/v1/status"""
CHATS = """curl -H "Authorization: Bearer YOUR_TOKEN" \\
  https://boton.etthore.com/api/v1/chats?page=0&pageSize=20"""
MESSAGES = """curl -H "Authorization: Bearer YOUR_TOKEN" \\
  https://boton.etthore.com/api/v1/chats/5491112345678@s.whatsapp.net/messages"""
SEND = """curl -X POST -H "Authorization: Bearer YOUR_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{"to":"5491112345678","message":"Hola, tu turno es manana a las 15hs"}' \\
  https://boton.etthore.com/api/v1/send"""
INSTRUCT = """curl -X POST -H "Authorization: Bearer YOUR_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{"to":["5491112345678","5491198765432"],"instruction":"Ofrece turno para manana"}' \\
  https://boton.etthore.com/api/v1/send"""
CONFIGURE = """curl -X POST -H "Authorization: Bearer YOUR_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{"botPurpose":"attend","botNewChats":true,"customInstructions":"Responde solo en espanol"}' \\
  https://boton.etthore.com/api/v1/config"""


def paste(stack: Stack, example: str) -> Any:
    """What the shell command prints; host and token are those of the stack, nothing else is changed."""
    document = stack.up()
    command = example.replace(HOST, document["api"]).replace("YOUR_TOKEN", document["token"])
    done = subprocess.run(["sh", "-c", f"{command}\nwait"], capture_output=True, text=True, timeout=40, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def juan(shared: Stack, simulator: Simulator) -> str:
    """The document's customer has written "hola", under the name he has there, and was answered."""
    number = "5491112345678"
    simulator.change_phone(number, name="Juan")
    before = len(answers(simulator, number, "hola"))
    simulator.write(number, "hola")
    wait_for(lambda: len(answers(simulator, number, "hola")) > before, ANSWER_SECONDS, "the answer to Juan")
    return f"{number}@s.whatsapp.net"


def test_status(shared: Stack) -> None:
    answer = paste(shared, STATUS)
    counts = {key: answer[key] for key in ("activeBotChats", "untouchableChats")}
    assert all(isinstance(count, int) for count in counts.values())
    shown = {"business": "Mi Negocio", "connected": True, "phone": "5491138620812", "botPurpose": "attend"}
    assert answer.items() >= {**shown, "botNewChats": True}.items()


def test_chats(shared: Stack, juan: str) -> None:
    """In a shell the `&` ends the command: what is asked for is page 0 of the default size."""
    answer = paste(shared, CHATS)
    assert (answer["page"], answer["hasMore"]) == (0, answer["total"] > 20)
    [chat] = [chat for chat in answer["chats"] if chat["jid"] == juan]
    assert chat["name"] == "Juan"
    assert chat["messageCount"] >= 1
    assert chat["botEnabled"] is True
    assert chat["lastMessage"].keys() == {"text", "direction", "timestamp"}
    assert TIMESTAMP.fullmatch(chat["lastMessage"]["timestamp"])


def test_chats_with_the_page_size_of_the_example(shared: Stack, juan: str) -> None:
    answer = paste(shared, CHATS.replace("https:", "'https:") + "'")
    assert (answer["page"], answer["pageSize"]) == (0, 20)
    assert len(answer["chats"]) == min(20, answer["total"])


def test_messages(shared: Stack, juan: str) -> None:
    answer = paste(shared, MESSAGES)
    assert answer["jid"] == juan
    [first, *_] = [message for message in answer["messages"] if message["text"] == "hola"]
    assert (first["direction"], first["botGenerated"]) == ("incoming", False)
    assert TIMESTAMP.fullmatch(first["timestamp"])
    assert [message["timestamp"] for message in answer["messages"]] == sorted(
        message["timestamp"] for message in answer["messages"]
    )


def test_send_a_message(shared: Stack, simulator: Simulator) -> None:
    before = simulator.received("5491112345678").count("Hola, tu turno es manana a las 15hs")
    answer = paste(shared, SEND)
    assert (answer["status"], answer["kind"], answer["total"], answer["rejected"]) == ("queued", "message", 1, [])
    await_delivered(shared.api, answer["id"])
    assert simulator.received("5491112345678").count("Hola, tu turno es manana a las 15hs") == before + 1


def test_send_an_instruction_to_several(shared: Stack, simulator: Simulator) -> None:
    def openings(number: str) -> int:
        return sum("«Ofrece turno para manana»" in text for text in simulator.received(number))

    before = [openings(number) for number in ("5491112345678", "5491198765432")]
    answer = paste(shared, INSTRUCT)
    assert (answer["kind"], answer["total"]) == ("instruction", 2)
    await_delivered(shared.api, answer["id"])
    assert [openings(number) for number in ("5491112345678", "5491198765432")] == [count + 1 for count in before]


def test_config(shared: Stack) -> None:
    answer = paste(shared, CONFIGURE)
    shown = {"botPurpose": "attend", "botNewChats": True, "customInstructions": "Responde solo en espanol"}
    assert answer.items() >= shown.items()
    assert shared.api.get("/config") == answer
