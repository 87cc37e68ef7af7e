"""Whom a POST /send means: `to` as it came, entry by entry. Pure; a wrong number is told, never raised away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import phonenumbers
from pydantic import ValidationError

from api.problems import to_field_errors
from api.schemas.sends import MAX_RECIPIENTS, RecipientIn
from boton.domain.jid import JID, parse_recipient, spellings
from boton.errors import Invalid, InvalidRecipient

_MOST_ERRORS = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """One entry of `to`. path: where it stood in the body; variables: its own; known: it is a contact."""

    path: str
    to: str | int
    variables: Mapping[str, str | int] | None = None
    reference: str | None = None
    known: bool = False


def read_recipients(to: Any) -> list[Wanted]:
    """Every entry of `to`. Raises Invalid, naming the entries that are neither a number, a JID nor an object."""
    if not isinstance(to, list):
        entries = [("to", to)]
    elif 1 <= len(to) <= MAX_RECIPIENTS:
        entries = [(f"to.{index}", entry) for index, entry in enumerate(to)]
    else:
        raise Invalid("Too few or too many recipients.", (("to", f"1 to {MAX_RECIPIENTS} recipients, not {len(to)}"),))
    errors: list[tuple[str, str]] = []
    wanted = list(_read_entries(entries, errors))
    if errors:
        raise Invalid("Some recipients cannot be read.", tuple(errors[:_MOST_ERRORS]))
    return wanted


def _read_entries(entries: list[tuple[str, Any]], errors: list[tuple[str, str]]) -> Iterator[Wanted]:
    for path, entry in entries:
        if isinstance(entry, str) or type(entry) is int:
            yield Wanted(path, entry)
        elif not isinstance(entry, dict):
            errors.append((path, "must be a phone number with country code, a JID, or an object with `to`"))
        else:
            try:
                recipient = RecipientIn.model_validate(entry)
            except ValidationError as error:
                errors += to_field_errors(error.errors(include_url=False, include_input=False), under=path)
            else:
                yield Wanted(path, recipient.to, recipient.variables, recipient.reference, recipient.known)


def find_jid(to: str | int) -> JID:
    """Who `to` is. A number must be possible in its country; a JID was given out by WhatsApp and is not doubted.

    Raises InvalidRecipient.
    """
    jid = parse_recipient(to)
    if not (isinstance(to, str) and "@" in to) and not any(_is_possible(one.user) for one in spellings(jid)):
        raise InvalidRecipient("invalid_number", "not a phone number with country code")
    return jid


def to_canonical(jid: JID) -> str:
    """One spelling for all spellings of the same customer, to tell repeats by."""
    return min(str(spelling) for spelling in spellings(jid))


def _is_possible(digits: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(f"+{digits}"))
    except phonenumbers.NumberParseException:
        return False
