"""A fresh chat on the bot's real parts: store, activities, claims. In place of Temporal, one step after the other.

The clock stands still unless a dialogue moves it, so that a silence of days takes no time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.chatting import AdvanceChat, ChatActivities, ComposeOpenings, NextStep
from activities.courier import Courier
from activities.pacer import Pacer
from activities.sending import SendBatch, SendingActivities, SendMessages
from activities.thinking import Thinking
from bench.dialogues.models import WatchedModel, WatchedTools
from bench.dialogues.phone import JID, NoObserver, Phone
from bench.dialogues.scenario import BusinessPart, Piece, Scenario
from bench.dialogues.transcript import Transcript, Who
from bench.numbers import fresh_numbers
from bench.progress import BenchFailed
from bench.stack import scratch
from boton.domain.chats import Chat
from boton.domain.connections import Connection, Gateway
from boton.domain.conversations import Conversation
from boton.domain.gateway import GatewayEvent
from boton.domain.sends import NewRecipient, NewSend, SendCategory, SendKind
from boton.errors import ModelError, ModelMisconfigured, ModelRefused
from boton.ports import LanguageModel, Page
from boton.store.businesses import SqlBusinessStore
from boton.store.chats import SqlChatStore
from boton.store.connections import SqlConnectionStore
from boton.store.conversations import SqlConversationStore
from boton.store.engine import Database, open_database
from boton.store.inbox import SqlInboxStore
from boton.store.migrate import migrate
from boton.store.outbox import SqlOutboxStore
from boton.store.sends import SqlSendStore
from boton.store.token_days import SqlTokenStore
from boton.store.turns import SqlTurnStore
from workers.main import TOOLS, to_prompt

T = TypeVar("T")

_BOT_TAKES = timedelta(seconds=5)
_CUSTOMER_TAKES = timedelta(seconds=40)
_SHORTEST = timedelta(seconds=1)
_PAUSES = (1.0, 4.0, 15.0)
"""Seconds between two tries, unless the server asks for others; the bot's own workflow has more patience."""

_MOST_STEPS = 100

Sleep = Callable[[float], Awaitable[None]]


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, span: timedelta) -> None:
        self.now += span


@dataclass(slots=True)
class Stage:
    """What one dialogue is played on."""

    clock: Clock
    transcript: Transcript
    model: WatchedModel
    database: Database
    connection: Connection
    epoch: int
    phone: Phone
    chats: ChatActivities
    sending: SendingActivities
    sleep: Sleep

    # ------------------------------------------------------------ what happens

    async def open(self, instruction: str) -> None:
        """The bot writes first, as after a POST /send with an instruction."""
        recipient = NewRecipient(to=JID, jid=JID, text=instruction)
        new = NewSend(
            business_id=self.connection.business_id,
            kind=SendKind.INSTRUCTION,
            category=SendCategory.TRANSACTIONAL,
            recipients=(recipient,),
            rejected=(),
            accepted_at=self.clock(),
        )
        send = (await SqlSendStore(self.database).accept_send(new)).send
        for lane in send.lanes:
            await self._send_batches(SendBatch(send.id, lane.value))
        await self._do_what_is_due()

    def begin_turn(self) -> None:
        """The customer takes their time."""
        self.clock.advance(_CUSTOMER_TAKES)
        self.transcript.turn += 1

    async def receive(self, pieces: Sequence[Piece]) -> None:
        """The customer has written, and the bot does what follows."""
        await self._record(self.phone.write(pieces))
        await self._do_what_is_due()

    async def take_over(self, text: str) -> None:
        await self._record(self.phone.take_over(text))
        await self._do_what_is_due()

    async def pass_time(self, span: timedelta) -> None:
        """Timers of the chat go off on the way."""
        self.transcript.add(Who.NOTE, f"silence for {span}")
        end = self.clock() + span
        if not self.transcript.entries[:-1]:
            raise BenchFailed("the customer waits before anybody wrote: the script has to begin with a message")
        until = await self._do_what_is_due()
        while until is not None and until <= end:
            self.clock.now = max(until, self.clock() + _SHORTEST)
            until = await self._do_what_is_due()
        self.clock.now = max(end, self.clock())

    # ------------------------------------------------------------ what came of it

    async def fetch_chat(self) -> Chat:
        return await SqlChatStore(self.database).fetch_chat(self.connection.business_id, JID)

    async def fetch_conversation(self) -> Conversation | None:
        """The one with the instruction, where there is one."""
        store = SqlConversationStore(self.database)
        found, _ = await store.list_conversations(self.connection.business_id, Page(page=0, page_size=1))
        return found[0] if found else None

    # ------------------------------------------------------------ what Temporal does elsewhere

    async def _record(self, events: Sequence[GatewayEvent]) -> None:
        await SqlInboxStore(self.database).record_events(self.connection.id, self.epoch, events, self.clock())

    async def _do_what_is_due(self) -> datetime | None:
        """Until the chat rests; when its next timer is. As `workflows.chat` does it."""
        chat_id = (await self.fetch_chat()).id
        for _ in range(_MOST_STEPS):
            step = await self._advance(chat_id)
            match step.state:
                case "run":
                    for call in step.calls:
                        await _run(self.chats.run_tool, call)
                case "send":
                    self.clock.advance(_BOT_TAKES)
                    await _run(self.sending.send_messages, SendMessages(step.message_ids))
                case "again":
                    continue
                case _:
                    return step.until
        raise BenchFailed(f"the chat came to no rest in {_MOST_STEPS} steps")

    async def _advance(self, chat_id: str) -> NextStep:
        async def give_up(code: str) -> NextStep:
            return await _run(self.chats.give_up_turn, AdvanceChat(chat_id, code=code))

        return await self._be_patient(lambda: _run(self.chats.advance_chat, AdvanceChat(chat_id)), give_up)

    async def _send_batches(self, batch: SendBatch) -> None:
        for _ in range(_MOST_STEPS):
            step = await _run(self.sending.send_batch, batch)
            match step.state:
                case "compose":
                    await self._compose(step.message_ids)
                case "more":
                    continue
                case "done" | "lane_done":
                    return
                case other:
                    raise BenchFailed(f"the opening did not leave: {other} {step.reason}")
        raise BenchFailed("the opening did not leave")

    async def _compose(self, message_ids: tuple[str, ...]) -> None:
        async def give_up(code: str) -> None:
            await _run(self.chats.give_up_openings, ComposeOpenings(message_ids, code=code))

        await self._be_patient(lambda: _run(self.chats.compose_openings, ComposeOpenings(message_ids)), give_up)

    async def _be_patient(self, attempt: Callable[[], Awaitable[T]], give_up: Callable[[str], Awaitable[T]]) -> T:
        """Asks again where the workflow's retry policy does. Raises BenchFailed where that is not the model's fault: a
        wrong setting, a server that is busy or away.
        """
        for pause in (*_PAUSES, None):
            try:
                return await attempt()
            except ModelMisconfigured as error:
                raise BenchFailed(error.detail) from error
            except ApplicationError as error:
                if pause is None:
                    raise BenchFailed(error.message) from error
                await self.sleep(error.next_retry_delay.total_seconds() if error.next_retry_delay else pause)
            except ModelError as error:
                code = type(error).__name__
                if pause is None or isinstance(error, ModelRefused):
                    break
                await self.sleep(pause)
        self.transcript.add(Who.NOTE, f"the model gave no answer: {code}")
        return await give_up(code)


@asynccontextmanager
async def open_store() -> AsyncIterator[Database]:
    """An empty store, gone afterwards. Dialogues share it: each has a business of its own in it."""
    with scratch() as folder:
        url = f"sqlite:///{folder / 'boton.db'}"
        migrate(url)
        database = open_database(url)
        try:
            yield database
        finally:
            await database.close()


async def set_stage(scenario: Scenario, database: Database, model: LanguageModel, sleep: Sleep, budget: int) -> Stage:
    """A new business with one customer, who has not written yet. budget: tokens of a prompt."""
    watched = WatchedModel(model)
    clock = Clock(scenario.starts)
    transcript = Transcript(clock)
    connection, epoch = await _connect(scenario, database, clock())
    phone = Phone(scenario.customer.name, transcript, clock)
    turns, outbox = SqlTurnStore(database), SqlOutboxStore(database)
    thinking = Thinking(turns, SqlTokenStore(database), watched, to_prompt, clock, budget=budget)
    courier = Courier(phone, outbox, connection_id=connection.id, epoch=epoch, observer=NoObserver(), clock=clock)
    return Stage(
        clock=clock,
        transcript=transcript,
        model=watched,
        database=database,
        connection=connection,
        epoch=epoch,
        phone=phone,
        chats=ChatActivities(turns, thinking, WatchedTools(TOOLS, transcript), clock),
        sending=SendingActivities(courier, Pacer(lambda: outbox.fetch_pace(connection.id), clock), clock),
        sleep=sleep,
    )


async def _connect(scenario: Scenario, database: Database, now: datetime) -> tuple[Connection, int]:
    """The business with its number, held under an epoch."""
    businesses, connections = SqlBusinessStore(database), SqlConnectionStore(database)
    business = await businesses.create_business(scenario.business.name, bot_new_chats=True, now=now)
    await businesses.update_config(business.id, _to_config(scenario.business))
    connection = await connections.create_connection(business.id, Gateway.SIMULATOR, fresh_numbers(1)[0], now)
    return connection, await connections.raise_epoch(connection.id, now)


def _to_config(business: BusinessPart) -> dict[str, Any]:
    return {
        "business_description": business.description,
        "bot_purpose": business.purpose,
        "guardrails": business.guardrails,
        "custom_instructions": business.custom_instructions,
        "timezone": business.timezone,
        "language": business.language,
    }


async def _run(activity: Callable[[Any], Awaitable[T]], argument: object) -> T:
    """With a heartbeat that goes nowhere."""
    result: T = await ActivityEnvironment().run(activity, argument)
    return result
