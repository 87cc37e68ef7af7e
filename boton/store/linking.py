"""Which number a business has: linked, switched, logged out. One call each, one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from boton.domain.connections import NEEDS_A_PERSON, Connection, ConnectionStatus, Gateway
from boton.domain.events import NewEvent
from boton.domain.linking import LinkMethod, LinkRequest, Pairing, is_same_phone
from boton.errors import Conflict, Invalid, NotFound
from boton.ids import Prefix, new_id
from boton.ports import IdempotencyKey, Linked
from boton.store.connections import change_status
from boton.store.engine import Database
from boton.store.events import append_events
from boton.store.idempotency import claim_key, find_answer
from boton.store.retiring import retire
from boton.store.rows import to_connection, to_pairing
from boton.store.tables import BusinessRow, ConnectionRow, PairingRow

_TAKEN = "This phone belongs to another active connection; end that one first (DELETE /api/v1/connection)."
_SWITCHED = "The business has gone to another number. What was queued for this one is held: `boton held list`."
_HELD = "What was queued for this number is held: `boton held list`."
_LOGGED_OUT = f"Logged out. {_HELD}"
_IF_IT_LISTS = "If the phone still lists BOTON (WhatsApp, Linked devices), remove it there."
_NOT_CONFIRMED = f"Logged out here; the phone is told as soon as WhatsApp can be reached. {_IF_IT_LISTS} {_HELD}"
_NOT_HERE = f"Logged out. {_IF_IT_LISTS} {_HELD}"

_UNLINKED_WITHIN = timedelta(days=7)
"""Then WhatsApp or its owner has removed it long since, or nobody will."""

Answer = Callable[[Connection, Pairing | None], dict[str, Any]]


class SqlLinkingStore:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def link(
        self,
        business_id: str,
        wanted: LinkRequest,
        now: datetime,
        to_answer: Answer,
        *,
        idempotency: IdempotencyKey | None = None,
    ) -> Linked:
        try:
            return await self._db.write(
                lambda session: _link(session, business_id, wanted, now, to_answer, idempotency)
            )
        except IntegrityError as error:
            raise Conflict(_TAKEN) from error

    async def find_answer(self, business_id: str, idempotency: IdempotencyKey) -> dict[str, Any] | None:
        return await self._db.read(lambda session: find_answer(session, business_id, idempotency))

    async def log_out(self, business_id: str, now: datetime) -> Connection | None:
        return await self._db.write(lambda session: _log_out(session, business_id, now))

    async def begin_unlinking(self, connection_id: str) -> int:
        return await self._db.write(lambda session: _begin_unlinking(session, connection_id))

    async def finish_unlinking(self, connection_id: str, now: datetime, *, told: bool) -> None:
        await self._db.write(lambda session: _finish_unlinking(session, connection_id, now, told=told))

    async def fetch_pairing(self, connection_id: str) -> Pairing | None:
        return await self._db.read(lambda session: _fetch_pairing(session, connection_id))


def _fetch_pairing(session: Session, connection_id: str) -> Pairing | None:
    row = session.get(PairingRow, connection_id)
    return None if row is None else to_pairing(row)


def _link(
    session: Session,
    business_id: str,
    wanted: LinkRequest,
    now: datetime,
    to_answer: Answer,
    idempotency: IdempotencyKey | None,
) -> Linked:
    rows = _lock_all(session, business_id)
    if idempotency is not None and (first := find_answer(session, business_id, idempotency)) is not None:
        return Linked(answer=first)
    row = _find_meant(rows, wanted) or _create(session, business_id, wanted, now)
    retired = [one for one in rows if one.active and one is not row]
    events = [event for one in retired for event in retire(session, one, _SWITCHED, now)]
    _check_free(session, row, wanted)
    began = _begin(session, row, wanted, now)
    session.flush()
    answer = to_answer(to_connection(row), _fetch_pairing(session, row.id))
    if idempotency is not None:
        claim_key(session, business_id, idempotency, 200, answer, now)
    session.flush()
    append_events(session, events + (began or []))
    changed = [*retired, *[row] * (began is not None)]
    return Linked(answer=answer, changed=tuple(to_connection(one) for one in changed), connection_id=row.id)


def _log_out(session: Session, business_id: str, now: datetime) -> Connection | None:
    active = [row for row in _lock_all(session, business_id) if row.active]
    events: list[NewEvent] = []
    for row in active:
        reason = _NOT_CONFIRMED if _is_on_a_phone(row) else _LOGGED_OUT
        row.linked_at = None
        events += retire(session, row, reason, now)
    session.flush()
    append_events(session, events)
    return to_connection(active[0]) if active else None


def _is_on_a_phone(row: ConnectionRow) -> bool:
    """Whether a phone may list it: also one that has just scanned the code."""
    linking = row.status == ConnectionStatus.LINKING
    return row.gateway == Gateway.WHATSAPP and (row.linked_at is not None or linking)


def is_to_be_unlinked(row: ConnectionRow, now: datetime) -> bool:
    """Whether its phone may list the device still, and it is worth trying to tell it."""
    return not row.active and row.reason == _NOT_CONFIRMED and now - row.status_at < _UNLINKED_WITHIN


def _begin_unlinking(session: Session, connection_id: str) -> int:
    row = session.get(ConnectionRow, connection_id, with_for_update=True, populate_existing=True)
    if row is None or row.active or row.reason != _NOT_CONFIRMED:
        raise NotFound("device to be taken off for connection", connection_id)
    row.epoch += 1
    return row.epoch


def _finish_unlinking(session: Session, connection_id: str, now: datetime, *, told: bool) -> None:
    row = session.get(ConnectionRow, connection_id, with_for_update=True, populate_existing=True)
    if row is not None and not row.active and row.reason == _NOT_CONFIRMED:
        reason = _LOGGED_OUT if told else _NOT_HERE
        append_events(session, change_status(row, ConnectionStatus.STOPPED, reason, now))


def _lock_all(session: Session, business_id: str) -> Sequence[ConnectionRow]:
    """All connections that the business ever had, oldest first: locked FOR UPDATE, against claims too. The business
    first, so that two who link at once take turns.
    """
    business = select(BusinessRow).where(col(BusinessRow.id) == business_id).with_for_update(key_share=True)
    if session.scalars(business).one_or_none() is None:
        raise NotFound("business", business_id)
    ours = select(ConnectionRow).where(col(ConnectionRow.business_id) == business_id).order_by(col(ConnectionRow.id))
    return session.scalars(ours.with_for_update().execution_options(populate_existing=True)).all()


# ---------------------------------------------------------------- which connection is meant


def _find_meant(rows: Sequence[ConnectionRow], wanted: LinkRequest) -> ConnectionRow | None:
    """The present one, unless another gateway or number is wanted; else one that the business had before, with which a
    number's age, its refusals and the simulator's cursor come back. None: a new one.
    """
    of_gateway = [row for row in rows if row.gateway == wanted.gateway]
    for row in of_gateway:
        if row.active and (wanted.phone is None or not row.phone or is_same_phone(row.phone, wanted.phone)):
            return row
    known = [row for row in of_gateway if not row.active and _is_wanted_again(row, wanted)]
    return max(known, key=lambda row: row.status_at, default=None)


def _is_wanted_again(row: ConnectionRow, wanted: LinkRequest) -> bool:
    """Whichever phone scans the code may be another one: only a simulated number comes back without being named."""
    if wanted.phone is None:
        return wanted.gateway is Gateway.SIMULATOR
    return bool(row.phone) and is_same_phone(row.phone, wanted.phone)


def _create(session: Session, business_id: str, wanted: LinkRequest, now: datetime) -> ConnectionRow:
    if wanted.gateway is Gateway.SIMULATOR and wanted.phone is None:
        raise Invalid("Which number is meant?", (("phone", "is required for a business's first simulated number"),))
    row = ConnectionRow(
        id=new_id(Prefix.CONNECTION),
        business_id=business_id,
        gateway=wanted.gateway.value,
        phone=wanted.phone or "" if wanted.gateway is Gateway.SIMULATOR else "",
        active=False,
        status=ConnectionStatus.STOPPED.value,
        status_at=now,
        created_at=now,
    )
    session.add(row)
    return row


def _check_free(session: Session, row: ConnectionRow, wanted: LinkRequest) -> None:
    """Raises Conflict when the wanted phone belongs to another active connection."""
    phone = wanted.phone or row.phone
    if phone and is_taken(session, row, phone):
        raise Conflict(_TAKEN)


def is_taken(session: Session, row: ConnectionRow, phone: str) -> bool:
    """Whether an active connection of the same gateway has this phone already, however it is spelled. If not, nobody
    else gets it until the transaction ends.
    """
    ending = phone[-8:]
    _take_turns(session, ending)
    others = select(col(ConnectionRow.phone)).where(
        col(ConnectionRow.gateway) == row.gateway,
        col(ConnectionRow.active),
        col(ConnectionRow.id) != row.id,
        col(ConnectionRow.phone).endswith(ending, autoescape=True),
    )
    return any(is_same_phone(other, phone) for other in session.scalars(others))


def _take_turns(session: Session, ending: str) -> None:
    """With whoever wants a phone of this ending: the unique index knows one spelling only. SQLite has one writer."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(ending))))


# ---------------------------------------------------------------- what happens to it


def _begin(session: Session, row: ConnectionRow, wanted: LinkRequest, now: datetime) -> list[NewEvent] | None:
    """The number is connected, or its phone is to be linked first. None: nothing changes, it is well as it is."""
    rests = not row.active or row.status in NEEDS_A_PERSON
    if row.gateway == Gateway.SIMULATOR:
        row.linked_at = row.linked_at or now
    elif row.linked_at is None:
        return _start_pairing(session, row, wanted, now)
    elif to_connection(row).as_seen(now).status is not ConnectionStatus.CONNECTED:
        _note_request(session, row, wanted, now)
    if not rests:
        return None
    _activate(row, now)
    return change_status(row, ConnectionStatus.CONNECTING, None, now)


def _activate(row: ConnectionRow, now: datetime) -> None:
    """What came in while nobody listened is not the bot's to answer."""
    if not row.active and row.connected_at is not None:
        row.answers_from = now
    row.active, row.next_step_at = True, now


def _start_pairing(session: Session, row: ConnectionRow, wanted: LinkRequest, now: datetime) -> list[NewEvent]:
    """A pairing process of an earlier request is outranked by the epoch."""
    pairing = _note_request(session, row, wanted, now)
    _activate(row, now)
    row.epoch += 1
    return change_status(row, ConnectionStatus.LINKING, to_pairing(pairing).next_step(now), now)


def _note_request(session: Session, row: ConnectionRow, wanted: LinkRequest, now: datetime) -> PairingRow:
    """How the phone is to be linked: at once, or if its device turns out to be gone."""
    phone = wanted.phone or row.phone or None
    if wanted.method is LinkMethod.CODE and phone is None:
        raise Invalid("Which phone is to get the code?", (("phone", "is required for a pairing code"),))
    session.flush()
    return session.merge(PairingRow(connection_id=row.id, method=wanted.method.value, phone=phone, asked_at=now))
