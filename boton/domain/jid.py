"""JIDs and phone numbers: who is meant.

A customer may be known as `5491112345678@s.whatsapp.net` (phone number), `1029384756@lid` (LID) or under another
spelling of the same mobile number: Argentina writes 54 9 and 54, Mexico 52 1 and 52. All of them are one chat.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from boton.errors import InvalidRecipient

PHONE_SERVER = "s.whatsapp.net"
LID_SERVER = "lid"
_PERSON_SERVERS = {PHONE_SERVER, LID_SERVER, "c.us"}

_SEPARATORS = re.compile(r"[+\s\-().\u2010-\u2015\u2212\u00a0]")
_USER = re.compile(r"(?P<user>[0-9]+)(?:[:._][0-9:._]+)?")


@dataclass(frozen=True, slots=True)
class JID:
    """A WhatsApp address without its device part."""

    user: str
    server: str

    def __str__(self) -> str:
        return f"{self.user}@{self.server}"

    @property
    def phone(self) -> str | None:
        """The number with country code, digits only; None for a LID."""
        return self.user if self.server == PHONE_SERVER else None


def is_person(jid: str) -> bool:
    """Whether a JID names a person: groups, broadcasts, channels and status posts do not."""
    user, _, server = jid.partition("@")
    return server in _PERSON_SERVERS and _USER.fullmatch(user) is not None


def is_lid(jid: str) -> bool:
    """Whether a JID is WhatsApp's own name for a person, and no phone number."""
    return jid.endswith(f"@{LID_SERVER}")


def parse_jid(text: str) -> JID:
    """A person's JID as WhatsApp or `/chats` gives it; the device part is dropped. Raises InvalidRecipient."""
    user, _, server = text.strip().partition("@")
    match = _USER.fullmatch(user)
    if server in {"g.us", "broadcast", "newsletter"}:
        raise InvalidRecipient("not_a_person", "groups, broadcasts and channels cannot be written to")
    if server not in _PERSON_SERVERS or match is None:
        raise InvalidRecipient("invalid_jid", "not a JID of a person, like 5491112345678@s.whatsapp.net")
    if server == LID_SERVER:
        return JID(match["user"], LID_SERVER)
    return JID(parse_phone(match["user"]), PHONE_SERVER)


def parse_phone(value: str | int) -> str:
    """A phone number with country code as digits only (E.164 without `+`). Raises InvalidRecipient.

    The sign of a negative integer is no dash: it is one that has overflown, and would be some other number.
    """
    digits = _SEPARATORS.sub("", value) if isinstance(value, str) else str(value)
    if not (digits.isascii() and digits.isdigit() and 8 <= len(digits) <= 15 and digits[0] != "0"):
        raise InvalidRecipient("invalid_number", "not a phone number with country code")
    return digits


def parse_recipient(value: str | int) -> JID:
    """What `to` may hold: a phone number or a person's JID. Raises InvalidRecipient."""
    if isinstance(value, str) and "@" in value:
        return parse_jid(value)
    return JID(parse_phone(value), PHONE_SERVER)


def spellings(jid: JID) -> tuple[JID, ...]:
    """Every JID under which the same customer may appear, the given one first. Pure, knows no LID mapping."""
    if jid.server != PHONE_SERVER:
        return (jid,)
    for country, mark, national in (("54", "9", 10), ("52", "1", 10)):
        if jid.user.startswith(country):
            rest = jid.user.removeprefix(country)
            if len(rest) == national + 1 and rest[0] == mark:
                return (jid, JID(country + rest[1:], PHONE_SERVER))
            if len(rest) == national:
                return (jid, JID(country + mark + rest, PHONE_SERVER))
    return (jid,)


def mask(phone: str) -> str:
    """A number as logs may show it: country and last digits only."""
    return f"{phone[:3]}…{phone[-2:]}" if len(phone) > 6 else "…"
