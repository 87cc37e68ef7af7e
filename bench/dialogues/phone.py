"""The customer's side of WhatsApp in memory: what the bot sends arrives at once, what they write becomes events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import count

from bench.dialogues.scenario import Piece
from bench.dialogues.transcript import Transcript, Who
from boton.domain.gateway import Attempt, GatewayEvent, Inbound, Outcome, Sent, Unsettled
from boton.domain.messages import MessageType
from boton.domain.pacing import Closure
from boton.llm.dialogue import NOTES
from boton.ports import Result, WhatsAppGateway

JID = "5491122334455@s.whatsapp.net"


class Phone(WhatsAppGateway):
    """The gateway of a business's number to its one customer."""

    def __init__(self, name: str | None, transcript: Transcript, clock: Callable[[], datetime]) -> None:
        self._name = name
        self._transcript = transcript
        self._clock = clock
        self._ids = count(1)

    def write(self, pieces: Sequence[Piece]) -> list[GatewayEvent]:
        """The customer writes, all of it in a row."""
        for piece in pieces:
            self._transcript.add(Who.CUSTOMER, _describe(piece))
        return [self._to_event(_describe(piece), piece.type) for piece in pieces]

    def take_over(self, text: str) -> list[GatewayEvent]:
        """A person of the business writes on its own phone."""
        self._transcript.add(Who.HUMAN, text)
        return [self._to_event(text, from_me=True)]

    def _to_event(self, text: str, type: MessageType = MessageType.TEXT, *, from_me: bool = False) -> GatewayEvent:
        number, name = next(self._ids), None if from_me else self._name
        body = Inbound(
            whatsapp_id=f"WA-{number}",
            jid=JID,
            push_name=name,
            from_me=from_me,
            type=type,
            text=text,
            at=self._clock(),
        )
        return GatewayEvent(cursor=number, body=body)

    # ------------------------------------------------------------ the port

    async def open(self, epoch: int) -> None: ...

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        return ()

    async def prove_connected(self) -> None: ...

    async def send_text(self, attempt: Attempt) -> Sent:
        self._transcript.add(Who.BOT, attempt.text)
        return Sent(whatsapp_id=f"WA-{next(self._ids)}", at=self._clock())

    async def find_outcome(self, attempt: Attempt) -> Outcome:
        return Unsettled.UNKNOWN

    async def find_on_whatsapp(self, jid: str) -> Sequence[str]:
        return (jid,)

    async def show_typing(self, jid: str, seconds: float) -> None: ...

    async def watch_typing(self, seconds: float) -> None: ...

    async def log_out(self) -> bool:
        return True

    async def close(self) -> None: ...


class NoObserver:
    """Of a courier whose attempts all arrive."""

    def settled(self, result: Result, seconds: float) -> None: ...
    def refused(self, closure: Closure) -> None: ...
    def lost_ownership(self) -> None: ...
    def merged(self, chat_ids: Sequence[str]) -> None: ...


def _describe(piece: Piece) -> str:
    """As a gateway describes what is no text."""
    if piece.type is MessageType.TEXT:
        return piece.text
    return f"[{NOTES[piece.type]}] {piece.text}".rstrip()
