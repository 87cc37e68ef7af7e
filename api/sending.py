"""From the body of POST /send to a NewSend: whom, what and when. Pure: the time is passed in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from api.contents import Content, read_content, write_text
from api.errors import AllRejected
from api.recipients import Wanted, find_jid, read_recipients, to_canonical
from api.schemas.sends import SendRequest
from api.times import read_due_time, read_time
from boton.domain.businesses import Business
from boton.domain.messages import MessageError
from boton.domain.sends import NewRecipient, NewSend, Rejected, SendCategory
from boton.errors import Invalid, InvalidRecipient

_LONGEST_TO = 100
"""Characters of a wrong `to` that are told back."""


def to_new_send(body: SendRequest, business: Business, now: datetime) -> NewSend:
    """What is to be stored. Raises Invalid for the request, AllRejected when no recipient is left."""
    wanted = read_recipients(body.to)
    content = read_content(body.message, body.instruction, body.variables, wanted)
    send_at, expires_at = _read_times(body, business.config.timezone, now)
    recipients, rejected = _sort_out(wanted, content)
    return NewSend(
        business_id=business.id,
        kind=content.kind,
        category=body.category,
        recipients=recipients,
        rejected=rejected,
        accepted_at=now,
        send_at=send_at,
        expires_at=expires_at,
        respect_quiet_hours=body.respect_quiet_hours,
        ttl_seconds=_ttl_seconds(body, business),
    )


# ---------------------------------------------------------------- whom


def _sort_out(wanted: Iterable[Wanted], content: Content) -> tuple[tuple[NewRecipient, ...], tuple[Rejected, ...]]:
    """Recipients to write to, each customer once, and those that were refused."""
    accepted: dict[str, NewRecipient] = {}
    rejected: list[Rejected] = []
    errors: list[tuple[str, str]] = []
    for one in wanted:
        try:
            _accept(one, content, accepted)
        except InvalidRecipient as error:
            rejected.append(_reject(one, error))
            errors.append((one.path, error.detail))
    if not accepted:
        raise AllRejected(tuple(rejected), tuple(errors))
    return tuple(accepted.values()), tuple(rejected)


def _accept(wanted: Wanted, content: Content, accepted: dict[str, NewRecipient]) -> None:
    jid = find_jid(wanted.to)
    customer = to_canonical(jid)
    if customer not in accepted:
        accepted[customer] = NewRecipient(
            to=str(wanted.to),
            jid=str(jid),
            text=write_text(content, wanted),
            known=wanted.known,
            reference=wanted.reference,
        )


def _reject(wanted: Wanted, error: InvalidRecipient) -> Rejected:
    return Rejected(to=str(wanted.to)[:_LONGEST_TO], error=MessageError(code=error.code, detail=error.detail))


# ---------------------------------------------------------------- when


def _read_times(body: SendRequest, timezone: str | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """`sendAt` (None: now) and `expiresAt` in UTC."""
    send_at = expires_at = None
    if body.send_at is not None and (due := read_due_time("sendAt", body.send_at, timezone, now)) > now:
        send_at = due
    if body.expires_at is not None:
        expires_at = read_time("expiresAt", body.expires_at, timezone, now)
    if expires_at is not None and expires_at <= (send_at or now):
        raise Invalid("It would expire before it is sent.", (("expiresAt", "must be after sendAt, and after now"),))
    return send_at, expires_at


def _ttl_seconds(body: SendRequest, business: Business) -> int | None:
    """How long the phone may be away before what was not sent is stale; marketing and what has its own end is not."""
    if body.expires_at is not None or body.category is not SendCategory.TRANSACTIONAL:
        return None
    return business.config.send_ttl_hours * 3600
