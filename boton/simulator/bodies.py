"""What requests say, checked and typed. Pure: everything wrong with a request is told here, as Invalid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any, NoReturn

from starlette.exceptions import HTTPException

from boton.domain.jid import parse_phone
from boton.errors import Invalid, InvalidRecipient

MAX_TEXT = 65_536
"""Characters of one WhatsApp message."""

MAX_INTEGER = 2**53
"""What both JSON and SQLite hold exactly."""


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises HTTPException 400 for what is not JSON, Invalid for another kind of value."""
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "The body is not JSON.") from error
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    return body


def parse_number(value: object, path: str) -> str:
    """A phone number as digits only. Raises Invalid naming the field."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        refuse(path, "must be a phone number with country code")
    try:
        return parse_phone(value)
    except InvalidRecipient as error:
        refuse(path, f"{error.detail}: 8 to 15 digits, like 5491112345678")


def parse_count(query: Mapping[str, str], name: str, default: int, maximum: int = MAX_INTEGER) -> int:
    """A whole number from the query, lowered to `maximum`."""
    raw = query.get(name)
    if raw is None:
        return default
    if not (raw.isascii() and raw.isdigit() and len(raw) < 30):
        refuse(name, "must be a whole number, 0 or more")
    return min(int(raw), maximum)


def parse_seconds(query: Mapping[str, str], name: str, maximum: float) -> float:
    """Seconds from the query, 0 unless given, lowered to `maximum`."""
    try:
        value = float(query.get(name, "0"))
    except ValueError:
        refuse(name, "must be a number of seconds")
    if not value >= 0:
        refuse(name, "must be a number of seconds")
    return min(value, maximum)


def refuse(path: str, detail: str) -> NoReturn:
    raise Invalid(f"{path}: {detail}", ((path, detail),))


class Fields:
    """A JSON object read field by field; a name that is not in `known` is refused, lest a typo be lost."""

    def __init__(self, body: Mapping[str, Any], known: Set[str]) -> None:
        self._body = body
        for name in body:
            if name not in known:
                refuse(name.encode("ascii", "replace").decode()[:40], f"unknown; there is {', '.join(sorted(known))}")

    def has(self, name: str) -> bool:
        return name in self._body

    def number(self, name: str) -> str:
        return parse_number(self._body.get(name), name)

    def text(self, name: str, maximum: int = MAX_TEXT) -> str:
        """A text of 1 to `maximum` characters that can be stored everywhere."""
        value = self._body.get(name)
        if not isinstance(value, str) or not value.strip():
            refuse(name, "must be a text, not empty")
        if len(value) > maximum:
            refuse(name, f"has {len(value)} characters; the most is {maximum}")
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            refuse(name, "holds characters that no message can hold (NUL or half a surrogate pair)")
        return value

    def text_or_null(self, name: str, maximum: int = MAX_TEXT) -> str | None:
        return None if self._body.get(name) is None else self.text(name, maximum)

    def flag(self, name: str, default: bool) -> bool:
        value = self._body.get(name, default)
        if not isinstance(value, bool):
            refuse(name, "must be true or false")
        return value

    def integer(self, name: str, default: int | None, least: int, most: int) -> int:
        value = self._body.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            refuse(name, f"must be a whole number from {least} to {most}")
        return value

    def integer_or_null(self, name: str, least: int, most: int) -> int | None:
        return None if self._body.get(name) is None else self.integer(name, None, least, most)

    def seconds(self, name: str, most: float) -> float:
        value = self._body.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            refuse(name, f"must be a number of seconds from 0 to {most:g}")
        return float(value)

    def rate(self, name: str) -> float:
        """A probability, 0 unless given."""
        value = self._body.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            refuse(name, "must be a number from 0 to 1")
        return float(value)


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and infinities are not JSON")
