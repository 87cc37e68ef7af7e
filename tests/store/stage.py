"""A business with its phone number, and every step that its link and its workers take, for tests of the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from sqlalchemy import select
from sqlmodel import SQLModel, col

from boton.domain.businesses import Business
from boton.domain.chats import ChatChange
from boton.domain.connections import Connection
from boton.domain.conversations import Conversation, TurnBrief
from boton.domain.events import Event, EventType
from boton.domain.gateway import Attempt, GatewayEvent, Inbound, Receipt, ReceiptKind, Sent, StatusChange
from boton.domain.messages import Lane, MessageError, MessageStatus
from boton.domain.sends import AcceptedSend, SendKind
from boton.domain.tools import ToolCall
from boton.ports import ChatStep, Idle, ModelAnswer, Result
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.connections import SqlConnectionStore
from boton.store.conversations import SqlConversationStore
from boton.store.engine import Database
from boton.store.events import SqlEventStore
from boton.store.inbox import SqlInboxStore
from boton.store.outbox import SqlOutboxStore
from boton.store.sends import SqlSendStore
from boton.store.tables import AliasRow, ChatRow, MessageRow, TallyRow
from boton.store.turns import SqlTurnStore
from boton.store.work import SqlWorkStore
from tests.store.builders import NOW, a_business, a_send, at, jid_of

NUMBER = "5491112345678"
JID = jid_of(NUMBER)
OTHER = "5491198765432"

Row = TypeVar("Row", bound=SQLModel)

_ids = count(1)


class Stage:
    """`epoch` is that of the link now in office; times default to NOW."""

    def __init__(self, database: Database, business: Business, connection: Connection, epoch: int) -> None:
        self.database = database
        self.business = business
        self.connection = connection
        self.epoch = epoch
        self.businesses = SqlBusinessStore(database)
        self.chats = SqlChatStore(database)
        self.connections = SqlConnectionStore(database)
        self.events = SqlEventStore(database)
        self.inbox = SqlInboxStore(database)
        self.outbox = SqlOutboxStore(database)
        self.sends = SqlSendStore(database)
        self.turns = SqlTurnStore(database)
        self.conversations = SqlConversationStore(database)
        self.work = SqlWorkStore(database)

    # ---------------------------------------------------------------- what goes out

    async def accept(self, *numbers: str, **changes: object) -> AcceptedSend:
        return await self.sends.accept_send(a_send(self.business, numbers or (NUMBER,), **changes))

    async def advance(self, send_id: str, *, record: Result | None = None, now: datetime = NOW) -> Attempt | Idle:
        """One message at a time, in the lane of the send's first one that is left."""
        step = await self.step(send_id, *[record] if record else [], now=now)
        return step if isinstance(step, Idle) else step[0]

    async def step(
        self, send_id: str, *record: Result, lane: Lane | None = None, room: int = 1, now: datetime = NOW
    ) -> Sequence[Attempt] | Idle:
        """One transaction of a lane's batch."""
        lane = lane or await self._lane_left(send_id)
        return await self.outbox.advance_send(
            send_id, self.connection.id, self.epoch, lane, record=record, room=room, flows=False, now=now
        )

    async def claim_some(self, send_id: str, room: int, *, now: datetime = NOW) -> list[Attempt]:
        step = await self.step(send_id, room=room, now=now)
        assert not isinstance(step, Idle), step
        return list(step)

    async def _lane_left(self, send_id: str) -> Lane:
        messages = select(col(MessageRow.lane), col(MessageRow.status)).where(col(MessageRow.send_id) == send_id)
        in_order = messages.order_by(col(MessageRow.position))
        rows = await self.database.read(lambda session: session.execute(in_order).all())
        left = [lane for lane, status in rows if status == MessageStatus.QUEUED]
        return Lane(left[0] if left else rows[0][0])

    async def claim(self, send_id: str, *, now: datetime = NOW) -> Attempt:
        step = await self.advance(send_id, now=now)
        assert isinstance(step, Attempt), step
        return step

    async def claim_message(self, message_id: str, *, now: datetime = NOW) -> Attempt | None:
        return await self.outbox.claim_message(message_id, self.connection.id, self.epoch, now)

    async def record(self, result: Result, *, now: datetime = NOW) -> None:
        await self.outbox.record_result(result, now)

    async def deliver(self, *numbers: str, now: datetime = NOW, **changes: object) -> tuple[AcceptedSend, str]:
        """Accepts, claims and records one message; its WhatsApp id."""
        accepted = await self.accept(*numbers, **changes)
        result = sent(await self.claim(accepted.send.id, now=now), now=now)
        await self.record(result, now=now)
        assert result.sent is not None
        return accepted, result.sent.whatsapp_id

    async def cancel_conversation(self, conversation_id: str, *, now: datetime = NOW) -> Conversation:
        cancelled = await self.conversations.cancel_conversation(self.business.id, conversation_id, now)
        return cancelled.conversation

    async def open_conversation(
        self, number: str = NUMBER, *, accepted_at: datetime = NOW, now: datetime = NOW, **changes: object
    ) -> AcceptedSend:
        """An instruction whose opening the model has written, ready to be claimed."""
        accepted = await self.accept(number, kind=SendKind.INSTRUCTION, accepted_at=accepted_at, **changes)
        briefs = await self.turns.open_openings([one.message_id for one in accepted.recipients], now)
        for brief in briefs:
            await self.close_turn(brief, "¡Hola! ¿Mañana a las 15?", now=now)
        return accepted

    # ---------------------------------------------------------------- what comes in

    async def receive(self, *bodies: Inbound | Receipt | StatusChange, now: datetime = NOW) -> list[str]:
        """As the link stores it; the chats in which the bot now owes an answer."""
        cursor = await self.inbox.fetch_cursor(self.connection.id)
        events = [GatewayEvent(cursor=cursor + place, body=body) for place, body in enumerate(bodies, start=1)]
        recorded = await self.inbox.record_events(self.connection.id, self.epoch, events, now)
        return list(recorded.owed)

    # ---------------------------------------------------------------- what the bot does

    async def look(self, number: str = NUMBER, *, now: datetime = NOW) -> ChatStep:
        """What is next in this chat."""
        return await self.turns.advance_chat((await self.chat(number)).id, now)

    async def open_turn(self, number: str = NUMBER, *, now: datetime = NOW) -> TurnBrief:
        """The turn that the model is to write in this chat."""
        step = await self.look(number, now=now)
        assert step.brief is not None, step
        return step.brief

    async def say(self, brief: TurnBrief, *parts: str, calls: Sequence[ToolCall] = (), now: datetime = NOW) -> ChatStep:
        """The model's next answer in this turn: calls of tools, or what it says."""
        answer = ModelAnswer(text="\n\n".join(parts), tokens_in=10, tokens_out=2, calls=tuple(calls))
        return await self.turns.record_answer(brief.turn_id, len(brief.rounds), answer, () if calls else parts, now)

    async def close_turn(self, brief: TurnBrief, text: str = "¡Hola!", *, now: datetime = NOW) -> list[str]:
        """The model answers with one text: the drafts that the chat is to send now."""
        return list((await self.say(brief, text, now=now)).message_ids)

    async def undelivered(self, number: str = NUMBER, *, now: datetime = NOW) -> tuple[str, list[str]]:
        """The drafts that the chat is to send now, with their connection."""
        step = await self.look(number, now=now)
        return step.connection_id, list(step.message_ids)

    async def answer(self, number: str = NUMBER, *, now: datetime = NOW) -> str:
        """The bot's turn in this chat: its one draft's id."""
        (draft,) = await self.close_turn(await self.open_turn(number, now=now), "¡Hola! Soy el bot.", now=now)
        return draft

    async def change(self, number: str = NUMBER, *, now: datetime = NOW, **change: Any) -> None:
        await self.chats.change_chat(self.business.id, to_jid(number), ChatChange(**change), now)

    # ---------------------------------------------------------------- what the store holds

    async def all(self, table: type[Row]) -> list[Row]:
        return await self.database.read(
            lambda session: [table(**row.model_dump()) for row in session.scalars(select(table))]
        )

    async def message(self, message_id: str) -> MessageRow:
        return await self.database.read(
            lambda session: MessageRow(**session.get_one(MessageRow, message_id).model_dump())
        )

    async def status(self, accepted: AcceptedSend, place: int = 0) -> MessageStatus:
        return MessageStatus((await self.message(accepted.recipients[place].message_id)).status)

    async def messages(self) -> list[MessageRow]:
        return sorted(await self.all(MessageRow), key=lambda row: row.id)

    async def chat(self, number: str = NUMBER) -> ChatRow:
        jid = to_jid(number)
        (alias,) = [one for one in await self.all(AliasRow) if (one.business_id, one.jid) == (self.business.id, jid)]
        (row,) = [one for one in await self.all(ChatRow) if one.id == alias.chat_id]
        return row

    async def told(self, *types: EventType) -> list[Event]:
        page = await self.events.list_events(self.business.id, 0, 10_000)
        return [event for event in page.events if not types or event.type in types]

    async def statuses_told(self) -> list[str]:
        return [event.data["status"] for event in await self.told(EventType.MESSAGE_STATUS)]

    async def tally(self) -> tuple[int, int, int]:
        (row,) = [one for one in await self.all(TallyRow) if one.business_id == self.business.id]
        return row.chats, row.active_bot_chats, row.untouchable_chats


async def set_stage(database: Database, *, bot_new_chats: bool = False) -> Stage:
    """A business whose link has just started."""
    business, connection = await a_business(database, bot_new_chats=bot_new_chats)
    epoch = await SqlConnectionStore(database).raise_epoch(connection.id, NOW)
    return Stage(database, business, connection, epoch)


# -------------------------------------------------------------------- results and events of the gateway


def sent(attempt: Attempt, *, whatsapp_id: str | None = None, now: datetime = NOW) -> Result:
    id = whatsapp_id or f"wamid-{next(_ids)}"
    return Result(attempt=attempt, status=MessageStatus.SENT, sent=Sent(whatsapp_id=id, at=now))


def not_sent(attempt: Attempt) -> Result:
    """Definitely not: the message is due again."""
    return Result(attempt=attempt, status=MessageStatus.QUEUED)


def failed(attempt: Attempt, code: str = "not_on_whatsapp") -> Result:
    error = MessageError(code=code, detail="this number is not on WhatsApp")
    return Result(attempt=attempt, status=MessageStatus.FAILED, error=error)


def unconfirmed(attempt: Attempt) -> Result:
    error = MessageError(code="unconfirmed", detail="nothing tells")
    return Result(attempt=attempt, status=MessageStatus.UNCONFIRMED, error=error)


def incoming(text: str = "hola", *, number: str = NUMBER, when: datetime = NOW, **changes: Any) -> Inbound:
    values: dict[str, Any] = {"whatsapp_id": f"in-{next(_ids)}", "jid": jid_of(number), "text": text, "at": when}
    return Inbound(**{**values, **changes})


def typed(text: str = "te llamo", *, number: str = NUMBER, when: datetime = NOW, **changes: Any) -> Inbound:
    """Someone writes on the business's own phone."""
    return incoming(text, number=number, when=when, from_me=True, **changes)


def receipt(kind: str, *whatsapp_ids: str, number: str = NUMBER, when: datetime = NOW) -> Receipt:
    return Receipt(jid=jid_of(number), whatsapp_ids=whatsapp_ids, kind=ReceiptKind(kind), at=when)


def to_jid(name: str) -> str:
    """Of a number, or a JID as it is."""
    return name if "@" in name else jid_of(name)


def numbers(count: int) -> Sequence[str]:
    return [str(14155550000 + number) for number in range(count)]


def minutes(number: float) -> datetime:
    """So many minutes after NOW."""
    return at(timedelta(minutes=number).total_seconds())
