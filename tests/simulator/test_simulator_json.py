"""The conversion of the simulator's JSON, apart from any I/O; and the gateway before servers that misbehave."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from boton.domain.gateway import Attempt
from boton.domain.messages import MessageKind
from boton.errors import ConnectionAway, NumberRefused, OutcomeUnknown, RecipientRefused, SendError, SessionReplaced
from boton.whatsapp.simulator import SimulatorGateway
from boton.whatsapp.simulator_json import parse_refusal, to_number
from tests.simulator.process import free_port

NOW = datetime.now(UTC)
ATTEMPT = Attempt(
    id="att_1",
    message_id="msg_1",
    chat_id="cht_1",
    kind=MessageKind.TRANSACTIONAL,
    epoch=1,
    jid="5491112345678@s.whatsapp.net",
    text="hola",
    claimed_at=NOW,
)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("connection_away", ConnectionAway),
        ("session_replaced", SessionReplaced),
        ("outcome_unknown", OutcomeUnknown),
        ("not_on_whatsapp", RecipientRefused),
        ("number_refused", NumberRefused),
    ],
)
def test_every_refusal_has_its_error(code: str, kind: type[SendError]) -> None:
    assert type(parse_refusal({"code": code, "detail": "…", "reason": 463})) is kind


def test_foreign_refusal_is_none_of_ours() -> None:
    assert parse_refusal({"detail": "Not Found"}) is None


@pytest.mark.parametrize("jid", ["1029384756@lid", "120363@g.us", "12@s.whatsapp.net", "nobody"])
def test_addresses_without_a_number_are_refused(jid: str) -> None:
    with pytest.raises(RecipientRefused):
        to_number(jid)


async def test_nobody_listening_is_connection_away() -> None:
    gateway = SimulatorGateway(f"http://127.0.0.1:{free_port()}", "5491138620812")

    with pytest.raises(ConnectionAway):
        await gateway.send_text(ATTEMPT)
    await gateway.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    ],
)
async def test_cut_or_unreadable_answer_leaves_the_outcome_unknown(answer: bytes) -> None:
    async def misbehave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"content-length" in head.lower():
            await reader.readuntil(b"}")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(misbehave, "127.0.0.1", 0)
    async with server:
        gateway = SimulatorGateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "5491138620812")
        with pytest.raises(OutcomeUnknown) as error:
            await gateway.send_text(ATTEMPT)
        assert "hola" not in repr(error.value)
        with pytest.raises(ConnectionAway):
            await gateway.find_outcome(ATTEMPT)
        await gateway.close()
