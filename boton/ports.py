"""What is needed of the outside. Every port has at least two implementations that pass the same contract tests.

Times are aware datetimes in UTC. Methods of a store are one transaction each, and safe to call twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from boton.domain.businesses import Business, Caller, NewToken, Tally, Token
from boton.domain.chats import Chat, ChatChange, Holder
from boton.domain.connections import Connection, ConnectionStatus, Gateway
from boton.domain.conversations import Assistant, Conversation, ConversationStatus, TurnBrief
from boton.domain.events import EventPage
from boton.domain.gateway import Attempt, GatewayEvent, Outcome, Sent
from boton.domain.messages import Lane, Message, MessageError, MessageKind, MessageStatus
from boton.domain.pacing import Closure, Pacing
from boton.domain.reminders import NewReminder, Plan, Reminder, ReminderStatus, Timing
from boton.domain.sends import AcceptedSend, NewSend, Progress, Recipient, Send, SendStatus
from boton.domain.tools import Effect, Round, ToolCall, ToolOutcome

# ---------------------------------------------------------------- the edge to WhatsApp


class WhatsAppGateway(Protocol):
    """One phone number on WhatsApp, driven by one link process."""

    async def open(self, epoch: int) -> None:
        """Opens the session of this epoch; sessions of lower epochs can send nothing from then on.

        Raises SessionReplaced when a higher epoch has opened already, ConnectionAway when WhatsApp is out of reach.
        """

    async def read_events(self, after: int, wait: float) -> Sequence[GatewayEvent]:
        """Journalled events after that cursor, oldest first; waits up to `wait` seconds for the first.

        At least once: what the store has not recorded is given again. Raises SessionReplaced, ConnectionAway.
        """

    async def send_text(self, attempt: Attempt) -> Sent:
        """Sends one attempt. Raises ConnectionAway, RecipientRefused, NumberRefused, SessionReplaced (definitely
        not sent) or OutcomeUnknown (ask `find_outcome`). Never deduplicates by itself.
        """

    async def find_outcome(self, attempt: Attempt) -> Outcome:
        """What became of an attempt of this or a lower epoch. NOT_SENT is final: the gateway bars the attempt.

        Raises ConnectionAway when WhatsApp cannot be asked now.
        """

    async def is_on_whatsapp(self, jid: str) -> bool:
        """Whether somebody with this JID is on WhatsApp. Raises ConnectionAway, SessionReplaced."""

    async def show_typing(self, jid: str, seconds: float) -> None:
        """Shows "typing…" to the customer; a nicety that never raises."""

    async def close(self) -> None:
        """Ends the session; safe to call twice."""


# ---------------------------------------------------------------- the edge to language models


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as a model is told of it. parameters: the JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class Toolbox(Protocol):
    """The tools of a turn."""

    def offered(self, brief: TurnBrief) -> tuple[ToolSpec, ...]:
        """Those that the model may call in this turn."""

    async def run(self, call: ToolCall, brief: TurnBrief) -> ToolOutcome:
        """Carries a call out. Never raises for what a model wrote: the outcome then tells it what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is asked. `system` are our rules; `lines` the dialogue, oldest first, as (role, text) with role
    `user` (the customer's words: data, never rules) or `assistant`. `brief` is what the prompt was built from.

    tools: what the model may call. rounds: what it called in this turn, and was answered. key: the same for a request
    that is repeated, for servers that know Idempotency-Key. budget: how many tokens it was built for.
    """

    system: str
    lines: tuple[tuple[str, str], ...]
    brief: TurnBrief
    tools: tuple[ToolSpec, ...] = ()
    rounds: tuple[Round, ...] = ()
    key: str = ""
    budget: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """text: empty only where tools are called. Tokens as the server counted them, 0 where it does not say."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    calls: tuple[ToolCall, ...] = ()


class LanguageModel(Protocol):
    """Writes the next message of the bot, or calls tools."""

    async def answer(self, prompt: Prompt) -> ModelAnswer:
        """Raises ModelBusy, ModelMalformed (with what it cost), ModelContextTooLong or ModelRefused; never retries by
        itself.
        """

    async def close(self) -> None: ...


# ---------------------------------------------------------------- the store, by aggregate


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a list, counted from 0."""

    page: int
    page_size: int


class BusinessStore(Protocol):
    async def create_business(self, name: str, *, bot_new_chats: bool, now: datetime) -> Business: ...
    async def list_businesses(self) -> Sequence[Business]: ...
    async def fetch_business(self, business_id: str) -> Business:
        """Raises NotFound."""

    async def update_config(self, business_id: str, changes: dict[str, Any]) -> Business:
        """Sets the named fields of BusinessConfig (snake_case, validated by the caller), leaves the others."""

    async def fetch_tally(self, business_id: str) -> Tally: ...
    async def create_token(self, business_id: str, name: str, now: datetime) -> NewToken:
        """Raises NotFound for an unknown business. The store keeps only the secret's SHA-256."""

    async def list_tokens(self, business_id: str | None = None) -> Sequence[Token]: ...
    async def revoke_token(self, token_id: str, now: datetime) -> Token:
        """Raises NotFound; revoking twice changes nothing."""

    async def authenticate(self, secret: str, now: datetime) -> Caller | None:
        """Who calls with this secret; None when it is unknown or revoked. Records its use, at most once a minute."""


class ChatStore(Protocol):
    async def list_chats(self, business_id: str, page: Page) -> tuple[Sequence[Chat], int]:
        """Chats with the newest activity first, and how many there are in all."""

    async def fetch_chat(self, business_id: str, jid: str) -> Chat:
        """By any JID under which the customer is known. Raises NotFound."""

    async def change_chat(self, business_id: str, jid: str, change: ChatChange, now: datetime) -> Chat:
        """PATCH: creates the chat where it does not exist yet. `bot_enabled=True` hands a held chat back."""

    async def take_over(self, business_id: str, jid: str, now: datetime) -> Chat:
        """A human holds the chat from now on, for `takeoverMinutes`. Raises NotFound."""

    async def list_messages(
        self, business_id: str, jid: str, *, limit: int, before: str | None = None, after: str | None = None
    ) -> tuple[str, Sequence[Message], bool]:
        """The chat's JID, its newest `limit` messages (before or after a message id), oldest first, and whether
        there are more in that direction. Raises NotFound for an unknown chat or message id.
        """


class SendStore(Protocol):
    async def accept_send(self, new: NewSend, *, idempotency: IdempotencyKey | None = None) -> AcceptedSend:
        """Stores the send, its messages and (for an instruction) its conversations; on return it is on disk.

        Recipients who are one chat are stored once. With a key that is known the first answer is given again, and a
        concurrent twin waits for it. Raises Conflict when the business has no active connection.
        """

    async def find_accepted(self, business_id: str, idempotency: IdempotencyKey) -> AcceptedSend | None:
        """What was answered to this key before; None when it is new. Raises Invalid when the body was another."""

    async def fetch_send(self, business_id: str, send_id: str) -> Send:
        """With `counts` by message status. Raises NotFound."""

    async def pause_send(self, business_id: str, send_id: str) -> Send:
        """Nothing of it is claimed from now on; pausing twice changes nothing. Raises NotFound, Conflict when it has
        ended.
        """

    async def resume_send(self, business_id: str, send_id: str, now: datetime) -> Send:
        """Goes on; changes nothing when it is not paused. Raises NotFound, Conflict when it has ended."""

    async def cancel_send(self, business_id: str, send_id: str, now: datetime) -> Send:
        """Nothing of it is claimed from now on, and what is queued is cancelled; cancelling twice changes nothing.
        Raises NotFound, Conflict when it has finished.
        """

    async def estimate_end(self, business_id: str, send_id: str, now: datetime) -> datetime | None:
        """When the last of what is queued will have left at the number's pace; None where nothing is waited for, or
        it does not go on by itself. Raises NotFound.
        """

    async def wake_waiting_sends(self, business_id: str, now: datetime) -> Sequence[Send]:
        """Unfinished sends that wait for the pacing, oldest first, at most 1,000: due again now, because it changed."""

    async def list_sends(
        self, business_id: str, page: Page, status: SendStatus | None = None
    ) -> tuple[Sequence[Send], int]:
        """Those of POST /send, newest first, and how many there are in all."""

    async def list_recipients(self, business_id: str, send_id: str, page: Page) -> tuple[Sequence[Recipient], int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedReminder:
    """What is answered, and the new reminder; None when it was answered before."""

    answer: dict[str, Any]
    reminder: Reminder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReminderPatch:
    """What is to be changed: fields of Reminder by their names, when it fires, and what is planned from then on."""

    values: Mapping[str, Any]
    timing: Timing | None = None
    plan: Plan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledReminder:
    """queued_sends: what it has fired and has not left yet."""

    reminder: Reminder
    queued_sends: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """Where a reminder stands: `wait` (until `until`), `held` or `done`. send: what it has just fired."""

    state: str
    until: datetime | None = None
    send: Send | None = None


class ReminderStore(Protocol):
    async def accept_reminder(
        self,
        new: NewReminder,
        to_answer: Callable[[Reminder], dict[str, Any]],
        *,
        idempotency: IdempotencyKey | None = None,
    ) -> AcceptedReminder:
        """Stores the reminder with its firings; on return it is on disk. With a key, the answer is kept with it: one
        that is known gets the first answer again, a concurrent twin waits for it.

        Raises Conflict when the business has no active connection, Invalid when the key came with another body.
        """

    async def find_accepted(self, business_id: str, idempotency: IdempotencyKey) -> dict[str, Any] | None:
        """What was answered to this key before; None when it is new. Raises Invalid when the body was another."""

    async def fetch_reminder(self, business_id: str, reminder_id: str) -> Reminder:
        """Raises NotFound."""

    async def list_reminders(
        self, business_id: str, page: Page, *, status: ReminderStatus | None = None, jid: str | None = None
    ) -> tuple[Sequence[Reminder], int]:
        """Newest first, and how many there are in all."""

    async def note_started(self, reminder_id: str) -> None:
        """Its workflow was started, and rests until it fires next: nothing is due before. Changes nothing if somebody
        has changed or fired it meanwhile.
        """

    async def change_reminder(
        self, business_id: str, reminder_id: str, patch: ReminderPatch, now: datetime
    ) -> Reminder:
        """Raises NotFound, Conflict when it has ended."""

    async def cancel_reminder(self, business_id: str, reminder_id: str, now: datetime) -> CancelledReminder:
        """Nothing of it fires from now on. What has fired and is queued still is the caller's to cancel; cancelling
        twice changes nothing. Raises NotFound, Conflict when it has finished and nothing of it is queued.
        """

    async def advance_reminder(self, reminder_id: str, now: datetime) -> Advanced:
        """Fires what is due, once; of several missed times only the newest. Raises NotFound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledConversation:
    """chat_id: the chat whose workflow is to look at the store."""

    conversation: Conversation
    chat_id: str


class ConversationStore(Protocol):
    async def list_conversations(
        self, business_id: str, page: Page, *, status: ConversationStatus | None = None, jid: str | None = None
    ) -> tuple[Sequence[Conversation], int]:
        """Newest first, and how many there are in all."""

    async def fetch_conversation(self, business_id: str, conversation_id: str) -> Conversation:
        """Raises NotFound."""

    async def cancel_conversation(self, business_id: str, conversation_id: str, now: datetime) -> CancelledConversation:
        """Ends it, and whatever of it is queued; cancelling twice changes nothing. Raises NotFound, Conflict when it
        has ended otherwise.
        """


class AssistantStore(Protocol):
    """How the language model does, as the worker has seen it: for all businesses."""

    async def note_assistant(self, problem: str | None, now: datetime) -> None:
        """problem: why it fails, with what to change; None: it answers. Writes only what is new."""

    async def fetch_assistant(self) -> Assistant:
        """Answering, until something else was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """A request's key with the SHA-256 of its parsed body."""

    key: str
    path: str
    body_hash: str


class EventStore(Protocol):
    async def list_events(self, business_id: str, after: int, limit: int) -> EventPage:
        """Events with seq > after, in order. Raises EventsGone when `after` is older than what is kept."""

    async def fetch_last_seq(self, business_id: str) -> int:
        """The seq of the business's newest event; 0 when there was none."""


class ConnectionStore(Protocol):
    async def create_connection(self, business_id: str, gateway: Gateway, phone: str, now: datetime) -> Connection:
        """Raises Conflict when the phone belongs to another active connection of the same gateway."""

    async def fetch_connection(self, connection_id: str) -> Connection:
        """Raises NotFound."""

    async def fetch_active_connection(self, business_id: str) -> Connection | None: ...
    async def open_slow_lane(self, business_id: str, now: datetime) -> Connection:
        """Ends a closure of the slow lane; changes nothing when it is open. Raises Conflict without a connection."""

    async def list_active_connections(self) -> Sequence[Connection]: ...
    async def raise_epoch(self, connection_id: str, now: datetime) -> int:
        """The new epoch: every start of a link calls this first."""

    async def record_status(
        self, connection_id: str, epoch: int, status: ConnectionStatus, reason: str | None, now: datetime
    ) -> None:
        """Also when nothing changed: `status_at` says how fresh it is. Writes `connection.changed` where it did.

        Raises StaleEpoch.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an attempt ended, to be recorded: SENT with `sent`, or another status with its error.

    QUEUED: definitely not sent, due again. refused: WhatsApp refused the number; after a few times the message
    fails. again_at: before which it is not to be tried again in the fast lane, which stays open.
    """

    attempt: Attempt
    status: MessageStatus
    sent: Sent | None = None
    error: MessageError | None = None
    refused: bool = False
    again_at: datetime | None = None

    @property
    def is_due_again(self) -> bool:
        return self.status is MessageStatus.QUEUED


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Nothing was claimed, and why: `done` (the send is final), `paused`, `wait` (until `until`, for `reason`, a
    WaitReason), `compose` (the next openings, `message_ids`, have no text yet), `check` (whether `jid`, the recipient
    of the message, is on WhatsApp), `paced` (the lane's messages take turns), `lane_done` (another lane has something
    left), `more` (ask again), `not_owner`.
    """

    why: str
    until: datetime | None = None
    reason: str = ""
    message_ids: tuple[str, ...] = ()
    jid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A queued message, before its claim. length: of its text, in characters."""

    message_id: str
    chat_id: str
    jid: str
    kind: MessageKind
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberPace:
    """How the number is to be paced. slow_at: when the slow lane's last message was claimed."""

    pacing: Pacing
    slow_at: datetime | None = None


class OutboxStore(Protocol):
    """Claim, send, record. Used by the link process of the number alone."""

    async def advance_send(
        self,
        send_id: str,
        connection_id: str,
        epoch: int,
        lane: Lane,
        *,
        record: Sequence[Result],
        room: int,
        flows: bool,
        now: datetime,
    ) -> Sequence[Attempt] | Idle:
        """Records results, then claims the send's next messages of a lane, at most `room`. One transaction.

        flows: nothing is claimed once the lane is paced; the caller, who has taken no turn, is told `paced`.
        Messages that a guard forbids are settled on the way. With nothing left in any lane the send becomes
        `finished`. With a stale epoch it records, and answers `not_owner`.
        """

    async def preview_messages(self, message_ids: Sequence[str]) -> Sequence[Preview]:
        """Those of them that are queued still, in their order."""

    async def note_recipient(self, message_id: str, now: datetime, *, registered: bool) -> None:
        """Whether the recipient of a queued message is on WhatsApp; the message of one who is not fails."""

    async def close_slow_lane(
        self, connection_id: str, epoch: int, code: str, until: datetime | None, now: datetime
    ) -> Closure:
        """WhatsApp refused the number: the slow lane closes. Raises StaleEpoch."""

    async def fetch_pace(self, connection_id: str) -> NumberPace:
        """Raises NotFound."""

    async def fetch_progress(self, send_id: str, now: datetime) -> Progress:
        """How far a send is. Raises NotFound."""

    async def fetch_rank(self, send_id: str, lane: Lane) -> int:
        """Where a send stands among those that wait for a lane (`rank_of`). Raises NotFound."""

    async def claim_message(
        self, message_id: str, connection_id: str, epoch: int, now: datetime, *, flows: bool = False
    ) -> Attempt | Idle | None:
        """Claims one message; None when it is not `queued` any more or a guard forbade it. flows: not where the fast
        lane is paced, which the Idle says. Raises StaleEpoch.
        """

    async def record_result(self, result: Result, now: datetime) -> None:
        """`sending → …`; a result that is recorded already changes nothing."""

    async def list_left_in_flight(self, connection_id: str, epoch: int) -> Sequence[Attempt]:
        """What `find_outcome` is to settle: attempts in `sending` claimed under a lower epoch, and the newest
        `unconfirmed` ones of any.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What followed. owed: the chats in which the bot now owes an answer, once the customer has been quiet for
    `quiet_seconds`; takeovers: chats that a human took over.
    """

    owed: tuple[str, ...] = ()
    quiet_seconds: float = 0.0
    takeovers: int = 0


class InboxStore(Protocol):
    async def record_events(
        self, connection_id: str, epoch: int, events: Sequence[GatewayEvent], now: datetime
    ) -> Recorded:
        """Stores what came in, once, each event with all that follows from it and the cursor in one transaction.

        Raises StaleEpoch.
        """

    async def fetch_cursor(self, connection_id: str) -> int: ...


@dataclass(frozen=True, slots=True)
class CallKey:
    """One call of a tool: the model's answer `number` of a turn, and the call's place in it."""

    turn_id: str
    number: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatStep:
    """What the bot does next in a chat, and how the chat stands. state: `think` (ask the model for `brief`), `run` (the
    tools of `calls`), `send` (the drafts `message_ids`), `rest`. until: when something is due again once that is done.
    """

    state: str
    brief: TurnBrief | None = None
    calls: tuple[CallKey, ...] = ()
    connection_id: str = ""
    message_ids: tuple[str, ...] = ()
    until: datetime | None = None
    holder: Holder = Holder.NONE
    conversation: ConversationStatus | None = None


class TokenStore(Protocol):
    """What the language model costs beside the answers of which something comes."""

    async def count_spent(self, turn_id: str, tokens_in: int, tokens_out: int, now: datetime) -> None:
        """Counts in the turn, and in the business's day. Raises NotFound."""


class TurnStore(Protocol):
    async def advance_chat(self, chat_id: str, now: datetime) -> ChatStep:
        """Looks what is due, and opens or finds again the turn that is. Ends a conversation whose time is over.

        A turn is known by (chat, last incoming message), or by the follow-up that is due; all that is due up to there
        belongs to it. Whatever is queued already is sent first.
        """

    async def open_openings(self, message_ids: Sequence[str], now: datetime) -> Sequence[TurnBrief]:
        """The turns that write these openings; those whose text is there already are left out."""

    async def record_answer(
        self, turn_id: str, number: int, answer: ModelAnswer, parts: Sequence[str], now: datetime
    ) -> ChatStep:
        """Stores the model's answer `number` of a turn, once. One that calls no tools closes the turn: the effects of
        its tools follow, `parts` are queued. A turn that is stale by then is dropped, and another one is due (`think`
        without a brief). Of a turn that is closed already, what it came to.
        """

    async def fetch_call(self, key: CallKey) -> tuple[ToolCall, TurnBrief] | None:
        """A call that no tool has answered yet."""

    async def answer_call(self, key: CallKey, text: str, effect: Effect | None, now: datetime, *, ok: bool) -> None:
        """What the tool said. A second answer changes nothing."""

    async def fail_turn(self, turn_id: str, code: str, detail: str, now: datetime) -> None:
        """The model gave no answer: the turn is dropped with the reason, its messages are not due any more, the chat is
        left to a human for a while. An opening's message fails; a follow-up is left out.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Unfinished work whose next step is overdue, to be started or woken. `id` is a send, chat, reminder or
    connection.
    """

    kind: str  # "send" | "chat" | "reminder" | "connection"
    id: str
    business_id: str
    connection_id: str
    lanes: tuple[Lane, ...] = ()


class WorkStore(Protocol):
    async def take_lease(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        """Whether `holder` has the lease until then: it had it, or nobody had it any more."""

    async def list_overdue(self, now: datetime, grace: timedelta, limit: int) -> Sequence[Overdue]:
        """Unfinished rows whose next step is overdue by more than `grace` (connections: at all), oldest first."""

    async def expire_late(self, overdue: Sequence[Overdue], now: datetime) -> Sequence[Overdue]:
        """Expires what is queued of those sends for which it is too late, by the rule of the claims: while no link
        runs for a number nobody else does. Those that are not over with that.
        """

    async def postpone(
        self, overdue: Sequence[Overdue], now: datetime, until: datetime, *, started: bool = True
    ) -> None:
        """Looked at again only after `until`; a send that was started and is scheduled for later, only then."""

    async def note_namespace(self, namespace_id: str, now: datetime) -> bool:
        """Remembers Temporal's namespace id; a changed one makes all unfinished work overdue. Whether it changed."""

    async def fetch_queue_age(self, now: datetime) -> float:
        """Seconds since the oldest unfinished send became due; 0 when none is."""

    async def purge(self, now: datetime) -> None:
        """Deletes events and idempotency keys older than 30 days, outages older than 60."""


class WorkflowStarter(Protocol):
    """Starts or wakes workflows; both are safe at any time, as often as one likes."""

    async def start_send(
        self, send_id: str, business_id: str, connection_id: str, *, lanes: Sequence[Lane], wake: bool = False
    ) -> None:
        """wake: also tells a running one that the store changed."""

    async def look_at_chat(self, chat_id: str, business_id: str, *, quiet_seconds: float = 0.0) -> None:
        """quiet_seconds: how long the customer must have written nothing before the bot answers."""

    async def start_reminder(
        self, reminder_id: str, business_id: str, *, due_at: datetime | None, wake: bool = False
    ) -> None:
        """due_at: when it fires next; a new run rests until then. wake: a running one looks at the store first."""

    async def start_connection(self, connection_id: str, business_id: str) -> None: ...
