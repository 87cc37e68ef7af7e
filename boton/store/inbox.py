"""What comes in: stored once, with all that follows from it, and the gateway's cursor, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby

from sqlalchemy import and_, bindparam, select, update
from sqlmodel import Session, col

from boton.domain.chats import (
    AnswerDecision,
    Arrival,
    OwnMessage,
    decide_answer,
    is_held,
    is_takeover,
    may_confirm_opt_out,
)
from boton.domain.events import EventType, NewEvent
from boton.domain.gateway import GatewayEvent, Inbound, Receipt, ReceiptKind, StatusChange, Typing
from boton.domain.jid import is_person
from boton.domain.messages import Direction, MessageKind, MessageStatus, MessageType, Sender
from boton.domain.optout import is_opt_out
from boton.domain.sends import SendStatus
from boton.errors import NotFound
from boton.ids import Prefix, new_id
from boton.ports import Recorded
from boton.store.aliases import find_chat_id
from boton.store.asking import ask
from boton.store.bulk import insert_row
from boton.store.chats import set_flags
from boton.store.columns import storable
from boton.store.connections import change_status, own
from boton.store.contacts import wake_sends_to
from boton.store.customers import Customer, ensure_chat, find_customers
from boton.store.dialogues import settle_drafts
from boton.store.drafting import drop_follow_ups
from boton.store.ending import end_halted, lock_sends
from boton.store.engine import Database
from boton.store.events import append_events
from boton.store.follow_ups import cancel_unanswered
from boton.store.inserts import insert_into, table_of
from boton.store.merging import settle_customers
from boton.store.moving import cancel_on_reply
from boton.store.optouts import opt_out, queue_confirmation
from boton.store.receipts import Known, apply_receipt, record_receipts, record_whatsapp_ids
from boton.store.steps import lock_chat, show_in_chat
from boton.store.tables import DUE, IN_FLIGHT, BusinessRow, ChatRow, ConnectionRow, MessageRow, SendRow
from boton.store.takeovers import take_over

_AT_ONCE = 20
"""500 in one transaction kept SQLite's other writers waiting for seconds (measured)."""


class SqlInboxStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def record_events(
        self, connection_id: str, epoch: int, events: Sequence[GatewayEvent], now: datetime
    ) -> Recorded:
        """A flood is stored in pieces, so that other writers need not wait for all of it."""
        owed: dict[str, None] = {}
        takeovers, quiet = 0, 0.0
        for start in range(0, len(events), _AT_ONCE):
            piece = events[start : start + _AT_ONCE]
            recorded = await self._db.write(partial(_record_events, connection_id, epoch, piece, now))
            owed.update(dict.fromkeys(recorded.owed))
            takeovers += recorded.takeovers
            quiet = recorded.quiet_seconds
        return Recorded(owed=tuple(owed), quiet_seconds=quiet, takeovers=takeovers)

    async def fetch_cursor(self, connection_id: str) -> int:
        return await self._db.read(lambda session: _fetch_cursor(session, connection_id))


def _fetch_cursor(session: Session, connection_id: str) -> int:
    row = session.get(ConnectionRow, connection_id)
    if row is None:
        raise NotFound("connection", connection_id)
    return row.cursor


class _Recording:
    """One transaction's worth of events of one connection. customers: of whom they tell, by each of their JIDs."""

    def __init__(self, session: Session, connection: ConnectionRow, business: BusinessRow, now: datetime) -> None:
        self.session = session
        self.connection = connection
        self.business = business
        self.now = now
        self.told: list[NewEvent] = []
        self.customers: dict[str, Customer] = {}
        self.owed: dict[str, None] = {}

    def tell(self, event_type: EventType, /, **data: object) -> None:
        self.told.append(NewEvent(business_id=self.business.id, type=event_type, at=self.now, data=data))


_CONNECTION = table_of(ConnectionRow)
_MOVE_CURSOR = update(_CONNECTION).where(_CONNECTION.c.id == bindparam("of")).values(cursor=bindparam("to"))


def _record_events(
    connection_id: str, epoch: int, events: Sequence[GatewayEvent], now: datetime, session: Session
) -> Recorded:
    connection = own(session, connection_id, epoch, for_update=True)
    business = session.get(BusinessRow, connection.business_id)
    assert business is not None
    recording = _Recording(session, connection, business, now)
    new = [event for event in events if event.cursor > connection.cursor]
    halted = _lock_halted(recording, new)
    _meet_customers(recording, [event.body for event in new])
    for is_receipt, run in groupby(new, lambda event: isinstance(event.body, Receipt)):
        _record_run(recording, list(run), are_receipts=is_receipt)
    if new:
        ask(session, _MOVE_CURSOR, of=connection_id, to=new[-1].cursor)
    recording.told += end_halted(session, halted, now)
    session.flush()
    append_events(session, recording.told)
    takeovers = sum(event.type is EventType.CHAT_TAKEN_OVER for event in recording.told)
    return Recorded(owed=tuple(recording.owed), quiet_seconds=business.debounce_seconds, takeovers=takeovers)


def _meet_customers(recording: _Recording, bodies: Sequence[object]) -> None:
    """Of whom it is told, and that two names are one customer's, is known before anything of it is recorded."""
    session, business_id, now = recording.session, recording.business.id, recording.now
    told = [body for body in bodies if isinstance(body, Inbound | Receipt) and is_person(body.jid)]
    customers = find_customers(session, business_id, map(_names, told))
    recording.customers = {jid: customer for customer in customers for jid in customer.jids}
    writers = [recording.customers[body.jid] for body in told if isinstance(body, Inbound)]
    wake_sends_to(session, {chat.id for one in writers for chat in one.chats if not chat.known}, now)
    settled = settle_customers(session, business_id, customers, now)
    recording.told += settled.events
    recording.owed.update(dict.fromkeys(settled.due))


def _names(body: Inbound | Receipt) -> tuple[str, ...]:
    return (body.jid, *filter(is_person, body.also_known_as))


def _lock_halted(recording: _Recording, events: Sequence[GatewayEvent]) -> list[SendRow]:
    """Halted sends of which our own account now proves a message: with the last one they are over."""
    bodies = [event.body for event in events]
    attempts = [body.attempt_id for body in bodies if isinstance(body, Inbound) and body.from_me and body.attempt_id]
    if not attempts:
        return []
    proved = select(col(MessageRow.send_id)).where(
        col(MessageRow.connection_id) == recording.connection.id, col(MessageRow.attempt_id).in_(attempts), IN_FLIGHT
    )
    halted = col(SendRow.status).in_([SendStatus.PAUSED.value, SendStatus.CANCELLED.value])
    return lock_sends(recording.session, and_(col(SendRow.id).in_(proved), halted))


def _record_run(recording: _Recording, events: Sequence[GatewayEvent], *, are_receipts: bool) -> None:
    """Receipts that follow each other are recorded together: a bulk's come in by hundreds."""
    if not are_receipts:
        for event in events:
            _record_event(recording, event)
        return
    bodies = [event.body for event in events]
    receipts = [body for body in bodies if isinstance(body, Receipt) and is_person(body.jid)]
    chat_ids = {jid: one.chat_id for jid, one in recording.customers.items() if one.chat_id is not None}
    recording.told += record_receipts(recording.session, recording.connection.id, receipts, chat_ids)


def _record_event(recording: _Recording, event: GatewayEvent) -> None:
    match event.body:
        case Inbound() as inbound if is_person(inbound.jid):
            _record_message(recording, inbound)
        case Typing() as typing if is_person(typing.jid):
            _record_typing(recording, typing)
        case StatusChange() as change:
            recording.told += change_status(recording.connection, change.status, change.reason, change.at)


def _record_typing(recording: _Recording, typing: Typing) -> None:
    """A customer who is still writing is waited for, where an answer is owed."""
    chat_id = find_chat_id(recording.session, recording.business.id, (typing.jid,))
    due = select(col(MessageRow.id)).where(col(MessageRow.chat_id) == chat_id, DUE)
    if chat_id is not None and recording.session.execute(due.limit(1)).first() is not None:
        recording.owed[chat_id] = None


# ---------------------------------------------------------------- messages


def _record_message(recording: _Recording, inbound: Inbound) -> None:
    if inbound.from_me and inbound.attempt_id is not None:
        _settle_own(recording, inbound)
        return
    chat = _chat_of(recording, inbound)
    if _is_known(recording, chat, inbound):
        return
    if inbound.from_me:
        _record_typed(recording, chat, inbound)
    else:
        _record_incoming(recording, chat, inbound)


def _chat_of(recording: _Recording, inbound: Inbound) -> ChatRow:
    customer = recording.customers[inbound.jid]
    return lock_chat(recording.session, ensure_chat(recording.session, recording.business.id, customer, recording.now))


_KNOWN = select(col(MessageRow.id)).where(
    col(MessageRow.connection_id) == bindparam("connection_id"),
    col(MessageRow.chat_id) == bindparam("chat_id"),
    col(MessageRow.whatsapp_id) == bindparam("whatsapp_id"),
)

_KNOWN_BEFORE = select(col(MessageRow.id)).where(
    col(MessageRow.connection_id).in_(
        select(col(ConnectionRow.id)).where(col(ConnectionRow.business_id) == bindparam("business_id"))
    ),
    col(MessageRow.chat_id) == bindparam("chat_id"),
    col(MessageRow.whatsapp_id) == bindparam("whatsapp_id"),
)


def _is_known(recording: _Recording, chat: ChatRow, inbound: Inbound) -> bool:
    """A phone that is linked anew tells in its history what came in over its earlier connection."""
    these = {"chat_id": chat.id, "whatsapp_id": inbound.whatsapp_id}
    if inbound.history:
        return ask(recording.session, _KNOWN_BEFORE, business_id=recording.business.id, **these).first() is not None
    return ask(recording.session, _KNOWN, connection_id=recording.connection.id, **these).first() is not None


def _record_incoming(recording: _Recording, chat: ChatRow, inbound: Inbound) -> None:
    if inbound.push_name and not chat.name_is_ours:
        chat.name = storable(inbound.push_name)
    _meet(recording, chat, inbound)
    arrival = _to_arrival(recording, chat, inbound)
    row = _to_row(recording, chat, inbound, MessageKind.INCOMING, Sender.CUSTOMER)
    row.answer = decide_answer(arrival).value
    insert_row(recording.session, insert_into(MessageRow), row)
    show_in_chat(chat, row)
    chat.known = True
    if row.answer == AnswerDecision.DUE:
        chat.next_step_at = recording.now
        recording.owed[chat.id] = None
    recording.session.flush()
    if not inbound.takes_back:
        _record_reply(recording, chat, inbound)
    if not inbound.history:
        recording.tell(
            EventType.MESSAGE_RECEIVED,
            messageId=row.id,
            jid=chat.jid,
            name=chat.name,
            type=row.type,
            text=row.text,
            conversationId=chat.conversation_id,
        )
    if row.answer == AnswerDecision.OPTED_OUT:
        _opt_out(recording, chat, arrival)


def _record_reply(recording: _Recording, chat: ChatRow, inbound: Inbound) -> None:
    """The customer has answered whatever waited for an answer."""
    _mark_replied(recording, chat, inbound)
    if not inbound.history:
        chat.marketing_unanswered = chat.bot_unanswered = 0
        cancel_on_reply(recording.session, chat.id, inbound.at, recording.now)
        cancel_unanswered(recording.session, chat.id, recording.now)
        drop_follow_ups(recording.session, chat, recording.now)


def _meet(recording: _Recording, chat: ChatRow, inbound: Inbound) -> None:
    """A customer who never wrote before is a new chat: the bot attends it where the business wants that."""
    if chat.first_incoming_at is not None and chat.first_incoming_at <= inbound.at:
        return
    if chat.first_incoming_at is None and not chat.bot_decided:
        set_flags(recording.session, chat, bot_enabled=recording.business.bot_new_chats and not inbound.history)
    chat.first_incoming_at = inbound.at


def _to_arrival(recording: _Recording, chat: ChatRow, inbound: Inbound) -> Arrival:
    words = recording.business.opt_out_words
    return Arrival(
        untouchable=chat.untouchable,
        bot_enabled=chat.bot_enabled,
        held=is_held(chat.takeover_until, chat.handed_off_at, recording.now),
        sent_at=inbound.at,
        now=recording.now,
        by_history_sync=inbound.history,
        answer_within=timedelta(minutes=recording.business.answer_within_minutes),
        opts_out=inbound.type is MessageType.TEXT and is_opt_out(inbound.text, words),
        takes_back=inbound.takes_back,
        answers_from=recording.connection.answers_from,
    )


def _opt_out(recording: _Recording, chat: ChatRow, arrival: Arrival) -> None:
    """The first opt-out is confirmed, whoever holds the chat; one by a customer who had opted out is known already."""
    events = opt_out(recording.session, chat, recording.now)
    recording.told += events
    if events and may_confirm_opt_out(arrival):
        queue_confirmation(recording.session, chat, recording.business, recording.connection.id, recording.now)
        recording.owed[chat.id] = None


_MESSAGE = table_of(MessageRow)
_MARK_REPLIED = (
    update(_MESSAGE)
    .where(
        _MESSAGE.c.chat_id == bindparam("of_chat"),
        _MESSAGE.c.send_id.is_not(None),
        _MESSAGE.c.sent_at.is_not(None),
        _MESSAGE.c.replied_at.is_(None),
        _MESSAGE.c.sent_at <= bindparam("then"),
    )
    .values(replied_at=bindparam("then"))
)


def _mark_replied(recording: _Recording, chat: ChatRow, inbound: Inbound) -> None:
    ask(recording.session, _MARK_REPLIED, of_chat=chat.id, then=inbound.at)


def _to_row(recording: _Recording, chat: ChatRow, inbound: Inbound, kind: MessageKind, sender: Sender) -> MessageRow:
    return MessageRow(
        id=new_id(Prefix.MESSAGE),
        business_id=recording.business.id,
        connection_id=recording.connection.id,
        chat_id=chat.id,
        direction=(Direction.OUTGOING if inbound.from_me else Direction.INCOMING).value,
        kind=kind.value,
        type=inbound.type.value,
        sender=sender.value,
        text=storable(inbound.text),
        status=MessageStatus.RECEIVED.value,
        at=inbound.at,
        created_at=recording.now,
        jid=chat.jid,
        whatsapp_id=inbound.whatsapp_id,
    )


# ---------------------------------------------------------------- own messages and receipts


def _settle_own(recording: _Recording, inbound: Inbound) -> None:
    """A message from our own account that is one of our attempts: it is proved to be sent."""
    session = recording.session
    of_attempt = select(MessageRow).where(
        col(MessageRow.connection_id) == recording.connection.id,
        col(MessageRow.attempt_id) == inbound.attempt_id,
        IN_FLIGHT,
    )
    chat_id = session.execute(of_attempt.with_only_columns(col(MessageRow.chat_id))).scalar_one_or_none()
    if chat_id is None:
        return
    chat = lock_chat(session, chat_id)
    row = session.scalars(of_attempt.with_for_update(key_share=True)).one_or_none()
    if row is not None:
        recording.told += apply_receipt(session, chat, row, ReceiptKind.SENT, inbound.at)
        recording.told += record_whatsapp_ids(session, [Known(chat, row, inbound.whatsapp_id, inbound.at)])
        if row.send_id is None:
            settle_drafts(session, chat, recording.now)


def _record_typed(recording: _Recording, chat: ChatRow, inbound: Inbound) -> None:
    """Typed on the business's own phone: as a rule a human who takes over."""
    row = _to_row(recording, chat, inbound, MessageKind.PHONE, Sender.HUMAN)
    recording.session.add(row)
    show_in_chat(chat, row)
    chat.known = True
    own_message = OwnMessage(
        type=inbound.type,
        text=inbound.text,
        sent_at=inbound.at,
        first_incoming_at=chat.first_incoming_at,
        last_turn_at=chat.last_turn_at,
        auto_replies=tuple(recording.business.auto_replies),
        answers_from=recording.connection.answers_from,
    )
    if not inbound.history and is_takeover(own_message):
        recording.told += take_over(recording.session, chat, inbound.at, recording.now)
    recording.session.flush()
