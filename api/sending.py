"""From the body of POST /send to a NewSend: whom, what and when. Pure: the time is passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from api.errors import AllRejected
from api.recipients import Wanted, find_jid, read_recipients, to_canonical
from api.schemas.sends import MAX_INSTRUCTION, MAX_MESSAGE, SendRequest
from boton.domain.businesses import Business
from boton.domain.messages import MessageError
from boton.domain.sends import NewRecipient, NewSend, Rejected, SendKind, fill_in
from boton.errors import Invalid, InvalidRecipient

STILL_NOW = timedelta(minutes=5)
"""A `sendAt` that is past by less than this means now: clocks differ."""
FARTHEST = timedelta(days=5 * 366)

_LONGEST_TO = 100
"""Characters of a wrong `to` that are told back."""


@dataclass(frozen=True, slots=True)
class _Content:
    """The text before variables are filled in; `variables` is None when the request has none at all."""

    kind: SendKind
    text: str
    longest: int
    variables: Mapping[str, str | int] | None


def to_new_send(body: SendRequest, business: Business, now: datetime) -> NewSend:
    """What is to be stored. Raises Invalid for the request, AllRejected when no recipient is left."""
    wanted = read_recipients(body.to)
    content = _read_content(body, wanted)
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
    )


# ---------------------------------------------------------------- what


def _read_content(body: SendRequest, wanted: Iterable[Wanted]) -> _Content:
    if (body.message is None) == (body.instruction is None):
        raise Invalid(
            "Give exactly one of message and instruction.", (("message", "exactly one of message and instruction"),)
        )
    kind = SendKind.MESSAGE if body.instruction is None else SendKind.INSTRUCTION
    text = body.message or body.instruction or ""
    if not text.strip():
        raise Invalid(f"The {kind} is blank.", ((kind.value, "must hold more than spaces"),))
    longest = MAX_MESSAGE if kind is SendKind.MESSAGE else MAX_INSTRUCTION
    # Variables given for one recipient only turn replacement on for all: nobody must be sent a raw `{{name}}`.
    given = body.variables is not None or any(one.variables is not None for one in wanted)
    return _Content(kind, text, longest, (body.variables or {}) if given else None)


def _write_text(content: _Content, wanted: Wanted) -> str:
    """The text for one recipient. Raises InvalidRecipient."""
    if content.variables is None:
        return content.text
    values = {name: str(value) for name, value in {**content.variables, **(wanted.variables or {})}.items()}
    text, missing = fill_in(content.text, values)
    if missing:
        raise InvalidRecipient("missing_variable", f"no value for {', '.join(missing)}")
    if len(text) > content.longest:
        raise InvalidRecipient("too_long", f"{len(text)} characters with the variables; at most {content.longest}")
    if not text.strip():
        raise InvalidRecipient("empty", "nothing is left when the variables are filled in")
    return text


# ---------------------------------------------------------------- whom


def _sort_out(wanted: Iterable[Wanted], content: _Content) -> tuple[tuple[NewRecipient, ...], tuple[Rejected, ...]]:
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


def _accept(wanted: Wanted, content: _Content, accepted: dict[str, NewRecipient]) -> None:
    jid = find_jid(wanted.to)
    customer = to_canonical(jid)
    if customer not in accepted:
        accepted[customer] = NewRecipient(
            to=str(wanted.to), jid=str(jid), text=_write_text(content, wanted), reference=wanted.reference
        )


def _reject(wanted: Wanted, error: InvalidRecipient) -> Rejected:
    return Rejected(to=str(wanted.to)[:_LONGEST_TO], error=MessageError(code=error.code, detail=error.detail))


# ---------------------------------------------------------------- when


def _read_times(body: SendRequest, timezone: str | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """`sendAt` (None: now) and `expiresAt` in UTC."""
    send_at = _to_utc("sendAt", body.send_at, timezone, now)
    if send_at is not None and now - send_at >= STILL_NOW:
        raise Invalid("sendAt is in the past.", (("sendAt", "must not be in the past"),))
    if send_at is not None and send_at <= now:
        send_at = None
    expires_at = _to_utc("expiresAt", body.expires_at, timezone, now)
    if expires_at is not None and expires_at <= (send_at or now):
        raise Invalid("It would expire before it is sent.", (("expiresAt", "must be after sendAt, and after now"),))
    return send_at, expires_at


def _to_utc(path: str, at: datetime | None, timezone: str | None, now: datetime) -> datetime | None:
    if at is None:
        return None
    if at.tzinfo is None:
        if timezone is None:
            raise Invalid(
                f"{path} has no offset.", ((path, "add an offset like -03:00, or set the business's timezone"),)
            )
        at = at.replace(tzinfo=ZoneInfo(timezone))
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        at = datetime.max.replace(tzinfo=UTC)
    if at - now > FARTHEST:
        raise Invalid(f"{path} is too far away.", ((path, f"at most {FARTHEST.days} days from now"),))
    return at
